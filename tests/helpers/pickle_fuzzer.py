"""Generate pickles from the allowlist and check that none of them has a side effect.

Run ``PYTHONPATH=. python tests/helpers/pickle_fuzzer.py 100000 [SEED]`` to try 100,000 pickles.
"""

from __future__ import annotations

import codecs
import contextlib
import pickle
import pickletools
import random
import struct
import sys
import warnings
from collections.abc import Callable
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytz
import sklearn
from canaries import watch
from misused_pickles import method_caller, writing_scorer
from sklearn.dummy import DummyClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import make_scorer
from sklearn.utils import all_estimators

from slipway.core.errors import ModelError
from slipway.models.unpickling.allowlist import EXACT, permission_of
from slipway.models.unpickling.pickles import load_pickle
from slipway.models.unpickling.plain import split_words

P = pickle
DEPTH = 6
_UNLISTED = [
    *(("os", "system"), ("builtins", "eval"), ("builtins", "open"), ("subprocess", "Popen")),
    *(("joblib.memory", "Memory"), ("scipy.stats._continuous_distns", "uniform_gen")),
    *(("sklearn.utils", "os"), ("operator", "methodcaller"), ("pandas.core.frame", "eval")),
]
_FILE = Path("/tmp/slipway-fuzz-canary")
_METHODS = sorted(
    split_words("predict transform eval query to_csv to_pickle pipe apply __reduce__ tofile score")
)
_ATTRIBUTES = sorted(
    split_words(
        "steps estimator estimator_ estimators_ stack_method_ func inverse_func kw_args kernel "
        "metric importance_getter response_method _response_method _score_func scoring input "
        "analyzer tokenizer preprocessor stop_words memory transformers_ transformer_list classes_ "
        "coef_ intercept_ n_features_in_ feature_names_in_ predict transform __array__ "
        "__array_interface__ __array_struct__ __class__ __dict__ __setstate__ __reduce__ handle "
        "_handle _mgr _data data mean shape dtype _ndarray tree_ link _loss loss_ base_loss "
        "final_estimator_ _sklearn_version X_thresholds_ y_thresholds_ nodes best_estimator_ "
        "named_estimators_ calibrated_classifiers_"
    )
)
_TEXTS = ["", "a", "f8", "O8", "V8", "<", "C", "latin1", "1.9.1", str(_FILE)]
_SAMPLES = [
    np.eye(2),
    np.array(["a", None], dtype=object),
    np.float64(1),
    np.dtype("f8"),
    np.random.default_rng(0),
    DummyClassifier().fit([[1.0], [2.0]], [0, 1]),
]
# Objects that write a file or run code when something calls them or looks up a method.
_SAMPLES += [
    writing_scorer(_FILE),
    method_caller("to_csv"),
    method_caller("eval"),
    FrozenEstimator(pd.DataFrame({"a": [1]})),
]
_SAMPLES += [make_scorer(np.mean), DummyClassifier(), pd.DataFrame({"a": [1.0]})]

# Protocol 3 has no frames and numbers its memo, so that parts can be moved.
_DUMPS = [pickletools.optimize(pickle.dumps(sample, 3))[2:-1] for sample in _SAMPLES]
# Functions that once called their arguments.
_CALLERS = [
    *(("numpy.random._pickle", name) for name in ("__generator_ctor", "__randomstate_ctor")),
    *(
        ("numpy", name)
        for name in sorted(split_words("mean std max clip reshape exp sqrt asarray"))
    ),
    ("pandas.core.indexes.datetimes", "_new_DatetimeIndex"),
    ("pandas.core.indexes.interval", "_new_IntervalIndex"),
    ("sklearn.metrics._classification", "accuracy_score"),
]


@cache
def names() -> list[tuple[str, str]]:
    """Import and return every name of the allowlist, and some others."""
    listed = list(EXACT)
    for name, kind in all_estimators():
        listed.append((kind.__module__, name))
    for module in ("numpy", "scipy.special", "sklearn.metrics._classification"):
        imported = import_module(module)
        listed += [(module, name) for name in dir(imported) if _is_allowed(module, name, imported)]
    for part in ("arrays", "compiled", "frames", "generators"):
        import_module(f"slipway.models.unpickling.{part}")
    listed = [(module, name) for module, name in listed if _is_importable(module)]
    pytz.timezone("Europe/Paris")
    codecs.lookup("raw_unicode_escape")
    return sorted(set(listed)) + _UNLISTED


def _is_importable(module: str) -> bool:
    """Return whether a module is installed; a failed import would raise audit events later."""
    try:
        import_module(module)
    except ImportError:
        return False
    return True


def _is_allowed(module: str, name: str, imported: Any) -> bool:
    return permission_of(module, name, getattr(imported, name)) is not None


