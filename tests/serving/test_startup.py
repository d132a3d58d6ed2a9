"""Test the start of a service: the current version, the last good one, or an error in one line."""

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import GUNICORN, ROOT, free_port, running
from registries import KEY, OTHER_KEY
from small_versions import BODIES, rename_version, save_version
from swapping import all_serve, get_json, until

from slipway.core.errors import ModelError
from slipway.core.settings import Reference, Settings, read_reference
from slipway.models.manifest import read_manifest
from slipway.registry import open_registry
from slipway.serving.rollout.alias_follower import RegistryPoller
from slipway.serving.rollout.startup import load_initial_service
from slipway.serving.rollout.version_cache import AliasState, VersionCache

VERSION = "20260101T120000Z-1a2b3c4d"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("model.pkl", "{root}/model.pkl"),
        ("none/other.pkl", "{root}/none/other.pkl"),
        ("holds", "{root}/holds/model.pkl"),
        ("a@b/model.pkl", "{root}/a@b/model.pkl"),
        ("models", ("{root}/models", "@production")),
        ("models@candidate", ("{root}/models", "@candidate")),
        (f"models@{VERSION}", ("{root}/models", VERSION)),
        ("a@b/models", ("{root}/a@b/models", "@production")),
        ("/else/where@eu", ("/else/where", "@eu")),
        ("s3://bucket/prefix", ("s3://bucket/prefix", "@production")),
        ("s3://bucket/prefix@production", ("s3://bucket/prefix", "@production")),
        (f"gs://bucket/a/b@{VERSION}", ("gs://bucket/a/b", VERSION)),
    ],
)
def test_read_reference_setting_returns_file_or_reference(tmp_path, text, expected):
    (tmp_path / "holds").mkdir()
    (tmp_path / "holds" / "model.pkl").touch()
    read = read_reference(tmp_path, text)
    if isinstance(expected, str):
        assert str(read) == expected.format(root=tmp_path)
    else:
        assert read == Reference(*(part.format(root=tmp_path) for part in expected))


@pytest.mark.parametrize(
    ("name", "value"), [("SLIPWAY_MODEL_POLL", "-1"), ("SLIPWAY_MODEL_POLL", "nan")]
)
def test_settings_invalid_poll_names_the_variable(name, value):
    with pytest.raises(ValueError, match=name):
        Settings.from_environ(ROOT, {name: value})


def test_settings_shadow_file_raises():
    with pytest.raises(ValueError, match="SLIPWAY_SHADOW"):
        Settings.from_environ(ROOT, {"SLIPWAY_SHADOW": "other.pkl"})


class Place:
    """A registry with two versions, the first of which is production, and a cache."""

    def __init__(self, folder):
        self.folder = folder
        self.url = str(folder / "registry")
        self.registry = open_registry(self.url, KEY)
        self.a, self.b = (self.push(weight) for weight in (0.5, 1.5))
        self.promote(self.a)

    def push(self, weight, spoil=lambda path: path, **named):
        path = save_version(self.folder / f"{weight}", weight, **named)
        return self.registry.push(spoil(path), who="a test")

    def promote(self, version):
        self.registry.move("production", version, who="a test")

    def environ(self, **environ):
        return {"SLIPWAY_MODEL": self.url, "SLIPWAY_CACHE": str(self.cache), **KEY, **environ}

    @property
    def cache(self):
        return self.folder / "cache"


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    return Place(tmp_path_factory.mktemp("template"))


@pytest.fixture
def place(template, tmp_path):
    """A copy of the template, since copying is faster than fitting."""
    copy = object.__new__(Place)
    copy.__dict__.update(template.__dict__, folder=tmp_path, url=str(tmp_path / "registry"))
    shutil.copytree(template.url, copy.url)
    copy.registry = open_registry(copy.url, KEY)
    return copy


def missing(place):
    shutil.rmtree(place.url)
    return {}, "no alias production"


