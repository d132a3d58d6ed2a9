"""Source URLs: variables from the environment, and masking of secrets."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import quote, unquote, unquote_plus

from slipway.core.errors import SlipwayError

ENV_PREFIX = "env:"
MONGO_VARIABLE = "env:MONGO_DB_URL"
MASK = "***"
SHORTEST_SECRET = 6
# Variables of the shell whose names match SECRET.
NOT_SECRET = ("PWD", "OLDPWD")
URL = re.compile(r"(?P<scheme>[A-Za-z][\w+.-]*)://(?P<rest>.*)", re.DOTALL)
VARIABLE = re.compile(r"\$\{(\w+)\}")
SECRET = re.compile(
    r"pass|pwd|secret|token|credential|api_?key|access_?key|private_?key|\bsas|sig$"
)


@dataclass(frozen=True)
class SourceUrl:
    """A parsed URL with its variables substituted; the parts are not percent-encoded.

    Attributes
    ----------
    scheme : str
        ``file`` for a path.
    url : str
        The whole URL, for a driver.
    host : str
        One or more hosts with ports.
    path : str
    query : dict of str to str
    redacted : str
        The whole URL without secrets.
    secrets : tuple of str
        Secrets of the URL and the environment.
    """

    scheme: str
    url: str = field(repr=False)
    host: str
    path: str
    query: dict[str, str] = field(repr=False)
    redacted: str
    secrets: tuple[str, ...] = field(repr=False)

    def mask(self, text: str) -> str:
        """Replace all secrets in a text, also percent-encoded or escaped ones."""
        for secret in sorted(self.secrets, key=len, reverse=True):
            for spelling in {secret, quote(secret), quote(secret, safe=""), repr(secret)[1:-1]}:
                text = text.replace(spelling, MASK)
        return text

    @contextmanager
    def mask_errors(self) -> Iterator[None]:
        """Mask secrets in errors; drop the chained exception of a driver."""
        try:
            yield
        except SlipwayError as error:
            raise SlipwayError(self.mask(error.message)) from None
        except Exception as error:
            trace = "".join(traceback.format_exception(error))
            if self.mask(trace) == trace:
                raise
            name = type(error).__name__
            raise SlipwayError(f"{self.redacted}: {name}: {self.mask(str(error))}") from None


def read_source_url(url: str, environ: Mapping[str, str]) -> SourceUrl:
    """Parse a URL and substitute variables of the environment.

    Parameters
    ----------
    url : str
        A path, a URL with optional ``${NAME}`` variables, or ``env:NAME`` for the whole URL.
    environ : mapping of str to str

    Returns
    -------
    SourceUrl

    Raises
    ------
    SlipwayError
        A variable is not set, or the URL contains a literal secret.
    """
    if url.rstrip(":/") in ("mongodb", "mongodb+srv"):
        url = MONGO_VARIABLE
    if url.startswith(ENV_PREFIX):
        return _parse_url(_read_variable(url.removeprefix(ENV_PREFIX), environ), None, environ)
    return _parse_url(url, environ, environ)


def _parse_url(url: str, values: Mapping[str, str] | None, environ: Mapping[str, str]) -> SourceUrl:
    """Parse a URL; with ``values``, substitute variables and reject literal secrets."""
    parts = URL.fullmatch(url)
    environ_secrets = _secret_variables(environ)
    if parts is None or parts["scheme"].lower() == "file":
        path = _substitute(url.removeprefix("file://").removeprefix("file:"), values)
        return SourceUrl("file", path, "", path, {}, path, environ_secrets)
    scheme = parts["scheme"].lower()
    rest, pairs = _split_query(scheme, parts["rest"])
    netloc, slash, path = rest.partition("/")
    user, at, host = netloc.rpartition("@")
    if ":" in netloc and not at and "@" in path + "".join(map("".join, pairs)):
        raise SlipwayError("the URL's password has a / or ?: percent-encode it, or use ${NAME}")
    name, colon, password = user.partition(":")
    secrets = [password, *(text for key, text in pairs if SECRET.search(key.lower()))]
    if values is not None:
        _require_no_secret(secrets)
    query = {key: _substitute(text, values, "") for key, text in pairs}
    login = f"{_substitute(name, values, '')}{colon}{_substitute(password, values, '')}{at}"
    host, path = _substitute(host, values), _substitute(path, values)
    settings = "&".join(map("=".join, query.items()))
    known = [_substitute(text, values, "") for text in secrets if text]
    redacted_login = f"{scheme}://{name}{':' + MASK if password else ''}"
    return SourceUrl(
        scheme=scheme,
        url=f"{scheme}://{login}{host}{slash}{path}{'?' if settings else ''}{settings}",
        host=host,
        path=unquote(path),
        query={key: unquote_plus(text) for key, text in query.items()},
        redacted=_redact(redacted_login, rest[len(user) :], pairs),
        secrets=(*known, *map(unquote, known), *map(unquote_plus, known), *environ_secrets),
    )


def _split_query(scheme: str, rest: str) -> tuple[str, list[tuple[str, str]]]:
    """Split a URL without its scheme into the part before the query, and the query's pairs."""
    rest, _, query = rest.partition("?")
    if scheme == "sc":
        # Spark Connect separates its settings by semicolons: sc://host:15002/;token=...
        rest, _, settings = rest.partition(";")
        query = "&".join(filter(None, (query, settings.replace(";", "&"))))
    pairs = (pair.partition("=") for pair in query.split("&") if pair)
    return rest, [(key, text) for key, _, text in pairs]


def _redact(login: str, rest: str, pairs: list[tuple[str, str]]) -> str:
    """Return a URL as given, with its secrets masked."""
    query = "&".join(f"{k}={MASK if SECRET.search(k.lower()) else v}" for k, v in pairs)
    return f"{login}{rest}{'?' if query else ''}{query}"


def _substitute(text: str, values: Mapping[str, str] | None, safe: str | None = None) -> str:
    """Substitute variables in a part of a URL; percent-encode them if ``safe`` is given."""
    if values is None:
        return text

    def value(match: re.Match[str]) -> str:
        text = _read_variable(match[1], values)
        return text if safe is None else quote(text, safe=safe)

    return VARIABLE.sub(value, text)


def _require_no_secret(texts: list[str]) -> None:
    """Reject literal secrets: process lists and shell histories show the arguments."""
    if any(text and not VARIABLE.fullmatch(text) for text in texts):
        raise SlipwayError(
            "the URL contains a password, visible in process lists and histories; write "
            "${NAME} instead and set that variable, or use env:NAME for the whole URL"
        )


def _read_variable(name: str, environ: Mapping[str, str]) -> str:
    """Return a variable, or raise an error if it is not set."""
    value = environ.get(name)
    if not value:
        raise SlipwayError(f"the source's URL needs the environment variable {name}; set it")
    return value


def _secret_variables(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return the secrets in the environment, such as ``PGPASSWORD``."""
    return tuple(
        text
        for name, text in environ.items()
        if SECRET.search(name.lower()) and name not in NOT_SECRET and len(text) >= SHORTEST_SECRET
    )
