"""A service that follows an alias: exchanged under load, never wrong, never away."""

import os
import signal
import statistics
import subprocess
import sys
import time
import urllib.request

import msgspec
import pytest
from clients import workers
from conftest import GUNICORN, ROOT, running
from small_versions import renamed, save_version
from swapping import POLL, Versions, all_serve, clients, got, status, until

from slipway.models.manifest import GoldenRow, read_manifest
from slipway.registry import open_registry

# Two seconds after a poll all serve it, where nothing else runs; others may share the machine.
DUE, WITHIN = POLL + 2, POLL + 30


class Served:
    """A service with four workers, its registry and its versions, for all the tests here."""

    def __init__(self, folder):
        self.folder = folder
        self.versions = Versions()
        self.registry = open_registry(str(folder / "registry"))
        self.log = folder / "log"
        self.a, self.b = self.push(0.5), self.push(1.5)
        self.promote(self.a)

    def push(self, weight, **named):
        path = save_version(self.folder / f"{weight}", weight, **named)
        self.versions.add(path)
        return self.registry.push(path, who="a test")

    def promote(self, version):
        self.registry.move("production", version, who="a test")

    def settings(self, **more):
        return {
            "SLIPWAY_MODEL": str(self.folder / "registry"),
            "SLIPWAY_CACHE": str(self.folder / "cache"),
            "SLIPWAY_MODEL_POLL": f"{POLL}",
            **more,
        }

    def flask(self, *words):
        done = subprocess.run(
            [sys.executable, "-m", "flask", *words],
            cwd=ROOT,
            env=os.environ | self.settings(),
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    def reset(self):
        """Let all workers serve the first version, and all be well."""
        self.promote(self.a)
        until(lambda: all_serve(self.base, self.a) and status(self.base) == "ready", WITHIN)


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    made = Served(tmp_path_factory.mktemp("swap"))
    log = f"--error-logfile={made.log}"
    with running(*GUNICORN, "--workers=4", log, **made.settings()) as (base, process):
        made.base, made.process = base, process
        yield made


@pytest.fixture
def served(started):
    started.reset()
    return started


def test_promotion_under_load_reaches_all_workers_and_fails_nobody(served):
    took = []
    with clients(served.base) as told:
        until(lambda: len(told) > 100, WITHIN)
        for number in range(9):
            version = (served.b, served.a)[number % 2]
            served.promote(version)
            took.append(until(lambda v=version: all_serve(served.base, v), WITHIN))
            # Others may share the machine.
            if number >= 2 and min(took) < DUE:
                break
        before = len(told)
        until(lambda: len(told) > before + 100, WITHIN)
    served.versions.require_right(told)
    assert {each.version for each in told} == {served.a, served.b}
    assert min(took) < DUE, took
    until(lambda: status(served.base) == "ready", WITHIN)


def test_page_document_and_metadata_are_those_of_the_version_that_answers(served):
    served.promote(served.b)
    until(lambda: all_serve(served.base, served.b), WITHIN)
    for _ in range(8):
        assert got(served.base, "/metadata")["version"] == served.b
        assert served.b in got(served.base, "/apispec_1.json")["info"]["description"]


def test_version_that_is_no_sum_takes_over_from_a_scorecard_and_back(served):
    tree = served.push(0.25, tree=True)
    with clients(served.base) as told:
        served.promote(tree)
        # scikit-learn is loaded for it, four times at once: 7 s where nothing else runs.
        until(lambda: all_serve(served.base, tree), WITHIN + 30)
        assert got(served.base, "/metadata")["engine"] == "pickle"
        before = {worker.pid for worker in workers(served.process)}
        served.process.send_signal(signal.SIGHUP)
        until(lambda: not before & {w.pid for w in workers(served.process)}, WITHIN + 30)
        until(lambda: all_serve(served.base, tree), WITHIN + 30)
        served.promote(served.a)
        until(lambda: all_serve(served.base, served.a), WITHIN)
    served.versions.require_right(told)
    assert {each.version for each in told} == {served.a, tree}
    assert max(each.seconds for each in told) < 10


def test_rollback_is_one_command_and_reaches_all_workers(served):
    served.promote(served.b)
    until(lambda: all_serve(served.base, served.b), WITHIN)
    url = str(served.folder / "registry")
    with clients(served.base) as told:
        assert served.flask("model", "rollback", "--registry", url)[0] == 0
        until(lambda: all_serve(served.base, served.a), WITHIN)
    served.versions.require_right(told)


def test_first_answers_after_a_swap_are_as_fast_as_the_others(served):
    slowest = []
    for number in range(9):
        version = (served.b, served.a)[number % 2]
        with clients(served.base, 1) as told:
            served.promote(version)
            until(lambda v=version: any(each.version == v for each in told), WITHIN)
            until(lambda v=version: all_serve(served.base, v), WITHIN)
        median = statistics.median(each.seconds for each in told)
        first = next(each for each in told if each.version == version)
        slowest.append(first.seconds / median)
        # Other programs can only make a first answer seem slow, never fast.
        if sum(each < 3 for each in slowest) == 2:
            break
    assert sum(each < 3 for each in slowest) == 2, slowest


def weights_beyond_all_bounds(path):
    manifest = read_manifest(path)
    (total,) = manifest.scorecard.sums
    broken = msgspec.structs.replace(total, intercept=1e308)
    card = msgspec.structs.replace(manifest.scorecard, sums=(broken,))
    return renamed(path, scorecard=card)


def wrong_golden_rows(path):
    first, *others = read_manifest(path).golden
    wrong = GoldenRow(first.record, first.answer / 2)
    return renamed(path, golden=(wrong, *others))


def without_a_feature(path):
    return save_version(path.parent / "other", 0.75, drop="place")


@pytest.mark.parametrize("spoil", [weights_beyond_all_bounds, wrong_golden_rows, without_a_feature])
def test_bad_version_is_refused_and_the_old_one_keeps_serving(served, spoil):
    path = save_version(served.folder / spoil.__name__, 0.9)
    version = served.registry.push(spoil(path), who="a test")
    with clients(served.base) as told:
        served.promote(version)
        until(lambda: "is refused" in status(served.base), WITHIN)
        time.sleep(2 * POLL)
    served.versions.require_right(told)
    assert {each.version for each in told} == {served.a}
    assert status(served.base).startswith(f"degraded {version} is refused:")
    assert all_serve(served.base, served.a)
    # A worker tells of itself every half second.
    until(lambda: any(row["refused"] for row in got(served.base, "/version")["workers"]), WITHIN)
    with urllib.request.urlopen(f"{served.base}/metrics", timeout=20) as answer:
        assert f'slipway_degraded{{reason="{version} is refused:' in answer.read().decode()


def test_changed_bytes_are_refused_by_everyone(served):
    path = save_version(served.folder / "changed", 0.8)
    version = served.registry.push(path, who="a test")
    pushed = served.folder / "registry" / "versions" / version / "model.pkl"
    pushed.write_bytes(pushed.read_bytes()[:-1] + b"!")
    with clients(served.base) as told:
        served.promote(version)
        until(lambda: "was changed or truncated" in status(served.base), WITHIN)
    served.versions.require_right(told)
    assert str(served.folder) not in status(served.base)


def test_killed_worker_is_replaced_by_one_with_the_present_version(served):
    served.promote(served.b)
    until(lambda: all_serve(served.base, served.b), WITHIN)
    with clients(served.base) as told:
        first = workers(served.process)
        for pair in (first[:2], first[2:]):
            for worker in pair:
                worker.kill()
            # Within two seconds where nothing else runs.
            until(lambda: len(workers(served.process)) == 4, WITHIN)
            until(lambda: all_serve(served.base, served.b), WITHIN)
    served.versions.require_right(told, may_close=True)
    assert {each.version for each in told} <= {served.b, ""}
    # The one that asked the registry was among them; another does so now.
    served.promote(served.a)
    until(lambda: all_serve(served.base, served.a), WITHIN)


def test_hangup_keeps_the_present_version_though_the_master_has_an_older_one(served):
    served.promote(served.b)
    until(lambda: all_serve(served.base, served.b), WITHIN)
    before = {worker.pid for worker in workers(served.process)}
    with clients(served.base) as told:
        served.process.send_signal(signal.SIGHUP)
        until(lambda: not before & {w.pid for w in workers(served.process)}, WITHIN + 30)
    served.versions.require_right(told)
    assert {each.version for each in told} == {served.b}
    until(lambda: all_serve(served.base, served.b), WITHIN)


def test_pinned_version_stays_whatever_the_registry_says(served):
    assert "no copy" in served.flask("model", "pin", "20200101T000000Z-00000000")[1]
    served.promote(served.b)
    until(lambda: all_serve(served.base, served.b), WITHIN)
    (served.folder / "registry").rename(served.folder / "away")
    try:
        assert served.flask("model", "pin", served.a)[0] == 0
        until(lambda: all_serve(served.base, served.a), WITHIN)
        assert got(served.base, "/version")["pinned"] == served.a
        assert got(served.base, "/readyz")["pinned"] == served.a
    finally:
        (served.folder / "away").rename(served.folder / "registry")
    assert served.flask("model", "unpin") == (0, "unpinned\n")
    until(lambda: all_serve(served.base, served.b), WITHIN)


def test_registry_that_goes_away_degrades_and_recovers(served):
    (served.folder / "registry").rename(served.folder / "away")
    with clients(served.base) as told:
        until(lambda: status(served.base).startswith("degraded"), WITHIN)
        (served.folder / "away").rename(served.folder / "registry")
        until(lambda: status(served.base) == "ready", WITHIN)
    served.versions.require_right(told)


def test_without_polls_a_reload_or_a_hangup_takes_the_new_version(served):
    """A service of its own, which shares registry and cache with the other one."""
    cache = str(served.folder / "unpolled")
    settings = served.settings(SLIPWAY_MODEL_POLL="0", SLIPWAY_CACHE=cache)
    with running(*GUNICORN, "--workers=2", **settings) as (base, process):
        until(lambda: all_serve(base, served.a, 2), WITHIN)
        served.promote(served.b)
        until(lambda: all_serve(served.base, served.b), WITHIN)
        assert all_serve(base, served.a, 2)
        with clients(base) as told:
            command = [sys.executable, "-m", "flask", "model", "reload"]
            subprocess.run(command, cwd=ROOT, env=os.environ | settings, check=True)
            until(lambda: all_serve(base, served.b, 2), WITHIN)
            served.promote(served.a)
            process.send_signal(signal.SIGHUP)
            until(lambda: all_serve(base, served.a, 2), WITHIN)
        served.versions.require_right(told)


def test_exchanged_versions_leave_the_memory(served):
    def memory():
        return sum(worker.memory_info().rss for worker in workers(served.process))

    sizes = []
    for number in range(8):
        version = (served.b, served.a)[number % 2]
        served.promote(version)
        until(lambda v=version: all_serve(served.base, v), WITHIN)
        sizes.append(memory())
    assert sizes[-1] < sizes[3] + 4 * 2**20
