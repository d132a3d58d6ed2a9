"""Read responses of Heroku's Platform API for ``deploy/heroku.sh``.

Standard input is the response. Standard output is one line for the shell, or empty.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any

Release = dict[str, Any]


def main(what: str, *words: str) -> str:
    """Return the line for one kind of response."""
    try:
        answer = json.load(sys.stdin)
    except json.JSONDecodeError:
        # curl has already printed the error.
        raise SystemExit(1) from None
    return READERS[what](answer, *words)


def release(releases: Sequence[Release], which: str) -> str:
    """Return name, status and id of a release: ``newest``, ``serving``, ``earlier`` or ``v12``."""
    found = sorted(releases, key=lambda each: int(each["version"]), reverse=True)
    if which.startswith("v"):
        found = [each for each in found if f"v{each['version']}" == which]
    elif which != "newest":
        found = {"serving": _good, "earlier": _earlier}[which](found)
    return made(found[0]) if found else ""


def made(each: Release) -> str:
    """Return name, status and id of one release."""
    return f"v{each['version']} {each['status']} {each['id']}"


def dynos(answer: Sequence[dict[str, Any]], name: str) -> str:
    """Return the state of the web dynos of a release: up, crashed, starting or none."""
    web = [each for each in answer if each["type"] == "web"]
    # Eco dynos sleep without requests; the next request wakes them.
    states = {"up" if each["state"] == "idle" else each["state"] for each in web}
    if not web:
        return "none"
    if "crashed" in states:
        return "crashed"
    newest = all(f"v{each['release']['version']}" == name for each in web)
    return "up" if newest and states == {"up"} else "starting"


def url(app: dict[str, Any]) -> str:
    """Return the address of an app."""
    return str(app["web_url"])


def _good(ordered: Sequence[Release]) -> list[Release]:
    """Return the releases that served, the serving one first. An app's first has no code."""
    return [each for each in ordered if each["status"] == "succeeded" and _code(each)]


def _earlier(ordered: Sequence[Release]) -> list[Release]:
    """Return earlier releases with other code; after a rollback, those before its target."""
    served = _good(ordered)
    if not served:
        return []
    went_back = re.match(r"Rollback to v(\d+)", served[0].get("description") or "")
    number = int(went_back[1]) if went_back else int(served[0]["version"])
    now = _code(served[0])
    return [each for each in served if each["version"] < number and _code(each) != now]


def _code(each: Release) -> str:
    """Return the id of a release's code, which a change of config vars does not change."""
    slug = (each.get("slug") or {}).get("id")
    return slug or ",".join(sorted(made["id"] for made in each.get("artifacts") or ()))


READERS: dict[str, Callable[..., str]] = {
    "release": release,
    "made": made,
    "dynos": dynos,
    "url": url,
}

if __name__ == "__main__":
    print(main(*sys.argv[1:]))
