"""Hostile pickles run no code, and allocate no more than their size allows."""

import os
import pickle
import resource
import subprocess
import sys
import time
from importlib import import_module, invalidate_caches

import numpy as np
import pickle_fuzzer
import pytest
from canaries import watch
from conftest import ROOT
from misused_pickles import MISUSES, misuse
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import RandomForestClassifier
from sklearn.neighbors import KNeighborsClassifier

from slipway.models.unpickling.pickles import PickleRejected, load_pickle
from slipway.models.unpickling.survey import list_names

# `SLIPWAY_FUZZ_PICKLES=100000 pytest tests/models/test_pickles_hostile.py` tries more.
COUNT = int(os.environ.get("SLIPWAY_FUZZ_PICKLES", "10000"))
P = pickle
PROTOCOL = P.PROTO + b"\4"


@pytest.fixture(scope="module", autouse=True)
def imported():
    """Import every allowed module, so that the canary reports only other imports."""
    pickle_fuzzer.names()


@pytest.mark.parametrize("name", MISUSES)
def test_misused_names_are_rejected_and_run_nothing(tmp_path, name):
    canary = tmp_path / "canary"
    content = misuse(name, canary)
    with watch() as events, pytest.raises(PickleRejected):
        load_pickle(content, {})
    assert events == []
    assert not canary.exists()


def test_generated_pickles_run_nothing():
    opened, faults = pickle_fuzzer.run(COUNT, seed=0)
    assert faults == []
    assert opened > COUNT / 10


def test_canary_ignores_module_search_and_reports_import(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    with watch() as events, pytest.raises(ModuleNotFoundError):
        import_module("slipway_canary")
    assert events == []
    (tmp_path / "slipway_canary.py").touch()
    invalidate_caches()
    with watch() as events:
        import_module("slipway_canary")
    assert any(event.startswith("open") for event in events)


def test_list_names_hostile_pickle_runs_nothing(tmp_path):
    before = pickle_fuzzer.text("os") + pickle_fuzzer.text("system") + P.STACK_GLOBAL
    content = PROTOCOL + before + misuse("generator", tmp_path / "canary")[2:]
    with watch() as events, pytest.raises(PickleRejected) as rejected:
        load_pickle(content, {})
    assert events == []
    assert "os.system" in rejected.value.message


def test_list_names_memoized_names_are_found():
    content = pickle.dumps([DummyClassifier, np.mean, DummyClassifier, os.getcwd])
    assert ("posix", "getcwd") in list_names(content)
    assert ("sklearn.dummy", "DummyClassifier") in list_names(content)


AMPLIFIED = {
    "bytearray": P.BYTEARRAY8 + (2**31).to_bytes(8, "little"),
    "range": pickle_fuzzer.text("builtins")
    + pickle_fuzzer.text("range")
    + P.STACK_GLOBAL
    + b"K\0\x8a\x08\0\0\0\0\0\1\0\0K\1\x87R",
}


@pytest.mark.parametrize("name", AMPLIFIED)
def test_excessive_allocation_is_rejected(name):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(PickleRejected):
        load_pickle(PROTOCOL + AMPLIFIED[name] + P.STOP, {})
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < before + 2**16


def many_arrays(count):
    """Return arrays that share one list; each of them needs only two bytes in the pickle."""
    shared = [None] * 100_000
    return [Shared(shared) for _ in range(count)]


class Shared:
    """Pickles as an array whose content is a shared list."""

    def __init__(self, content):
        self.content = content

    def __reduce__(self):
        state = (1, (len(self.content),), np.dtype(object), False, self.content)
        function, args, _ = np.array([None], dtype=object).__reduce__()
        return (function, args, state)


def test_arrays_sharing_content_beyond_the_limit_are_rejected():
    assert len(load_pickle(pickle.dumps(many_arrays(3)), {})) == 3
    with pytest.raises(PickleRejected, match="far more memory"):
        load_pickle(pickle.dumps(many_arrays(1000)), {})


def test_keys_exponential_hash_time_is_rejected():
    content = PROTOCOL + b"}K\1" + (P.DUP + P.TUPLE2) * 60 + b"Ns."
    started = time.process_time()
    with pytest.raises(PickleRejected, match="dictionary key"):
        load_pickle(content, {})
    assert time.process_time() - started < 1


@pytest.mark.parametrize("deep", [b"N" + P.TUPLE1 * 200_000, b"]" * 200_000 + b"a" * 199_999])
def test_deep_nesting_does_not_crash(deep):
    code = (
        "import sys; from slipway.models.unpickling.pickles import load_pickle; "
        "load_pickle(sys.stdin.buffer.read(), {})"
    )
    process = subprocess.run(
        [sys.executable, "-c", code], input=PROTOCOL + deep + b".", cwd=ROOT, check=False
    )
    assert process.returncode in (0, 1)


def test_tree_indices_out_of_range_are_rejected():
    forest = RandomForestClassifier(1, random_state=0).fit(np.eye(4), [0, 1, 0, 1])
    state = forest.estimators_[0].tree_.__getstate__()
    for field, value in (("left_child", 10**6), ("right_child", 0), ("feature", 99)):
        nodes = state["nodes"].copy()
        nodes[field][0] = value
        content = pickle.dumps(Tree(forest.estimators_[0].tree_, state | {"nodes": nodes}))
        with pytest.raises(PickleRejected, match="indices out of range"):
            load_pickle(content, {})


class Tree:
    """Pickles as a tree with another state."""

    def __init__(self, tree, state):
        self.parts = (*tree.__reduce__()[:2], state)

    def __reduce__(self):
        return self.parts


def test_neighbours_tree_indices_out_of_range_are_rejected():
    tree = KNeighborsClassifier(algorithm="kd_tree").fit(np.eye(4), [0, 1, 0, 1])._tree
    state = list(tree.__getstate__())
    assert load_pickle(pickle.dumps(Tree(tree, tuple(state))), {}).get_n_calls() == 0
    state[1] = np.array([0, 1, 2, 10**9])
    with pytest.raises(PickleRejected, match="indices out of range"):
        load_pickle(pickle.dumps(Tree(tree, tuple(state))), {})


def test_array_interface_attribute_is_rejected():
    estimator = DummyClassifier()
    vars(estimator)["__array_interface__"] = {
        "data": (4096, False),
        "shape": (9,),
        "typestr": "<f8",
    }
    with pytest.raises(PickleRejected, match="special method"):
        load_pickle(pickle.dumps(estimator), {})
