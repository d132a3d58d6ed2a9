"""Files in a bucket, downloaded into a scratch folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from slipway.core.errors import SlipwayError
from slipway.data.sources.files import table_of
from slipway.data.sources.source_url import SourceUrl

CHUNK = 8 * 1024 * 1024
READ = {
    "s3": (
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
        "AWS_ENDPOINT_URL",
        "AWS_ROLE_ARN",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
        "AWS_SKIP_SIGNATURE",
        "AWS_VIRTUAL_HOSTED_STYLE_REQUEST",
    ),
    "gs": (
        "GOOGLE_APPLICATION_CREDENTIALS",
        "GOOGLE_SERVICE_ACCOUNT",
        "GOOGLE_SERVICE_ACCOUNT_KEY",
    ),
    "az": (
        "AZURE_STORAGE_ACCOUNT_NAME",
        "AZURE_STORAGE_ACCOUNT_KEY",
        "AZURE_STORAGE_SAS_TOKEN",
        "AZURE_STORAGE_CLIENT_ID",
        "AZURE_STORAGE_CLIENT_SECRET",
        "AZURE_STORAGE_TENANT_ID",
    ),
}
KIND = {"s3a": "s3", "gcs": "gs", "azure": "az", "abfs": "az", "abfss": "az"}
# A whole file may take long, but not a piece of it.
TIMEOUTS = {"connect_timeout": "10s", "read_timeout": "60s", "timeout": "24h"}


def download(
    address: SourceUrl, wanted: Sequence[str], environ: Mapping[str, str], folder: Path
) -> Path:
    """Download the tables of a bucket; memory holds a few megabytes of them at a time.

    Parameters
    ----------
    address : SourceUrl
        ``s3://bucket/folder``.
    wanted : sequence of str
        Other files stay where they are.
    environ : mapping of str to str
        The credentials, under the names that the cloud's own tools use.
    folder : Path

    Returns
    -------
    Path
        The folder, or the one file.

    Raises
    ------
    SlipwayError
        The bucket cannot be read.
    """
    try:
        from obstore.exceptions import BaseError
    except ImportError as error:
        raise SlipwayError("buckets need obstore: pip install 'slipway[train]'") from error
    needed = ", ".join(READ[_kind(address)][:2])
    where = f"set {needed} and the like, and check the address"
    prefix = address.path.strip("/")
    try:
        store = _store(address, environ)
        found = _listed(store, prefix)
        if not found:
            raise SlipwayError(f"there is nothing at {address.shown}: {where}")
        return _downloaded(store, prefix, found, wanted, folder)
    except (BaseError, OSError) as error:
        said = " ".join(str(error).partition("Debug source")[0].split())[:300]
        raise SlipwayError(f"{address.shown} cannot be read: {said}; {where}") from error


def _kind(address: SourceUrl) -> str:
    return KIND.get(address.scheme, address.scheme)


def _store(address: SourceUrl, environ: Mapping[str, str]) -> Any:
    """Open the bucket."""
    from obstore.store import from_url

    kind = _kind(address)
    config = {name.lower(): environ[name] for name in READ[kind] if environ.get(name)}
    options: dict[str, Any] = {**TIMEOUTS}
    if config.get("aws_endpoint_url", "").startswith("http://"):
        # A server of one's own, on a network of one's own.
        options["allow_http"] = True
    opened: Any = from_url
    url = f"{kind}://{address.host}"
    return opened(url, config=config, client_options=options, retry_config={"max_retries": 3})


def _listed(store: Any, prefix: str) -> list[str]:
    """Name all files under a prefix, or the one file that it is."""
    import obstore

    paths = [meta["path"] for batch in obstore.list(store, prefix or None) for meta in batch]
    if paths or not prefix:
        return paths
    # A prefix is a folder; a file is listed in the folder that holds it.
    parent = str(PurePosixPath(prefix).parent).strip(".")
    beside = obstore.list_with_delimiter(store, parent or None)["objects"]
    return [meta["path"] for meta in beside if meta["path"] == prefix]


def _downloaded(
    store: Any, prefix: str, paths: list[str], wanted: Sequence[str], folder: Path
) -> Path:
    """Download what is wanted."""
    if paths == [prefix]:
        return _copied(store, prefix, folder / PurePosixPath(prefix).name)
    names = {name.lower() for name in wanted}
    for path in paths:
        inside = PurePosixPath(path).relative_to(prefix)
        name, kind = table_of(inside)
        # Files of other names are left there, but known by name, to be named in an error.
        if kind is not None and name.lower() in names:
            _copied(store, path, folder / inside)
        elif kind is not None:
            _noted(folder / inside)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _copied(store: Any, path: str, file: Path) -> Path:
    """Download one file, in pieces."""
    import obstore

    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("wb") as written:
        for chunk in obstore.get(store, path).stream(min_chunk_size=CHUNK):
            written.write(chunk)
    return file


def _noted(file: Path) -> None:
    """Leave a name for what is not downloaded."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
