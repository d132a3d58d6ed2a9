"""A fit in chunks in a separate process: memory, scratch file, full disk."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.growth import draw_rows
from slipway.data.dataset import Dataset

MIB = 2**20
FIT = """
import resource, sys
from pathlib import Path
from slipway.core.errors import SlipwayError
from slipway.data.dataset import open_dataset
from slipway.data.problem_loading import load_problem
from slipway.training.engines.chunked.fit import fit_chunks
folder, memory, file_size, times = sys.argv[1], *map(int, sys.argv[2:])
if file_size:
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size))
try:
    for _ in range(times):
        fit_chunks(
            load_problem("flights"),
            open_dataset(Path(folder)),
            memory=memory,
            folds=range(8),
            progress=lambda line: print(line, flush=True),
        )
except SlipwayError as error:
    sys.exit(f"refused: {error}")
status = Path("/proc/self/status").read_text()
print(next(line for line in status.splitlines() if line.startswith("VmHWM")))
"""


def command(folder: Path, memory: int, file_size: int = 0, times: int = 1) -> list[str]:
    return [sys.executable, "-c", FIT, *map(str, (folder, memory, file_size, times))]


def environ(scratch: Path) -> dict[str, str]:
    return os.environ | {"TMPDIR": str(scratch)}


def run(folder: Path, scratch: Path, memory: int, file_size: int = 0) -> tuple[int, str, str]:
    done = subprocess.run(
        command(folder, memory, file_size),
        capture_output=True,
        text=True,
        env=environ(scratch),
        check=False,
        timeout=900,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.slow
def test_chunks_two_million_rows_stay_within_the_memory_limit(
    stored: Dataset, tmp_path: Path
) -> None:
    drawn = draw_rows(stored, 2_000_000, tmp_path / "drawn")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    code, out, err = run(drawn.folder, scratch, 400 * MIB)
    assert code == 0, err
    peak = int(out.split("VmHWM:")[1].split()[0]) * 1024
    assert peak <= 400 * MIB
    assert not list(scratch.iterdir())


@pytest.mark.slow
def test_chunks_less_memory_than_python_needs_raises(stored: Dataset, tmp_path: Path) -> None:
    code, _, err = run(stored.folder, tmp_path, 200 * MIB)
    assert code == 1
    assert "refused: 200 MiB of memory are too little" in err


@pytest.mark.slow
def test_chunks_full_disk_raises_with_advice(stored: Dataset, tmp_path: Path) -> None:
    code, _, err = run(stored.folder, tmp_path, 1024 * MIB, MIB)
    assert code == 1
    assert f"refused: cannot write the scratch file in {tmp_path}: File too large" in err
    assert "set TMPDIR" in err
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("ended_by", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_chunks_terminated_process_leaves_no_scratch_file(
    ended_by: signal.Signals, stored: Dataset, tmp_path: Path
) -> None:
    # A fit takes a second, too little for a busy machine to terminate it in time.
    with subprocess.Popen(
        command(stored.folder, 1024 * MIB, times=100),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environ(tmp_path),
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("fitting on"):
                break
        # At this point, all rows are in the file, which has no name.
        assert not list(tmp_path.iterdir())
        time.sleep(0.2)
        process.send_signal(ended_by)
    assert process.returncode != 0
    assert not list(tmp_path.iterdir())
