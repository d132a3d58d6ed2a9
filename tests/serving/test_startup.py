"""What a start serves: the version that is meant, the last good one, or nothing, in one line."""

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
from small_versions import BODIES, renamed, save_version
from swapping import all_serve, got, until

from slipway.core.errors import ModelError
from slipway.core.settings import Reference, Settings, read_reference
from slipway.models.manifest import read_manifest
from slipway.registry import open_registry
from slipway.serving.rollout.alias_follower import RegistryPoller
from slipway.serving.rollout.startup import first_live
from slipway.serving.rollout.version_cache import AliasState, VersionCache

VERSION = "20260101T120000Z-1a2b3c4d"


@pytest.mark.parametrize(
    ("text", "meant"),
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
def test_reference_is_read_from_what_was_set(tmp_path, text, meant):
    (tmp_path / "holds").mkdir()
    (tmp_path / "holds" / "model.pkl").touch()
    read = read_reference(tmp_path, text)
    if isinstance(meant, str):
        assert str(read) == meant.format(root=tmp_path)
    else:
        assert read == Reference(*(part.format(root=tmp_path) for part in meant))


@pytest.mark.parametrize(
    ("name", "value"), [("SLIPWAY_MODEL_POLL", "-1"), ("SLIPWAY_MODEL_POLL", "nan")]
)
def test_settings_that_cannot_be_used_name_their_variable(name, value):
    with pytest.raises(ValueError, match=name):
        Settings.from_environ(ROOT, {name: value})


def test_settings_shadow_must_be_in_a_registry():
    with pytest.raises(ValueError, match="SLIPWAY_SHADOW"):
        Settings.from_environ(ROOT, {"SLIPWAY_SHADOW": "other.pkl"})


class Place:
    """A registry with two versions, of which the first is production, and a cache."""

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

    def environ(self, **more):
        return {"SLIPWAY_MODEL": self.url, "SLIPWAY_CACHE": str(self.cache), **KEY, **more}

    @property
    def cache(self):
        return self.folder / "cache"


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    return Place(tmp_path_factory.mktemp("template"))


@pytest.fixture
def place(template, tmp_path):
    """A copy of a registry with its versions, because fitting takes longer than copying."""
    made = object.__new__(Place)
    made.__dict__.update(template.__dict__, folder=tmp_path, url=str(tmp_path / "registry"))
    shutil.copytree(template.url, made.url)
    made.registry = open_registry(made.url, KEY)
    return made


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
    return renamed(path, libraries=libraries)


def wrong_library(place):
    place.promote(place.push(0.6, older, tree=True))
    return {}, "made by scikit-learn 0.24.2"


BROKEN = [missing, corrupt, truncated, unsigned, wrong_key, wrong_library]


@pytest.mark.parametrize("breaks", BROKEN)
def test_broken_first_start_ends_in_one_line_with_a_status(place, breaks):
    more, reason = breaks(place)
    words = [word.format(port=free_port()) for word in GUNICORN]
    began = time.monotonic()
    done = subprocess.run(
        [*words, "--workers=4"],
        cwd=ROOT,
        env=os.environ | place.environ(**more),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    # Within 20 s where nothing else runs.
    assert time.monotonic() - began < 45
    assert done.returncode != 0
    (line,) = [line for line in done.stderr.splitlines() if line]
    assert line.startswith("slipway cannot serve: ")
    assert reason in line


@pytest.mark.parametrize("breaks", BROKEN)
def test_broken_start_with_a_last_good_version_serves_it_degraded(place, breaks):
    settings = Settings.from_environ(ROOT, place.environ())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(*next(iter(KEY.items())))
        assert first_live(settings).version == place.a
    more, reason = breaks(place)
    with running(*GUNICORN, "--workers=2", **place.environ(**more)) as (base, _):
        ready = got(base, "/readyz")
        assert (ready["status"], got(base, "/version")["model_version"]) == ("degraded", place.a)
        assert reason in ready["reason"]
        assert str(place.folder) not in ready["reason"]
        # Gunicorn loses a signal to end that comes while it still starts its workers.
        until(lambda: all_serve(base, place.a, 2), 60)


@pytest.fixture
def settings(place, monkeypatch):
    monkeypatch.setenv(*next(iter(KEY.items())))
    return Settings.from_environ(ROOT, place.environ())


def test_fixed_version_needs_no_registry_once_it_is_in_the_cache(place, settings):
    fixed = Reference(place.url, place.b)
    settings = Settings(settings.model, reference=fixed, cache=settings.cache)
    assert first_live(settings).version == place.b
    shutil.rmtree(place.url)
    assert first_live(settings).version == place.b


def test_changed_copy_is_fetched_anew(place, settings):
    copy = first_live(settings).path
    copy.write_bytes(b"something else")
    assert first_live(settings).version == place.a
    assert copy.read_bytes() != b"something else"


def test_changed_copy_of_the_last_good_version_is_not_served(place, settings):
    first_live(settings).path.write_bytes(b"something else")
    shutil.rmtree(place.url)
    with pytest.raises(ModelError, match="nor can the last good version serve"):
        first_live(settings)


def test_refused_version_is_looked_at_once_and_logged_once(place, settings, caplog):
    first_live(settings)
    cache = VersionCache(settings.cache, settings.reference)
    leader = RegistryPoller(replace(settings, poll=0.001), settings.reference)
    place.promote(place.push(0.7, older, tree=True))
    for _ in range(3):
        leader.turn()
        time.sleep(0.01)
    assert leader.refused == 1
    assert len(caplog.records) == 1
    assert cache.read().version == place.a
    assert "is refused" in cache.read().problem
    place.promote(place.b)
    leader.turn()
    assert cache.read() == AliasState(place.b, "", 0, 3)


def test_entries_that_were_deleted_bring_no_earlier_version_back(place, settings):
    place.promote(place.b)
    assert first_live(settings).version == place.b
    last = max(Path(place.url).glob("aliases/production/*.json"))
    last.unlink()
    leader = RegistryPoller(replace(settings, poll=0.001), settings.reference)
    leader.turn()
    standing = VersionCache(settings.cache, settings.reference).read()
    assert (standing.version, standing.number) == (place.b, int(last.stem))
    assert "entries were deleted" in standing.problem
    assert first_live(settings).version == place.b
    # Another machine, which never saw them, cannot know.
    assert first_live(replace(settings, cache=settings.cache / "new")).version == place.a


def test_full_disk_keeps_what_serves(place, settings):
    """A limit on the size of files, which is how a full disk looks to a process."""
    first_live(settings)
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "from pathlib import Path; from slipway.core.settings import Settings;"
        "from slipway.serving.rollout.alias_follower import RegistryPoller, AliasFollower;"
        "from slipway.serving.rollout.startup import first_live;"
        "s = Settings.from_environ(Path('.')); live = first_live(s);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (512, 512));"
        "leader = Leader(s, s.reference); taken = [];"
        "follower = Follower(s, s.reference, live, taken.append);"
        "print('up', flush=True); input(); leader.turn(); follower.turn();"
        "print(leader.polls_failed, len(taken), follower.cache.read().problem)"
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
    told, _ = process.communicate("\n", timeout=60)
    assert told.startswith("1 0 ")
    assert "File too large" in told


def test_command_on_a_registry_does_not_ask_it(place):
    """So that a pin can be set while the registry does not answer."""
    shutil.rmtree(place.url)
    done = subprocess.run(
        [sys.executable, "-m", "flask", "model", "reload"],
        cwd=ROOT,
        env=os.environ | place.environ(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("asked\n", "")


def test_command_beside_a_service_leaves_what_is_known_of_it(place, settings, caplog):
    served = first_live(settings).version
    cache = VersionCache(settings.cache, settings.reference)
    before = cache.read()
    assert first_live(settings, may_ask=False).version == served
    assert (cache.read(), caplog.records) == (before, [])


def test_cache_keeps_few_copies_and_never_one_in_use(place, settings):
    cache = VersionCache(settings.cache, settings.reference)
    first_live(settings)
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


def test_answer_of_a_small_version_is_json(place, settings):
    status, answer = first_live(settings).predict_json(BODIES[0])
    assert (status, json.loads(answer)["model_version"]) == (200, place.a)
