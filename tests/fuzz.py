"""Run the property tests with new examples until the time is up: ``make fuzz``."""

from __future__ import annotations

import random
import subprocess
import sys
import time

PYTEST = (sys.executable, "-m", "pytest", "-m", "hypothesis", "--hypothesis-profile=fuzz")


def rounds(minutes: float, options: list[str]) -> list[int]:
    """Run one round after another, each with a seed; return the seeds that found a failure."""
    found = []
    end = time.monotonic() + 60 * minutes
    while time.monotonic() < end:
        seed = random.SystemRandom().getrandbits(32)
        command = [*PYTEST, f"--hypothesis-seed={seed}", *options]
        print(f"seed {seed}, {(end - time.monotonic()) / 60:.0f} minutes left", flush=True)
        if subprocess.run(command, check=False).returncode != 0:
            found.append(seed)
    return found


if __name__ == "__main__":
    seeds = rounds(float(sys.argv[1]), sys.argv[2:])
    for failed in seeds:
        print(f"failed: {' '.join(PYTEST)} --hypothesis-seed={failed}")
    sys.exit(1 if seeds else 0)
