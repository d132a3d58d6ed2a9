"""Download tables from a bucket to a scratch folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from slipway.core.errors import SlipwayError
from slipway.data.sources.files import classify_path
from slipway.data.sources.source_url import SourceUrl

CHUNK = 8 * 1024 * 1024
CREDENTIALS = {
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
SCHEME_ALIASES = {"s3a": "s3", "gcs": "gs", "azure": "az", "abfs": "az", "abfss": "az"}
# A whole file can take hours, but not a single read.
TIMEOUTS = {"connect_timeout": "10s", "read_timeout": "60s", "timeout": "24h"}


def download_tables(
    source_url: SourceUrl, tables: Sequence[str], environ: Mapping[str, str], folder: Path
) -> Path:
    """Download the tables of a bucket, with a few megabytes in memory at a time.

    Parameters
    ----------
    source_url : SourceUrl
        ``s3://bucket/folder``.
    tables : sequence of str
        Names of the tables to download.
    environ : mapping of str to str
        Credentials in the variables of the cloud's own tools.
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
    variables = ", ".join(CREDENTIALS[_canonical_scheme(source_url)][:2])
    fix = f"check the URL and the credentials ({variables}, ...)"
    prefix = source_url.path.strip("/")
    try:
        store = _open_store(source_url, environ)
        paths = _list_paths(store, prefix)
        if not paths:
            raise SlipwayError(f"no files at {source_url.redacted}; {fix}")
        return _download_files(store, prefix, paths, tables, folder)
    except (BaseError, OSError) as error:
        reason = " ".join(str(error).partition("Debug source")[0].split())[:300]
        raise SlipwayError(f"cannot read {source_url.redacted}: {reason}; {fix}") from error


def _canonical_scheme(source_url: SourceUrl) -> str:
    return SCHEME_ALIASES.get(source_url.scheme, source_url.scheme)


def _open_store(source_url: SourceUrl, environ: Mapping[str, str]) -> Any:
    """Open the bucket."""
    from obstore.store import from_url

    kind = _canonical_scheme(source_url)
    config = {name.lower(): environ[name] for name in CREDENTIALS[kind] if environ.get(name)}
    options: dict[str, Any] = {**TIMEOUTS}
    if config.get("aws_endpoint_url", "").startswith("http://"):
        # A custom server, usually on a private network.
        options["allow_http"] = True
    open_url: Any = from_url
    url = f"{kind}://{source_url.host}"
    return open_url(url, config=config, client_options=options, retry_config={"max_retries": 3})


def _list_paths(store: Any, prefix: str) -> list[str]:
    """Return the paths of all files under a prefix, or the prefix itself if it is a file."""
    import obstore

    paths = [meta["path"] for batch in obstore.list(store, prefix or None) for meta in batch]
    if paths or not prefix:
        return paths
    # A prefix lists a folder. A single file is only in the listing of its parent.
    parent = str(PurePosixPath(prefix).parent).strip(".")
    beside = obstore.list_with_delimiter(store, parent or None)["objects"]
    return [meta["path"] for meta in beside if meta["path"] == prefix]


def _download_files(
    store: Any, prefix: str, paths: list[str], tables: Sequence[str], folder: Path
) -> Path:
    """Download the files of some tables, and return their folder or single file."""
    if paths == [prefix]:
        return _download_file(store, prefix, folder / PurePosixPath(prefix).name)
    names = {name.lower() for name in tables}
    for path in paths:
        inside = PurePosixPath(path).relative_to(prefix)
        name, kind = classify_path(inside)
        # Error messages also name the tables that are not downloaded.
        if kind is not None and name.lower() in names:
            _download_file(store, path, folder / inside)
        elif kind is not None:
            _create_placeholder(folder / inside)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _download_file(store: Any, path: str, file: Path) -> Path:
    """Download one file in chunks."""
    import obstore

    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("wb") as written:
        for chunk in obstore.get(store, path).stream(min_chunk_size=CHUNK):
            written.write(chunk)
    return file


def _create_placeholder(file: Path) -> None:
    """Create an empty file in place of one that is not downloaded."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
