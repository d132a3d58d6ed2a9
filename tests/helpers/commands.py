"""The ``slipway`` command, run in a folder."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from click.testing import CliRunner, Result
from conftest import ROOT, free_port, wait_for

from slipway.cli.main import main


def run_here(folder: Path, *words: object, text: str = "") -> Result:
    """Run a command in this process, in a folder."""
    with contextlib.chdir(folder):
        return CliRunner().invoke(main, [*map(str, words)], input=text)


def command(*words: object) -> list[str]:
    """Return the arguments that run the command in a subprocess."""
    return [sys.executable, "-m", "slipway", *map(str, words)]


def environ(folder: Path, **settings: str) -> dict[str, str]:
    """Return the environment of a command outside a project."""
    dropped = ("SLIPWAY_PICKLE_ALLOW",)
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    return kept | {"PYTHONPATH": str(ROOT), "SLIPWAY_CACHE": str(folder / "cache")} | settings


@contextlib.contextmanager
def serving(folder: Path, *words: object, **settings: str) -> Iterator[tuple[str, Path]]:
    """Run ``slipway serve`` in a folder; yield its URL and its output file."""
    port, output = free_port(), folder / "output.txt"
    with output.open("w") as file:
        process = subprocess.Popen(
            command("serve", *words, f"--port={port}", "--workers=1"),
            cwd=folder,
            env=environ(folder, **settings),
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_for(f"http://127.0.0.1:{port}/livez", process)
        yield f"http://127.0.0.1:{port}", output
    finally:
        process.terminate()
        process.wait(60)