def pushed_file(place):
    return place.folder / "registry" / "versions" / place.b / "model.pkl"


def corrupt(place):
    place.promote(place.b)
    file = pushed_file(place)
    file.write_bytes(b"\0" + file.read_bytes()[1:])
    return {}, "was changed or truncated"


def truncated(place):
    place.promote(place.b)
    file = pushed_file(place)
    file.write_bytes(file.read_bytes()[:100])
    return {}, "was changed or truncated"


def unsigned(place):
    unsigning = open_registry(place.url, {})
    unsigning.move("production", place.b, who="a test")
    return {}, "is not signed"


def wrong_key(place):
    stranger = open_registry(place.url + "2", OTHER_KEY)
    path = place.folder / "stranger"
    shutil.copytree(place.url, path)
    version = stranger.push(save_version(place.folder / "theirs", 0.7), who="a test")
    stranger.move("production", version, who="a test")
    for kind in ("versions", "aliases"):
        shutil.copytree(f"{place.url}2/{kind}", f"{place.url}/{kind}", dirs_exist_ok=True)
    return {}, "is not signed with this SLIPWAY_SIGNING_KEY"


def older(path):
    libraries = read_manifest(path).libraries | {"scikit-learn": "0.24.2"}
    return rename_version(path, libraries=libraries)


def wrong_library(place):
    place.promote(place.push(0.6, older, tree=True))
    return {}, "made by scikit-learn 0.24.2"


BROKEN = [missing, corrupt, truncated, unsigned, wrong_key, wrong_library]


