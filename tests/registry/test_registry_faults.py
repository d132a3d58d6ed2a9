"""A registry that is away, slow, forbidden or broken: a clear word in time, and nothing half."""

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
# Within 20 s where nothing else runs.
IN_TIME = 40.0


@pytest.fixture
def version(bucket, tmp_path):
    """A version that is in the bucket, and production."""
    registry = open_registry(bucket, {})
    (version,) = push_some(registry, tmp_path, 1)
    registry.move("production", version, who="me")
    return version


def refusal(call):
    """Give what a call is refused with, once it is sure that it came in time."""
    started = time.monotonic()
    with pytest.raises(RegistryError) as refused:
        call()
    assert time.monotonic() - started < IN_TIME
    told = "".join(traceback.format_exception(refused.value))
    assert SECRET not in told
    assert "\n" not in refused.value.message
    return refused.value.message


FAULTS = {
    "403": r"answers 403 Spoilt \(are the credentials right\?\)$",
    "500": "answers 500 Spoilt$",
    "503": "answers 503 Spoilt$",
    "hang": "did not answer in time$",
}


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_server_that_is_at_fault_is_told_in_one_line_and_in_time(
    bucket, version, proxy, tmp_path, fault
):
    proxy.fault = fault
    registry = open_registry(bucket, {})
    says = FAULTS[fault]
    assert re.search(f"^{bucket} {says}", refusal(lambda: registry.resolve("@production")))
    assert re.search(says, refusal(lambda: registry.fetch(version, tmp_path / "here")))
    assert re.search(says, refusal(lambda: registry.push(write_version(tmp_path, 2), who="me")))
    assert not (tmp_path / "here").exists()
    assert len(proxy.requests) <= 24
    proxy.fault = ""
    assert registry.resolve("@production") == version


def test_server_that_is_away_is_told_in_time(bucket, version, monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    registry = open_registry(bucket, {})
    for call in (registry.versions, lambda: registry.fetch(version, tmp_path / "here")):
        assert refusal(call) == f"{bucket} cannot be reached"


def test_bucket_that_is_not_there_is_told(s3_server):
    registry = open_registry("s3://absent-bucket/x", {})
    for call in (registry.versions, lambda: registry.stored("a")):
        assert refusal(call) == "s3://absent-bucket/x answers 404 NoSuchBucket"


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["cut", "drip", "hang"])
def test_file_that_does_not_come_whole_leaves_nothing(bucket, version, proxy, tmp_path, fault):
    proxy.fault, proxy.only = fault, "model.json"
    registry = open_registry(bucket, {})
    refusal(lambda: registry.fetch(version, tmp_path / "here"))
    assert list((tmp_path / "here").iterdir()) == []
    proxy.fault = ""
    assert registry.fetch(version, tmp_path / "here").exists()


@pytest.mark.slow
def test_server_that_is_slow_each_time_is_given_up_in_time(bucket, proxy, tmp_path):
    path = write_version(tmp_path, 1)
    mark = f'<meta name="model-version" content="{version_name(1)}">'
    path.with_name("report.html").write_text(mark)
    registry = open_registry(bucket, {})
    version = registry.push(path, who="me")
    proxy.fault = "slow"
    assert "is too slow" in refusal(lambda: registry.fetch(version, tmp_path / "here"))
    assert list((tmp_path / "here").iterdir()) == []


def test_server_that_recovers_is_asked_again(bucket, version, proxy):
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


def test_lost_answer_to_a_move_that_was_made_is_no_conflict(bucket, version, proxy, tmp_path):
    """The entry is there; asked again, the server says that somebody wrote it already."""
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


def test_object_that_is_no_entry_is_refused(address, registry, tmp_path):
    (version,) = push_some(registry, tmp_path, 1)
    for content in (b"", b"{}", b"\xff", b"[" * 60_000, b"null", b'{"version": "../x"}'):
        put_object(address, f"versions/{version}/version.json", content)
        with pytest.raises(NotTrusted, match="is not an entry of a registry"):
            registry.stored(version)


def test_key_of_the_cloud_is_in_no_message_even_where_an_address_has_it(bucket, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://user:{SECRET}@127.0.0.1:{free_port()}")
    refusal(open_registry(bucket, {}).versions)


LIMITED = """
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


def limited(*words):
    command = (sys.executable, "-c", LIMITED, *map(str, words))
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
    return done.stdout


def test_full_disk_at_fetch_leaves_nothing_half(address, registry, tmp_path):
    path = write_version(tmp_path, 1, content=b"x" * 200_000)
    registry.push(path, who="me")
    told = limited(address, "fetch", version_name(1), tmp_path / "here")
    assert "File too large" in told
    assert list((tmp_path / "here").iterdir()) == []
    assert registry.fetch(version_name(1), tmp_path / "here").exists()


def test_full_disk_at_push_leaves_nothing_visible(tmp_path):
    address = str(tmp_path / "registry")
    path = write_version(tmp_path, 1, content=b"x" * 200_000)
    told = limited(address, "push", path)
    assert address in told
    registry = open_registry(address, {})
    assert registry.versions() == []
    assert not any(len(content) == 200_000 for content in objects_of(address).values())
    assert registry.push(path, who="me") == version_name(1)


def test_folder_that_cannot_be_written_to_is_told(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    registry = open_registry(str(tmp_path / "file" / "registry"), {})
    assert "cannot be made" in refusal(lambda: registry.push(write_version(tmp_path, 1), who="me"))
    with pytest.raises(Unknown):
        registry.stored("a")
    good = open_registry(str(tmp_path / "registry"), {})
    (version,) = push_some(good, tmp_path, 1)
    assert "cannot be written to" in refusal(lambda: good.fetch(version, tmp_path / "file" / "x"))
