"""Objects in a folder or a bucket: put if absent, get, list and delete.

Registries only need these operations, because every store has them. Folders and some S3 servers
lack conditional updates.
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
# Time limits of a request, its retries, and the start of the last request of a call.
REQUEST_SECONDS, RETRY_SECONDS, CALL_SECONDS = 5.0, 4.0, 10.0
# Limit of objects with one prefix. A registry of 1,000 versions has 4,000.
MAX_LISTED = 200_000
# The slowest download that does not count as stuck.
MIN_BYTES_PER_SECOND = 1_000_000
_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>(\w{1,60})</Code>")
_KIND = re.compile(r"kind: (Connect|Timeout)\b")
_LOGIN = re.compile(r"//[^/@\s]+@")
_first_user_pid = 0


class ObjectInfo(NamedTuple):
    """Path and time of an object."""

    path: str
    modified: datetime


class ObjectStore:
    """The objects of a folder or a bucket.

    Parameters
    ----------
    url : str
        A folder, or the URL of a bucket: ``s3://bucket/prefix``, ``gs://`` or ``az://``. The
        credentials are in the cloud's variables, such as ``AWS_ACCESS_KEY_ID``.

    Raises
    ------
    RegistryError
        The URL is not valid.
    """

    def __init__(self, url: str) -> None:
        self.redacted = url
        self._bucket = _is_bucket(url)
        self._folder = Path(url)
        self._stores: dict[float, Any] = {}
        self._deadline = time.monotonic() + CALL_SECONDS

    def begin(self) -> None:
        """Start the time limit of a call."""
        self._deadline = time.monotonic() + CALL_SECONDS

    def extend(self, size: int) -> None:
        """Extend the time limit of a call for a transfer of some bytes."""
        self._deadline += size / MIN_BYTES_PER_SECOND

    def get(self, path: str, limit: int = MAX_ENTRY) -> bytes:
        """Return an object's content.

        Parameters
        ----------
        path : str
        limit : int
            The largest accepted size in bytes.

        Raises
        ------
        Unknown
            The object does not exist.
        NotTrusted
            The object is larger than the limit.
        """
        import obstore

        content = bytearray()
        with self._convert_errors(path):
            for chunk in obstore.get(self._get_store(limit), path).stream(min_chunk_size=1 << 16):
                content += chunk
                if len(content) > limit:
                    raise NotTrusted(
                        f"{path} in {self.redacted} has more than {limit:,} bytes and was not read"
                    )
        return bytes(content)

    def download(self, path: str, file: Path, size: int, sha256: str) -> None:
        """Copy an object to a file, and verify its size and hash."""
        import obstore

        digest, written = hashlib.sha256(), 0
        with self._convert_errors(path), file.open("xb") as copy:
            for chunk in obstore.get(self._get_store(size), path).stream(min_chunk_size=1 << 20):
                written += len(chunk)
                # An object that is too long can be endless.
                if written > size:
                    break
                digest.update(chunk)
                copy.write(chunk)
        if written != size or digest.hexdigest() != sha256:
            raise NotTrusted(f"{path} in {self.redacted} was changed or truncated after the push")

    def put_if_absent(self, path: str, content: bytes) -> bool:
        """Create an object; return whether it now exists with this content."""
        import obstore
        from obstore.exceptions import AlreadyExistsError

        self._create_folder()
        try:
            with self._convert_errors(path):
                obstore.put(self._get_store(len(content)), path, content, mode="create")
                return True
        except AlreadyExistsError:
            return self._has_content(path, content)
        except RegistryError:
            # The response can be lost although the object was created.
            if self._has_content(path, content):
                return True
            raise

    def _has_content(self, path: str, content: bytes) -> bool:
        """Return whether an object has this content."""
        self.begin()
        try:
            return self.get(path, len(content)) == content
        except RegistryError:
            return False

    def list(self, prefix: str) -> list[ObjectInfo]:
        """Return the objects with a prefix."""
        import obstore

        if not self._bucket and not self._folder.is_dir():
            return []
        objects: list[ObjectInfo] = []
        with self._convert_errors(prefix):
            for page in obstore.list(self._get_store(), prefix):
                objects += (ObjectInfo(meta["path"], meta["last_modified"]) for meta in page)
                if len(objects) > MAX_LISTED:
                    raise RegistryError(
                        f"{self.redacted} has more than {MAX_LISTED:,} objects in {prefix}/; "
                        "remove foreign files, or prune"
                    )
        return objects

    def delete(self, path: str) -> None:
        """Delete an object if it exists."""
        import obstore

        try:
            with self._convert_errors(path):
                obstore.delete(self._get_store(), path)
        except Unknown:
            pass

    def _create_folder(self) -> None:
        if self._bucket:
            return
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RegistryError(f"cannot create {self.redacted}: {error.strerror}") from error

    def _get_store(self, size: int = 0) -> Any:
        """Return a store whose time limit suits a transfer of some bytes."""
        seconds = REQUEST_SECONDS + size // MIN_BYTES_PER_SECOND
        if seconds not in self._stores:
            self._stores[seconds] = self._open_store(seconds)
        return self._stores[seconds]

    def _open_store(self, seconds: float) -> Any:
        from obstore.store import LocalStore, from_url

        if not self._bucket:
            if not self._folder.is_dir():
                raise FileNotFoundError
            return LocalStore(self._folder, automatic_cleanup=True)
        backoff = {"init_backoff": timedelta(seconds=0.1), "max_backoff": timedelta(seconds=1)}
        retry_timeout = timedelta(seconds=RETRY_SECONDS)
        retry = {"max_retries": 3, "retry_timeout": retry_timeout, "backoff": backoff}
        options: dict[str, Any] = {
            "timeout": timedelta(seconds=seconds),
            "connect_timeout": retry_timeout,
            # Only for a custom server.
            "allow_http": any(
                os.environ.get(f"{cloud}_ENDPOINT_URL", "").startswith("http://")
                for cloud in ("AWS", "AZURE_STORAGE", "GOOGLE")
            ),
        }
        open_url: Any = from_url
        return open_url(self.redacted, client_options=options, retry_config=retry)

    @contextmanager
    def _convert_errors(self, path: str) -> Iterator[None]:
        """Convert errors of a request to one-line messages."""
        from obstore.exceptions import AlreadyExistsError, BaseError

        self._require_usable()
        try:
            yield
        except AlreadyExistsError:
            raise
        except FileNotFoundError as error:
            if "NoSuchBucket" in str(error):
                raise RegistryError(f"{self.redacted} {_reason(str(error))}") from None
            raise Unknown(f"no object {path} in {self.redacted}") from None
        # Drop the chained exception, which contains the whole request.
        except BaseError as error:
            raise RegistryError(f"{self.redacted} {_reason(str(error))}") from None
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise RegistryError(f"{self.redacted}: {path}: {reason}") from None

    def _require_usable(self) -> None:
        """Raise an error if the time is up, or after a fork, when requests would hang."""
        global _first_user_pid  # noqa: PLW0603 - the library's threads belong to a process
        if self._bucket and _first_user_pid not in (0, os.getpid()):
            raise RegistryError(
                "a bucket was used before this process was forked; open the registry after the fork"
            )
        if self._bucket:
            _first_user_pid = os.getpid()
        if time.monotonic() > self._deadline:
            raise RegistryError(f"{self.redacted} is too slow: no result in {CALL_SECONDS:.0f} s")


def _is_bucket(url: str) -> bool:
    """Return whether a URL is a bucket and not a folder."""
    parts = urlsplit(url)
    if "://" not in url:
        return False
    if parts.scheme not in SCHEMES:
        raise RegistryError(f"a registry is a folder, or a URL of {', '.join(SCHEMES)}")
    if "@" in parts.netloc or parts.query or not parts.netloc:
        raise RegistryError(
            f"the URL of a registry is {parts.scheme}://bucket/prefix; "
            "set credentials in the environment"
        )
    return True


def _reason(text: str) -> str:
    """Return why a request failed, without the request."""
    status, code, kind = (pattern.search(text) for pattern in (_STATUS, _CODE, _KIND))
    if status:
        suffix = f" {code[1]}" if code else ""
        hint = " (check the credentials)" if status[1] in ("401", "403") else ""
        return f"answers {status[1]}{suffix}{hint}"
    if kind:
        return "cannot be reached" if kind[1] == "Connect" else "did not answer in time"
    if "edential" in text or "metadata" in text:
        return "needs credentials in the environment"
    message = _LOGIN.sub("//***@", " ".join(text.partition("Debug source")[0].split()))
    return f"cannot be read: {message[:200]}"