@pytest.mark.parametrize("break_registry", BROKEN)
def test_start_broken_registry_and_empty_cache_exits_with_one_line(place, break_registry):
    environ, reason = break_registry(place)
    command = [word.format(port=free_port()) for word in GUNICORN]
    began = time.monotonic()
    done = subprocess.run(
        [*command, "--workers=4"],
        cwd=ROOT,
        env=os.environ | place.environ(**environ),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    # On an idle machine, within 20 s.
    assert time.monotonic() - began < 45
    assert done.returncode != 0
    (line,) = [line for line in done.stderr.splitlines() if line]
    assert line.startswith("slipway cannot serve: ")
    assert reason in line


@pytest.mark.parametrize("break_registry", BROKEN)
def test_start_broken_registry_serves_last_good_version_degraded(place, break_registry):
    settings = Settings.from_environ(ROOT, place.environ())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(*next(iter(KEY.items())))
        assert load_initial_service(settings).version == place.a
    environ, reason = break_registry(place)
    with running(*GUNICORN, "--workers=2", **place.environ(**environ)) as (base, _):
        ready = get_json(base, "/readyz")
        assert (ready["status"], get_json(base, "/version")["model_version"]) == (
            "degraded",
            place.a,
        )
        assert reason in ready["reason"]
        assert str(place.folder) not in ready["reason"]
        # Gunicorn can lose a SIGTERM that arrives while its workers start.
        until(lambda: all_serve(base, place.a, 2), 60)


@pytest.fixture
def settings(place, monkeypatch):
    monkeypatch.setenv(*next(iter(KEY.items())))
    return Settings.from_environ(ROOT, place.environ())


def test_start_cached_fixed_version_without_registry_loads(place, settings):
    fixed = Reference(place.url, place.b)
    settings = Settings(settings.model, reference=fixed, cache=settings.cache)
    assert load_initial_service(settings).version == place.b
    shutil.rmtree(place.url)
    assert load_initial_service(settings).version == place.b


def test_start_changed_copy_is_fetched_again(place, settings):
    copy = load_initial_service(settings).path
    copy.write_bytes(b"something else")
    assert load_initial_service(settings).version == place.a
    assert copy.read_bytes() != b"something else"


def test_start_changed_copy_without_registry_raises(place, settings):
    load_initial_service(settings).path.write_bytes(b"something else")
    shutil.rmtree(place.url)
    with pytest.raises(ModelError, match="cannot load the last good version either"):
        load_initial_service(settings)


def test_poll_rejected_version_is_checked_and_logged_once(place, settings, caplog):
    load_initial_service(settings)
    cache = VersionCache(settings.cache, settings.reference)
    poller = RegistryPoller(replace(settings, poll=0.001), settings.reference)
    version = place.push(0.7, older, tree=True)
    place.promote(version)
    for _ in range(3):
        poller.poll()
        time.sleep(0.01)
    assert poller.n_rejected == 1
    assert len(caplog.records) == 1
    assert cache.read().version == place.a
    assert f"{version} rejected" in cache.read().problem
    place.promote(place.b)
    poller.poll()
    assert cache.read() == AliasState(place.b, "", 0, 3)


def test_poll_deleted_journal_entries_keep_the_version(place, settings):
    place.promote(place.b)
    assert load_initial_service(settings).version == place.b
    last = max(Path(place.url).glob("aliases/production/*.json"))
    last.unlink()
    poller = RegistryPoller(replace(settings, poll=0.001), settings.reference)
    poller.poll()
    state = VersionCache(settings.cache, settings.reference).read()
    assert (state.version, state.number) == (place.b, int(last.stem))
    assert "entries were deleted" in state.problem
    assert load_initial_service(settings).version == place.b
    # A machine that never saw these entries cannot detect the deletion.
    assert load_initial_service(replace(settings, cache=settings.cache / "new")).version == place.a


def test_poll_full_disk_keeps_the_served_version(place, settings):
    """Limit the size of files, which has the effect of a full disk."""
    load_initial_service(settings)
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "from pathlib import Path; from slipway.core.settings import Settings;"
        "from slipway.serving.rollout.alias_follower import RegistryPoller, AliasFollower;"
        "from slipway.serving.rollout.startup import load_initial_service;"
        "s = Settings.from_environ(Path('.')); service = load_initial_service(s);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (512, 512));"
        "poller = RegistryPoller(s, s.reference); served = [];"
        "follower = AliasFollower(s, s.reference, service, served.append);"
        "print('up', flush=True); input(); poller.poll(); follower.poll();"
        "print(poller.polls_failed, len(served), follower.cache.read().problem)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | place.environ(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "up\n"
    place.promote(place.b)
    output, _ = process.communicate("\n", timeout=60)
    assert output.startswith("1 0 ")
    assert "File too large" in output


def test_reload_command_without_registry_succeeds(place):
    """A pin must be possible while the registry does not answer."""
    shutil.rmtree(place.url)
    done = subprocess.run(
        [sys.executable, "-m", "flask", "model", "reload"],
        cwd=ROOT,
        env=os.environ | place.environ(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("requested\n", "")


def test_start_of_a_command_keeps_the_recorded_state(place, settings, caplog):
    served = load_initial_service(settings).version
    cache = VersionCache(settings.cache, settings.reference)
    before = cache.read()
    assert load_initial_service(settings, may_poll=False).version == served
    assert (cache.read(), caplog.records) == (before, [])


def test_evict_unused_keeps_newest_and_used_copies(place, settings):
    cache = VersionCache(settings.cache, settings.reference)
    load_initial_service(settings)
    os.utime(settings.cache / place.a, (0, 0))
    for number in range(8):
        copy = settings.cache / f"20260101T00000{number}Z-0000000{number}"
        copy.mkdir()
        os.utime(copy, (100 + number, 100 + number))
    (settings.cache / ".20260101T000000Z-0000000a-broken").mkdir()
    os.utime(settings.cache / ".20260101T000000Z-0000000a-broken", (0, 0))
    cache.evict_unused()
    left = sorted(path.name for path in settings.cache.iterdir())
    assert place.a in left
    assert len(left) == 7
    assert not any("broken" in name for name in left)


def test_start_small_version_predicts_json(place, settings):
    status, answer = load_initial_service(settings).predict_json(BODIES[0])
    assert (status, json.loads(answer)["model_version"]) == (200, place.a)
