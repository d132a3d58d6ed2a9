"""The address of a source: its URL, filled in from the environment, and what may be shown of it."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import quote, unquote, unquote_plus

from slipway.core.errors import SlipwayError

WHOLE = "env:"
MONGO = "env:MONGO_DB_URL"
MASK = "***"
SHORTEST_SECRET = 6
# The shell's own; the names look like a password's.
FOLDERS = ("PWD", "OLDPWD")
URL = re.compile(r"(?P<scheme>[A-Za-z][\w+.-]*)://(?P<rest>.*)", re.DOTALL)
VARIABLE = re.compile(r"\$\{(\w+)\}")
SECRET = re.compile(
    r"pass|pwd|secret|token|credential|api_?key|access_?key|private_?key|\bsas|sig$"
)


@dataclass(frozen=True)
class SourceUrl:
    """A URL in its parts, as the source is to be opened with; texts are not percent-encoded.

    Attributes
    ----------
    scheme : str
        ``file`` for a path.
    url : str
        The whole, for a driver.
    host : str
        With the port, or several.
    path : str
    query : dict of str to str
    shown : str
        The whole without what is secret.
    secrets : tuple of str
    """

    scheme: str
    url: str = field(repr=False)
    host: str
    path: str
    query: dict[str, str] = field(repr=False)
    shown: str
    secrets: tuple[str, ...] = field(repr=False)

    def mask(self, text: str) -> str:
        """Take everything secret out of a text, in whatever way it is written there."""
        for secret in sorted(self.secrets, key=len, reverse=True):
            for written in {secret, quote(secret), quote(secret, safe=""), repr(secret)[1:-1]}:
                text = text.replace(written, MASK)
        return text

    @contextmanager
    def masked(self) -> Iterator[None]:
        """Raise errors without what is secret; what a driver said is not even chained."""
        try:
            yield
        except SlipwayError as error:
            raise SlipwayError(self.mask(error.message)) from None
        except Exception as error:
            told = "".join(traceback.format_exception(error))
            if self.mask(told) == told:
                raise
            name = type(error).__name__
            raise SlipwayError(f"{self.shown}: {name}: {self.mask(str(error))}") from None


def read_source_url(url: str, environ: Mapping[str, str]) -> SourceUrl:
    """Fill a URL in from the environment.

    Parameters
    ----------
    url : str
        A path, or a URL that may hold ``${NAME}``; or ``env:NAME``, for the whole of it.
    environ : mapping of str to str

    Returns
    -------
    SourceUrl

    Raises
    ------
    SlipwayError
        A variable is not set, or the URL itself holds a password.
    """
    if url.rstrip(":/") in ("mongodb", "mongodb+srv"):
        url = MONGO
    if url.startswith(WHOLE):
        return _parted(_variable(url.removeprefix(WHOLE), environ), None, environ)
    return _parted(url, environ, environ)


def _parted(url: str, values: Mapping[str, str] | None, environ: Mapping[str, str]) -> SourceUrl:
    """Take a URL apart; with values, secrets must come from them, and only from them."""
    parts = URL.fullmatch(url)
    hidden = _secret_variables(environ)
    if parts is None or parts["scheme"].lower() == "file":
        path = _filled(url.removeprefix("file://").removeprefix("file:"), values)
        return SourceUrl("file", path, "", path, {}, path, hidden)
    scheme, rest = parts["scheme"].lower(), parts["rest"]
    rest, _, query = rest.partition("?")
    if scheme == "sc":
        # Spark Connect has its settings behind semicolons: sc://host:15002/;token=...
        rest, _, more = rest.partition(";")
        query = "&".join(filter(None, (query, more.replace(";", "&"))))
    place, slash, path = rest.partition("/")
    user, at, host = place.rpartition("@")
    if ":" in place and not at and "@" in path + query:
        raise SlipwayError("the URL's password holds a / or ?: percent-encode it, or use ${NAME}")
    name, colon, password = user.partition(":")
    pairs = [pair.partition("=")[::2] for pair in query.split("&") if pair]
    secrets = [password, *(text for key, text in pairs if SECRET.search(key.lower()))]
    if values is not None:
        _require_no_secret(secrets)
    written = {key: _filled(text, values, "") for key, text in pairs}
    login = f"{_filled(name, values, '')}{colon}{_filled(password, values, '')}{at}"
    host, path = _filled(host, values), _filled(path, values)
    settings = "&".join(map("=".join, written.items()))
    known = [_filled(text, values, "") for text in secrets if text]
    shown = _shown(f"{scheme}://{name}{':' + MASK if password else ''}", rest[len(user) :], pairs)
    return SourceUrl(
        scheme=scheme,
        url=f"{scheme}://{login}{host}{slash}{path}{'?' if settings else ''}{settings}",
        host=host,
        path=unquote(path),
        query={key: unquote_plus(text) for key, text in written.items()},
        shown=shown,
        secrets=(*known, *map(unquote, known), *map(unquote_plus, known), *hidden),
    )


def _shown(login: str, rest: str, pairs: list[tuple[str, str]]) -> str:
    """Write a URL as it was given, without its secrets."""
    query = "&".join(f"{k}={MASK if SECRET.search(k.lower()) else v}" for k, v in pairs)
    return f"{login}{rest}{'?' if query else ''}{query}"


def _filled(text: str, values: Mapping[str, str] | None, safe: str | None = None) -> str:
    """Put variables into a part of a URL, percent-encoded where the part needs it."""
    if values is None:
        return text

    def value(found: re.Match[str]) -> str:
        given = _variable(found[1], values)
        return given if safe is None else quote(given, safe=safe)

    return VARIABLE.sub(value, text)


def _require_no_secret(texts: list[str]) -> None:
    """Refuse a secret in an argument, which every list of processes and every history shows."""
    if any(text and not VARIABLE.fullmatch(text) for text in texts):
        raise SlipwayError(
            "the URL holds a password, which lists of processes and histories would show; write "
            "${NAME} in its place and set that variable, or give env:NAME for a whole URL"
        )


def _variable(name: str, environ: Mapping[str, str]) -> str:
    """Look a variable up."""
    value = environ.get(name)
    if not value:
        raise SlipwayError(f"the source's URL needs the environment variable {name}; set it")
    return value


def _secret_variables(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Give what the environment holds for drivers, such as ``PGPASSWORD``."""
    return tuple(
        text
        for name, text in environ.items()
        if SECRET.search(name.lower()) and name not in FOLDERS and len(text) >= SHORTEST_SECRET
    )
