"""Many at once at one registry: one wins each step, and nobody sees a half of anything."""

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


def at_once(count, call):
    """Call a function in many threads at one moment; give what each gave or raised."""
    barrier = threading.Barrier(count)

    def called(number):
        barrier.wait()
        try:
            return call(number)
        except RegistryError as error:
            return error

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(called, range(count)))


def test_of_many_promoters_exactly_one_wins_each_step(address, tmp_path):
    versions = push_some(open_registry(address, {}), tmp_path, MANY)
    for step in range(1, 6):
        before = open_registry(address, {}).alias("production")
        expected = before.version if before else None

        def promote(number, step=step, expected=expected):
            version = versions[(number + step) % MANY]
            if version == expected:
                return Conflict("it is there")
            registry = open_registry(address, {})
            return registry.move("production", version, who=f"{number}", expected=expected)

        told = at_once(MANY, promote)
        won = [each for each in told if not isinstance(each, Conflict)]
        assert [move.number for move in won] == [step], told
        lost = [each.message for each in told if isinstance(each, Conflict)]
        assert any(won[0].version in message for message in lost)
    history = open_registry(address, {}).history("production")
    assert [move.number for move in history] == [1, 2, 3, 4, 5]


def test_of_many_processes_that_promote_exactly_one_wins(address, tmp_path):
    versions = push_some(open_registry(address, {}), tmp_path, MANY)
    spawn = multiprocessing.get_context("spawn")
    barrier, told = spawn.Barrier(MANY), spawn.Queue()
    processes = [
        spawn.Process(target=move_once, args=(address, f"p{i}", versions[i], barrier, told))
        for i in range(MANY)
    ]
    for process in processes:
        process.start()
    answers = [told.get(timeout=120) for _ in processes]
    for process in processes:
        process.join(30)
    won = [who for who, told in answers if told == 1]
    (move,) = open_registry(address, {}).history("production")
    assert won == [move.who]
    lost = [message for _, message in answers if message != 1]
    assert all(re.search(rf"production (is|moved .* to) {move.version}", each) for each in lost)


def test_lost_race_says_who_moved_it_meanwhile_and_where_to(address, tmp_path, monkeypatch):
    one, two, three = push_some(open_registry(address, {}), tmp_path, 3)
    mine, theirs = open_registry(address, {}), open_registry(address, {})
    mine.move("production", one, who="me")
    append = mine._append

    def moved_meanwhile(move):
        theirs.move("production", two, who="them")
        append(move)

    monkeypatch.setattr(mine, "_append", moved_meanwhile)
    told = f"production moved meanwhile, from {one} to {two} by them"
    with pytest.raises(Conflict, match=told):
        mine.move("production", three, who="me")
    assert mine.resolve("@production") == two


def test_many_pushers_of_one_version_push_it_once(address, tmp_path):
    path = write_version(tmp_path, 1)
    told = at_once(MANY, lambda i: open_registry(address, {}).push(path, who=f"{i}"))
    assert told == [version_name(1)] * MANY
    assert len(objects_of(address)) == 3
    assert open_registry(address, {}).fetch(version_name(1), tmp_path / "here").exists()


def test_pushers_of_other_bytes_under_one_name_leave_one_whole_version(address, tmp_path):
    paths = [write_version(tmp_path / str(i), 1, content=b"%d" % i) for i in range(MANY)]
    told = at_once(MANY, lambda i: open_registry(address, {}).push(paths[i], who=f"{i}"))
    assert Counter(map(type, told))[str] <= 1
    for version in {each for each in told if isinstance(each, str)}:
        content = open_registry(address, {}).fetch(version, tmp_path / "here").read_bytes()
        assert content in [b"%d" % i for i in range(MANY)]


def test_many_fetchers_of_one_version_do_not_harm_one_another(address, tmp_path):
    (version,) = push_some(open_registry(address, {}), tmp_path, 1)
    due = (tmp_path / "1" / "model.pkl").read_bytes()

    def fetched(_):
        return open_registry(address, {}).fetch(version, tmp_path / "here").read_bytes()

    assert at_once(MANY, fetched) == [due] * MANY
    assert [path.name for path in (tmp_path / "here").iterdir()] == [version]


def test_prune_and_promoters_at_once_leave_every_alias_with_a_whole_version(address, tmp_path):
    versions = push_some(open_registry(address, {}), tmp_path, 6)

    def act(number):
        registry = open_registry(address, {})
        if number % 2:
            return registry.prune(1)
        try:
            return registry.move(f"alias{number}", versions[number // 2], who="me")
        except (Unknown, RegistryError) as error:
            return error

    told = at_once(MANY, act)
    registry = open_registry(address, {})
    removed = [
        each for each in told if isinstance(each, RegistryError) and "pruned" in each.message
    ]
    for alias, version in registry.aliases().items():
        whole = registry.find(version)
        assert whole or removed, alias
        if whole:
            registry.fetch(version, tmp_path / alias)


PUSH_SLOWLY = """
import sys
from pathlib import Path
from slipway.registry import open_registry
registry = open_registry(sys.argv[1], {})
put_new, left = registry._objects.put_new, int(sys.argv[3])
def put(path, content):
    global left
    if left == 0:
        print("ready", flush=True)
        sys.stdin.read()
    left -= 1
    return put_new(path, content)
registry._objects.put_new = put
registry.push(Path(sys.argv[2]), who="me")
"""


@pytest.mark.parametrize("objects", [0, 1, 2])
def test_killed_pusher_leaves_nothing_visible_and_can_push_again(address, tmp_path, objects):
    """It is killed after so many objects; there are three, and the last says that it is there."""
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


def test_killed_fetcher_leaves_no_version_and_is_no_harm_to_the_next(tmp_path):
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


def test_bucket_that_was_asked_before_a_fork_is_refused_after_it(bucket):
    """The library's threads do not outlive a fork: it would wait for ever."""
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
