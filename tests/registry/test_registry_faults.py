"""Registries that are unreachable, slow, forbidden or broken, and full disks."""

import re
import resource
import subprocess
import sys
import time
import traceback

import pytest
from conftest import ROOT, free_port
from registries import SECRET, objects_of, push_some, put_object, version_name, write_version

from slipway.registry import NotTrusted, RegistryError, Unknown, open_registry

pytest_plugins = ["registry_servers"]
# The limit is 20 s on an idle machine.
TIME_LIMIT = 40.0


@pytest.fixture
def version(bucket, tmp_path):
    """Push a version to the bucket, promote it and return it."""
    registry = open_registry(bucket, {})
    (version,) = push_some(registry, tmp_path, 1)
    registry.move("production", version, who="me")
    return version


def error_of(call):
    """Return the error message of a call; check that it is raised in time."""
    started = time.monotonic()
    with pytest.raises(RegistryError) as caught:
        call()
    assert time.monotonic() - started < TIME_LIMIT
    output = "".join(traceback.format_exception(caught.value))
    assert SECRET not in output
    assert "\n" not in caught.value.message
    return caught.value.message


FAULTS = {
    "403": r"answers 403 Spoilt \(check the credentials\)$",
    "500": "answers 500 Spoilt$",
    "503": "answers 503 Spoilt$",
    "hang": "did not answer in time$",
}


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_bucket_server_error_raises_one_line_error_in_time(bucket, version, proxy, tmp_path, fault):
    proxy.fault = fault
    registry = open_registry(bucket, {})
    expected = FAULTS[fault]
    assert re.search(f"^{bucket} {expected}", error_of(lambda: registry.resolve("@production")))
    assert re.search(expected, error_of(lambda: registry.fetch(version, tmp_path / "here")))
    assert re.search(
        expected, error_of(lambda: registry.push(write_version(tmp_path, 2), who="me"))
    )
    assert not (tmp_path / "here").exists()
    assert len(proxy.requests) <= 24
    proxy.fault = ""
    assert registry.resolve("@production") == version


def test_bucket_unreachable_server_raises_error_in_time(bucket, version, monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    registry = open_registry(bucket, {})
    for call in (registry.versions, lambda: registry.fetch(version, tmp_path / "here")):
        assert error_of(call) == f"{bucket} cannot be reached"


def test_bucket_absent_raises_error(s3_server):
    registry = open_registry("s3://absent-bucket/x", {})
    for call in (registry.versions, lambda: registry.stored("a")):
        assert error_of(call) == "s3://absent-bucket/x answers 404 NoSuchBucket"


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["cut", "drip", "hang"])
def test_fetch_interrupted_download_leaves_no_files(bucket, version, proxy, tmp_path, fault):
    proxy.fault, proxy.only = fault, "model.json"
    registry = open_registry(bucket, {})
    error_of(lambda: registry.fetch(version, tmp_path / "here"))
    assert list((tmp_path / "here").iterdir()) == []
    proxy.fault = ""
    assert registry.fetch(version, tmp_path / "here").exists()


@pytest.mark.slow
def test_fetch_slow_server_raises_error_in_time(bucket, proxy, tmp_path):
    path = write_version(tmp_path, 1)
    report = f'<meta name="model-version" content="{version_name(1)}">'
    path.with_name("report.html").write_text(report)
    registry = open_registry(bucket, {})
    version = registry.push(path, who="me")
    proxy.fault = "slow"
    assert "is too slow" in error_of(lambda: registry.fetch(version, tmp_path / "here"))
    assert list((tmp_path / "here").iterdir()) == []


def test_resolve_recovering_server_is_retried(bucket, version, proxy):
    proxy.fault = "503"
    registry = open_registry(bucket, {})
    handler = proxy.RequestHandlerClass.do

    def recovering(self):
        if len(proxy.requests) == 2:
            proxy.fault = ""
        handler(self)

    proxy.RequestHandlerClass = type(
        "Recovering", (proxy.RequestHandlerClass,), {"do_GET": recovering}
    )
    assert registry.resolve("@production") == version


def test_move_lost_response_is_not_a_conflict(bucket, version, proxy, tmp_path):
    """The first request creates the entry, so its retry finds an existing one."""
    registry = open_registry(bucket, {})
    two = registry.push(write_version(tmp_path, 2), who="me")
    proxy.fault, proxy.only = "lost", "aliases/production/00000002.json"
    handler = proxy.RequestHandlerClass.do

    def lost_once(self):
        handler(self)
        if self.command == "PUT" and proxy.only in self.path:
            proxy.fault = ""

    proxy.RequestHandlerClass = type("Lost", (proxy.RequestHandlerClass,), {"do_PUT": lost_once})
    registry = open_registry(bucket, {})
    assert registry.move("production", two, who="me").number == 2
    assert [move.version for move in registry.history("production")] == [version, two]


def test_stored_invalid_entry_raises_error(address, registry, tmp_path):
    (version,) = push_some(registry, tmp_path, 1)
    for content in (b"", b"{}", b"\xff", b"[" * 60_000, b"null", b'{"version": "../x"}'):
        put_object(address, f"versions/{version}/version.json", content)
        with pytest.raises(NotTrusted, match="is not an entry of a registry"):
            registry.stored(version)


def test_bucket_secret_in_endpoint_is_not_in_message(bucket, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://user:{SECRET}@127.0.0.1:{free_port()}")
    error_of(open_registry(bucket, {}).versions)


LIMITED_CODE = """
import resource, sys
from pathlib import Path
from slipway.registry import RegistryError, open_registry
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
registry = open_registry(sys.argv[1], {})
try:
    if sys.argv[2] == "fetch":
        registry.fetch(sys.argv[3], Path(sys.argv[4]))
    else:
        registry.push(Path(sys.argv[3]), who="me")
except RegistryError as error:
    print(error.message)
"""


def run_limited(*arguments):
    command = (sys.executable, "-c", LIMITED_CODE, *map(str, arguments))
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
    return process.stdout


def test_fetch_full_disk_leaves_no_files(address, registry, tmp_path):
    path = write_version(tmp_path, 1, content=b"x" * 200_000)
    registry.push(path, who="me")
    output = run_limited(address, "fetch", version_name(1), tmp_path / "here")
    assert "File too large" in output
    assert list((tmp_path / "here").iterdir()) == []
    assert registry.fetch(version_name(1), tmp_path / "here").exists()


def test_push_full_disk_leaves_no_version(tmp_path):
    address = str(tmp_path / "registry")
    path = write_version(tmp_path, 1, content=b"x" * 200_000)
    output = run_limited(address, "push", path)
    assert address in output
    registry = open_registry(address, {})
    assert registry.versions() == []
    assert not any(len(content) == 200_000 for content in objects_of(address).values())
    assert registry.push(path, who="me") == version_name(1)


def test_registry_folder_not_writable_raises_error(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    registry = open_registry(str(tmp_path / "file" / "registry"), {})
    assert "cannot create" in error_of(lambda: registry.push(write_version(tmp_path, 1), who="me"))
    with pytest.raises(Unknown):
        registry.stored("a")
    good = open_registry(str(tmp_path / "registry"), {})
    (version,) = push_some(good, tmp_path, 1)
    assert "cannot write to" in error_of(lambda: good.fetch(version, tmp_path / "file" / "x"))