class Grammar:
    """Random programs of pickle instructions, most of which occur in models."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.puts = 0

    def program(self) -> bytes:
        """Return a pickle; three in ten have their instructions shuffled."""
        self.puts = 0
        # Deep programs mostly fail early, so shallow ones reach more instructions.
        depth = self.random.randint(1, DEPTH)
        parts = [self.value(depth) for _ in range(self.random.randint(1, 2))]
        if self.random.random() < 0.3:
            pieces = [piece for part in parts for piece in self._cut(part)]
            self.random.shuffle(pieces)
            parts = pieces
        return P.PROTO + b"\x05" + b"".join(parts) + P.STOP

    def _cut(self, part: bytes) -> list[bytes]:
        cuts = sorted(self.random.randint(0, len(part)) for _ in range(3))
        return [part[a:b] for a, b in zip([0, *cuts], [*cuts, len(part)], strict=True)]

    def value(self, depth: int) -> bytes:
        """Return instructions that push one value."""
        makers: list[Callable[[int], bytes]] = [self.atom, self.name, self.memo_value]
        if depth > 0:
            makers += [self.sequence, self.mapping, self.sample]
            makers += [self.call, self.call, self.new_object, self.new_object, self.set_state]
        pushed = self.random.choice(makers)(depth - 1)
        if self.random.random() < 0.2:
            pushed += P.MEMOIZE
            self.puts += 1
        return pushed

    def atom(self, depth: int) -> bytes:
        pick = self.random.choice
        return pick(
            [
                P.NONE,
                P.NEWTRUE,
                P.EMPTY_TUPLE,
                P.EMPTY_DICT,
                P.BININT1 + bytes([self.random.randrange(256)]),
                P.BINFLOAT + struct.pack(">d", self.random.gauss(0, 9)),
                P.SHORT_BINBYTES + b"\x08" + self.random.randbytes(8),
                P.LONG1 + b"\x08" + self.random.randbytes(8),
                text(pick(_TEXTS + _ATTRIBUTES + _METHODS)),
            ]
        )

    def name(self, depth: int) -> bytes:
        module, name = self.random.choice(names())
        return text(module) + text(name) + P.STACK_GLOBAL

    def memo_value(self, depth: int) -> bytes:
        if not self.puts:
            return P.NONE
        return P.BINGET + bytes([self.random.randrange(min(self.puts, 256))])

    def sample(self, depth: int) -> bytes:
        """Push a real object, so that calls get arrays and estimators as arguments."""
        return self.random.choice(_DUMPS)

    def sequence(self, depth: int) -> bytes:
        values = b"".join(self.value(depth) for _ in range(self.random.randint(0, 3)))
        return self.random.choice(
            [
                P.MARK + values + P.TUPLE,
                P.EMPTY_LIST + P.MARK + values + P.APPENDS,
                P.EMPTY_SET + P.MARK + values + P.ADDITEMS,
                P.MARK + values + P.FROZENSET,
            ]
        )

    def mapping(self, depth: int) -> bytes:
        items = b""
        for _ in range(self.random.randint(0, 4)):
            items += text(self.random.choice(_ATTRIBUTES)) + self.value(depth)
        return P.EMPTY_DICT + P.MARK + items + P.SETITEMS

    def arguments(self, depth: int) -> bytes:
        if self.random.random() < 0.3:
            return P.MARK + text(str(_FILE)) + self.sample(depth) + P.TUPLE
        values = b"".join(self.value(depth) for _ in range(self.random.randint(0, 4)))
        return P.MARK + values + P.TUPLE

    def call(self, depth: int) -> bytes:
        module, name = self.random.choice(_CALLERS)
        callers = [
            lambda: self.name(depth),
            lambda: self.value(depth),
            lambda: text(module) + text(name) + P.STACK_GLOBAL,
        ]
        what = self.random.choices(callers, [6, 1, 3])[0]()
        return what + self.arguments(depth) + P.REDUCE

    def new_object(self, depth: int) -> bytes:
        """Create an object of a class, mostly an empty one, and set its attributes."""
        args = P.EMPTY_TUPLE if self.random.random() < 0.8 else self.arguments(depth)
        new_object = self.name(depth) + args + P.NEWOBJ
        if self.random.random() < 0.7:
            new_object += self.mapping(depth) + P.BUILD
        return new_object

    def set_state(self, depth: int) -> bytes:
        state = self.random.choice([self.mapping, self.arguments, self.value])(depth)
        return self.value(depth) + state + P.BUILD


def text(value: str) -> bytes:
    """Return the instruction that pushes a text."""
    return P.SHORT_BINUNICODE + bytes([len(value)]) + value.encode()


def attempt(content: bytes) -> tuple[bool, list[str]]:
    """Load a pickle and call its methods; return whether it loaded, and its audit events."""
    with warnings.catch_warnings(), watch() as events:
        warnings.simplefilter("ignore")
        try:
            model = load_pickle(content, {})
        except ModelError:
            return False, events
        for method in ("predict", "transform", "predict_proba"):
            if isinstance(model, sklearn.base.BaseEstimator):
                with contextlib.suppress(Exception):
                    getattr(model, method)(np.eye(2))
        return True, events


def run(count: int, seed: int) -> tuple[int, list[tuple[int, list[str]]]]:
    """Try pickles; return how many loaded, and the seeds and events of those with events."""
    names()
    opened, failures = 0, []
    for number in range(seed, seed + count):
        content = Grammar(number).program()
        did_load, events = attempt(content)
        opened += did_load
        if events:
            failures.append((number, events))
    return opened, failures


if __name__ == "__main__":
    n_pickles, *first = map(int, sys.argv[1:])
    loaded, findings = run(n_pickles, *(first or [0]))
    print(f"{n_pickles} pickles, {loaded} loaded, {len(findings)} with audit events")
    for found_seed, found_events in findings[:20]:
        print(found_seed, found_events[:3])
    sys.exit(bool(findings))
