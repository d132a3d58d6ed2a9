"""Concurrent use of a registry: one process wins, and no partial state is visible."""

import multiprocessing
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import ROOT
from registries import move_once, objects_of, push_some, version_name, write_version

from slipway.registry import Conflict, RegistryError, Unknown, open_registry

pytest_plugins = ["registry_servers"]
MANY = 8


def call_concurrently(count, call):
    """Call a function in many threads at once; return the results and exceptions."""
    barrier = threading.Barrier(count)

    def call_at_barrier(number):
        barrier.wait()
        try:
            return call(number)
        except RegistryError as error:
            return error

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(call_at_barrier, range(count)))


def test_move_concurrent_threads_one_wins_each_step(address, tmp_path):
    versions = push_some(open_registry(address, {}), tmp_path, MANY)
    for step in range(1, 6):
        before = open_registry(address, {}).alias("production")
        expected = before.version if before else None

        def promote(number, step=step, expected=expected):
            version = versions[(number + step) % MANY]
            if version == expected:
                return Conflict("already there")
            registry = open_registry(address, {})
            return registry.move("production", version, who=f"{number}", expected=expected)

        results = call_concurrently(MANY, promote)
        won = [result for result in results if not isinstance(result, Conflict)]
        assert [move.number for move in won] == [step], results
        lost = [result.message for result in results if isinstance(result, Conflict)]
        assert any(won[0].version in message for message in lost)
    history = open_registry(address, {}).history("production")
    assert [move.number for move in history] == [1, 2, 3, 4, 5]


def test_move_concurrent_processes_one_wins(address, tmp_path):
    versions = push_some(open_registry(address, {}), tmp_path, MANY)
    spawn = multiprocessing.get_context("spawn")
    barrier, results = spawn.Barrier(MANY), spawn.Queue()
    processes = [
        spawn.Process(target=move_once, args=(address, f"p{i}", versions[i], barrier, results))
        for i in range(MANY)
    ]
    for process in processes:
        process.start()
    outcomes = [results.get(timeout=120) for _ in processes]
    for process in processes:
        process.join(30)
    won = [who for who, outcome in outcomes if outcome == 1]
    (move,) = open_registry(address, {}).history("production")
    assert won == [move.who]
    lost = [message for _, message in outcomes if message != 1]
    assert all(
        re.search(rf"production (has|moved .* to) {move.version}", message) for message in lost
    )


def test_move_lost_race_raises_conflict_naming_winner(address, tmp_path, monkeypatch):
    one, two, three = push_some(open_registry(address, {}), tmp_path, 3)
    mine, theirs = open_registry(address, {}), open_registry(address, {})
    mine.move("production", one, who="me")
    append = mine._append

    def moved_meanwhile(move):
        theirs.move("production", two, who="them")
        append(move)

    monkeypatch.setattr(mine, "_append", moved_meanwhile)
    message = f"production moved meanwhile from {one} to {two} by them"
    with pytest.raises(Conflict, match=message):
        mine.move("production", three, who="me")
    assert mine.resolve("@production") == two


def test_push_concurrent_same_version_is_stored_once(address, tmp_path):
    path = write_version(tmp_path, 1)
    results = call_concurrently(MANY, lambda i: open_registry(address, {}).push(path, who=f"{i}"))
    assert results == [version_name(1)] * MANY
    assert len(objects_of(address)) == 3
    assert open_registry(address, {}).fetch(version_name(1), tmp_path / "here").exists()


def test_push_concurrent_other_files_leave_one_complete_version(address, tmp_path):
    paths = [write_version(tmp_path / str(i), 1, content=b"%d" % i) for i in range(MANY)]
    results = call_concurrently(
        MANY, lambda i: open_registry(address, {}).push(paths[i], who=f"{i}")
    )
    assert Counter(map(type, results))[str] <= 1
    for version in {result for result in results if isinstance(result, str)}:
        content = open_registry(address, {}).fetch(version, tmp_path / "here").read_bytes()
        assert content in [b"%d" % i for i in range(MANY)]


def test_fetch_concurrent_same_version_returns_same_file(address, tmp_path):
    (version,) = push_some(open_registry(address, {}), tmp_path, 1)
    expected = (tmp_path / "1" / "model.pkl").read_bytes()

    def fetch(_):
        return open_registry(address, {}).fetch(version, tmp_path / "here").read_bytes()

    assert call_concurrently(MANY, fetch) == [expected] * MANY
    assert [path.name for path in (tmp_path / "here").iterdir()] == [version]


def test_prune_concurrent_moves_leave_aliases_with_complete_versions(address, tmp_path):
    versions = push_some(open_registry(address, {}), tmp_path, 6)

    def act(number):
        registry = open_registry(address, {})
        if number % 2:
            return registry.prune(1)
        try:
            return registry.move(f"alias{number}", versions[number // 2], who="me")
        except (Unknown, RegistryError) as error:
            return error

    results = call_concurrently(MANY, act)
    registry = open_registry(address, {})
    removed = [
        result
        for result in results
        if isinstance(result, RegistryError) and "pruned" in result.message
    ]
    for alias, version in registry.aliases().items():
        stored = registry.find(version)
        assert stored or removed, alias
        if stored:
            registry.fetch(version, tmp_path / alias)


PUSH_SLOWLY = """
import sys
from pathlib import Path
from slipway.registry import open_registry
registry = open_registry(sys.argv[1], {})
put_if_absent, left = registry._store.put_if_absent, int(sys.argv[3])
def put(path, content):
    global left
    if left == 0:
        print("ready", flush=True)
        sys.stdin.read()
    left -= 1
    return put_if_absent(path, content)
registry._store.put_if_absent = put
registry.push(Path(sys.argv[2]), who="me")
"""


@pytest.mark.parametrize("objects", [0, 1, 2])
def test_push_killed_leaves_no_version_and_can_be_repeated(address, tmp_path, objects):
    """Kill a push after some of its three objects; the last one is version.json."""
    path = write_version(tmp_path, 1)
    command = (sys.executable, "-c", PUSH_SLOWLY, address, str(path), str(objects))
    process = subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ
    )
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)
    registry = open_registry(address, {})
    assert registry.versions() == []
    assert len(objects_of(address)) == objects
    assert registry.push(path, who="me") == version_name(1)
    assert registry.fetch(version_name(1), tmp_path / "here").exists()


FETCH = """
import sys
from pathlib import Path
from slipway.registry import open_registry
open_registry(sys.argv[1], {}).fetch(sys.argv[2], Path(sys.argv[3]))
"""


def test_fetch_killed_leaves_no_version_and_can_be_repeated(tmp_path):
    address = str(tmp_path / "registry")
    registry = open_registry(address, {})
    path = write_version(tmp_path, 1, content=os.urandom(30_000_000))
    registry.push(path, who="me")
    command = (sys.executable, "-c", FETCH, address, version_name(1), str(tmp_path / "here"))
    process = subprocess.Popen(command, cwd=ROOT)
    while not list((tmp_path / "here").glob(".*/model.pkl")) and process.poll() is None:
        time.sleep(0.001)
    process.kill()
    process.wait(30)
    fetched = registry.fetch(version_name(1), tmp_path / "here")
    assert fetched.read_bytes() == path.read_bytes()


def test_bucket_used_before_fork_raises_error_after_it(bucket):
    """The threads of obstore do not survive a fork; a request would hang."""
    registry = open_registry(bucket, {})
    assert registry.versions() == []
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        try:
            open_registry(bucket, {}).versions()
        except RegistryError as error:
            os.write(writing, error.message.encode())
        finally:
            os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    assert b"before this process was forked" in os.read(reading, 1000)
