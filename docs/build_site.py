"""Build the documentation site: ``make docs`` runs this script.

The pages link to files outside ``docs/``, as on GitHub. The script copies the pages and every file
that they link to into a folder of the same layout, and runs zensical there, which checks all links.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "build" / "docs"
FENCE = re.compile(r"^( *)(```|~~~).*?^\1\2", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`[^`\n]+`")
LINK = re.compile(r"\[[^\]]*\]\(\s*<?([^)\s>]+)>?[^)]*\)")
ELSEWHERE = re.compile(r"[a-z]+:|//", re.IGNORECASE)


def links(page: Path) -> Iterator[tuple[Path, str]]:
    """Yield the relative links of a page, each as a path and an anchor.

    Parameters
    ----------
    page : Path

    Yields
    ------
    tuple of Path and str
        The page itself where a link has only an anchor.
    """
    text = CODE.sub("", FENCE.sub("", page.read_text(encoding="utf-8")))
    for link in LINK.findall(text):
        if not ELSEWHERE.match(link):
            name, _, anchor = link.partition("#")
            yield (page.parent / name).resolve() if name else page, anchor


def linked_files() -> set[Path]:
    """Return the pages, the README and every file that they link to, directly or not."""
    found: set[Path] = set()
    waiting = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    while waiting:
        path = waiting.pop()
        if path.is_file() and path not in found:
            found.add(path)
            if path.suffix == ".md":
                waiting += [target for target, _ in links(path)]
    return found


def main() -> int:
    """Copy the pages and build the site; return the exit status of zensical."""
    shutil.rmtree(TARGET, ignore_errors=True)
    for path in linked_files():
        copy = TARGET / "source" / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    shutil.copy(ROOT / "zensical.toml", TARGET)
    command = [sys.executable, "-m", "zensical", "build", "--strict"]
    return subprocess.run(command, cwd=TARGET, check=False).returncode  # noqa: S603


if __name__ == "__main__":
    sys.exit(main())
