"""A folder or a bucket as a place for objects: put if absent, get, list, delete.

That is all that a registry needs of it, because it is what every one of them can do: a folder
has no conditional update, and some servers that speak S3 have none either.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from slipway.registry.errors import NotTrusted, RegistryError, Unknown
from slipway.registry.records import MAX_ENTRY

SCHEMES = ("s3", "gs", "az")
# In seconds: one request, trying again, and all the requests of one call before the last.
ONE, AGAIN, ALL = 5.0, 4.0, 10.0
# Objects below one prefix. A registry of 1,000 versions has 4,000.
MAX_LISTED = 200_000
# Bytes a second that a file takes at worst, before it counts as stuck.
SLOWEST = 1_000_000
_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>(\w{1,60})</Code>")
_KIND = re.compile(r"kind: (Connect|Timeout)\b")
_LOGIN = re.compile(r"//[^/@\s]+@")
_forked_from = 0


class Listed(NamedTuple):
    """An object, without its content."""

    path: str
    modified: datetime


class Objects:
    """The objects below one address.

    Parameters
    ----------
    url : str
        A folder, or the URL of a bucket: ``s3://bucket/prefix``, ``gs://`` or ``az://``. The
        clouds' own variables, such as ``AWS_ACCESS_KEY_ID``, hold the credentials.

    Raises
    ------
    RegistryError
        It is neither.
    """

    def __init__(self, url: str) -> None:
        self.redacted = url
        self._bucket = _is_bucket(url)
        self._folder = Path(url)
        self._stores: dict[float, Any] = {}
        self._until = time.monotonic() + ALL

    def begin(self) -> None:
        """Start a call that may take some seconds."""
        self._until = time.monotonic() + ALL

    def extend(self, size: int) -> None:
        """Give a call more time, for what it is to carry."""
        self._until += size / SLOWEST

    def get(self, path: str, limit: int = MAX_ENTRY) -> bytes:
        """Return an object's content.

        Parameters
        ----------
        path : str
        limit : int
            Bytes that it may have.

        Raises
        ------
        Unknown
            There is none.
        NotTrusted
            It is longer; no more of it was read.
        """
        import obstore

        content = bytearray()
        with self._asking(path):
            for piece in obstore.get(self._store(limit), path).stream(min_chunk_size=1 << 16):
                content += piece
                if len(content) > limit:
                    raise NotTrusted(
                        f"{path} in {self.redacted} has more than {limit:,} bytes, and was not read"
                    )
        return bytes(content)

    def download(self, path: str, file: Path, size: int, sha256: str) -> None:
        """Copy an object to a file, and check that it is the one that is meant."""
        import obstore

        digest, written = hashlib.sha256(), 0
        with self._asking(path), file.open("xb") as copy:
            for piece in obstore.get(self._store(size), path).stream(min_chunk_size=1 << 20):
                written += len(piece)
                # What is longer than it should be could go on for ever.
                if written > size:
                    break
                digest.update(piece)
                copy.write(piece)
        if written != size or digest.hexdigest() != sha256:
            raise NotTrusted(
                f"{path} in {self.redacted} is not what was pushed: it was changed or cut"
            )

    def put_new(self, path: str, content: bytes) -> bool:
        """Put an object where none is; give whether it is there now by this call."""
        import obstore
        from obstore.exceptions import AlreadyExistsError

        self._make_folder()
        try:
            with self._asking(path):
                obstore.put(self._store(len(content)), path, content, mode="create")
                return True
        except AlreadyExistsError:
            return self._is(path, content)
        except RegistryError:
            # A lost answer may have been a yes.
            if self._is(path, content):
                return True
            raise

    def _is(self, path: str, content: bytes) -> bool:
        """Whether an object has this content."""
        self.begin()
        try:
            return self.get(path, len(content)) == content
        except RegistryError:
            return False

    def list(self, prefix: str) -> list[Listed]:
        """List the objects in a folder and below it."""
        import obstore

        if not self._bucket and not self._folder.is_dir():
            return []
        listed: list[Listed] = []
        with self._asking(prefix):
            for page in obstore.list(self._store(), prefix):
                listed += (Listed(meta["path"], meta["last_modified"]) for meta in page)
                if len(listed) > MAX_LISTED:
                    raise RegistryError(
                        f"{self.redacted} has more than {MAX_LISTED:,} objects in {prefix}/; "
                        "remove what does not belong there, or prune"
                    )
        return listed

    def delete(self, path: str) -> None:
        """Delete an object; it is no fault if there is none."""
        import obstore

        try:
            with self._asking(path):
                obstore.delete(self._store(), path)
        except Unknown:
            pass

    def _make_folder(self) -> None:
        if self._bucket:
            return
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RegistryError(f"{self.redacted} cannot be made: {error.strerror}") from error

    def _store(self, size: int = 0) -> Any:
        """Give the store, with time enough for so many bytes."""
        seconds = ONE + size // SLOWEST
        if seconds not in self._stores:
            self._stores[seconds] = self._open(seconds)
        return self._stores[seconds]

    def _open(self, seconds: float) -> Any:
        from obstore.store import LocalStore, from_url

        if not self._bucket:
            if not self._folder.is_dir():
                raise FileNotFoundError
            return LocalStore(self._folder, automatic_cleanup=True)
        backoff = {"init_backoff": timedelta(seconds=0.1), "max_backoff": timedelta(seconds=1)}
        retry = {"max_retries": 3, "retry_timeout": timedelta(seconds=AGAIN), "backoff": backoff}
        options: dict[str, Any] = {
            "timeout": timedelta(seconds=seconds),
            "connect_timeout": timedelta(seconds=AGAIN),
            # Only for a server of one's own, which an address of its own names.
            "allow_http": any(
                os.environ.get(f"{cloud}_ENDPOINT_URL", "").startswith("http://")
                for cloud in ("AWS", "AZURE_STORAGE", "GOOGLE")
            ),
        }
        opened: Any = from_url
        return opened(self.redacted, client_options=options, retry_config=retry)

    @contextmanager
    def _asking(self, path: str) -> Iterator[None]:
        """Say in one line what went wrong with one request."""
        from obstore.exceptions import AlreadyExistsError, BaseError

        self._require_time()
        try:
            yield
        except AlreadyExistsError:
            raise
        except FileNotFoundError as error:
            if "NoSuchBucket" in str(error):
                raise RegistryError(f"{self.redacted} {_reason(str(error))}") from None
            raise Unknown(f"there is no {path} in {self.redacted}") from None
        # The chain is cut, because these errors have the whole request in them.
        except BaseError as error:
            raise RegistryError(f"{self.redacted} {_reason(str(error))}") from None
        except (OSError, ValueError) as error:
            told = error.strerror if isinstance(error, OSError) else error
            raise RegistryError(f"{self.redacted}: {path}: {told}") from None

    def _require_time(self) -> None:
        """Refuse to begin what would take too long, or for ever."""
        global _forked_from  # noqa: PLW0603 - the threads of the library are the process's
        if self._bucket and _forked_from not in (0, os.getpid()):
            raise RegistryError("a bucket was asked before this process was forked; ask it after")
        if self._bucket:
            _forked_from = os.getpid()
        if time.monotonic() > self._until:
            raise RegistryError(f"{self.redacted} is too slow: it was given {ALL:.0f} seconds")


def _is_bucket(url: str) -> bool:
    """Whether an address is a bucket's and not a folder's."""
    parts = urlsplit(url)
    if "://" not in url:
        return False
    if parts.scheme not in SCHEMES:
        raise RegistryError(f"a registry is a folder, or a URL of {', '.join(SCHEMES)}")
    if "@" in parts.netloc or parts.query or not parts.netloc:
        raise RegistryError(
            f"the URL of a registry is {parts.scheme}://bucket/prefix; "
            "credentials come from the environment"
        )
    return True


def _reason(text: str) -> str:
    """Say why a request failed, without the request."""
    status, code, kind = (found.search(text) for found in (_STATUS, _CODE, _KIND))
    if status:
        named = f" {code[1]}" if code else ""
        denied = " (are the credentials right?)" if status[1] in ("401", "403") else ""
        return f"answers {status[1]}{named}{denied}"
    if kind:
        return "cannot be reached" if kind[1] == "Connect" else "did not answer in time"
    if "edential" in text or "metadata" in text:
        return "needs credentials in the environment"
    said = _LOGIN.sub("//***@", " ".join(text.partition("Debug source")[0].split()))
    return f"cannot be read: {said[:200]}"
