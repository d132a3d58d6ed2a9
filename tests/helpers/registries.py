"""Small versions for registries, and direct access to the objects of a registry."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import msgspec
from versions import ALL

from slipway.models.manifest import Manifest, write_manifest
from slipway.registry import Conflict, Registry, open_registry

BUCKET = "registry-of-tests"
SECRET = "canary-secret-of-the-tests"
KEY = {"SLIPWAY_SIGNING_KEY": "a key for tests that nobody can guess, at all"}
OTHER_KEY = {"SLIPWAY_SIGNING_KEY": "another key for tests that nobody can guess"}


def write_version(folder: Path, number: int, *, content: bytes = b"", day: int = 1) -> Path:
    """Write the files of a small version; equal numbers have equal files."""
    content = content or b"the pickle of version %d" % number
    sha256 = hashlib.sha256(content).hexdigest()
    manifest = msgspec.structs.replace(
        ALL,
        sha256=sha256,
        version=version_name(number),
        created=f"2026-01-{day:02}T{number // 60:02}:{number % 60:02}:00+00:00",
    )
    return write_files(folder / str(number), manifest, content)


def version_name(number: int) -> str:
    return f"20260101T{number:06}Z-0000000a"


def write_files(folder: Path, manifest: Manifest, content: bytes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "model.pkl"
    path.write_bytes(content)
    write_manifest(manifest, path)
    return path


def push_some(registry: Registry, folder: Path, count: int) -> list[str]:
    """Push some versions, the oldest first."""
    return [registry.push(write_version(folder, i), who="a test") for i in range(1, count + 1)]


def objects_of(address: str) -> dict[str, bytes]:
    """Read all objects without the registry's own code."""
    if not address.startswith("s3://"):
        files = [path for path in Path(address).rglob("*") if path.is_file()]
        return {str(path.relative_to(address)): path.read_bytes() for path in files}
    client, prefix = boto3.client("s3"), urlsplit(address).path.strip("/") + "/"
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
    keys = [item["Key"] for page in pages for item in page.get("Contents", ())]
    contents = {key: client.get_object(Bucket=BUCKET, Key=key)["Body"].read() for key in keys}
    return {key.removeprefix(prefix): content for key, content in contents.items()}


def put_object(address: str, path: str, content: bytes | None) -> None:
    """Write an object directly, as an intruder would; None deletes it."""
    if not address.startswith("s3://"):
        file = Path(address) / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.unlink() if content is None else file.write_bytes(content)
        return
    key = f"{urlsplit(address).path.strip('/')}/{path}"
    client = boto3.client("s3")
    if content is None:
        client.delete_object(Bucket=BUCKET, Key=key)
    else:
        client.put_object(Bucket=BUCKET, Key=key, Body=content)


def move_once(address: str, who: str, version: str, barrier: Any, results: Any) -> None:
    """Move the alias once; runs in a subprocess."""
    registry = open_registry(address, {})
    barrier.wait()
    try:
        results.put((who, registry.move("production", version, who=who, expected=None).number))
    except Conflict as error:
        results.put((who, error.message))
