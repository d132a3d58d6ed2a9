"""Run the property tests with new examples for some minutes: ``make fuzz``."""

from __future__ import annotations

import random
import subprocess
import sys
import time

PYTEST = (sys.executable, "-m", "pytest", "-m", "hypothesis", "--hypothesis-profile=fuzz")


def run_until(minutes: float, options: list[str]) -> list[int]:
    """Run the tests repeatedly, each time with a new seed; return the seeds that failed."""
    failures = []
    end = time.monotonic() + 60 * minutes
    while time.monotonic() < end:
        seed = random.SystemRandom().getrandbits(32)
        command = [*PYTEST, f"--hypothesis-seed={seed}", *options]
        print(f"seed {seed}, {(end - time.monotonic()) / 60:.0f} minutes left", flush=True)
        if subprocess.run(command, check=False).returncode != 0:
            failures.append(seed)
    return failures


if __name__ == "__main__":
    seeds = run_until(float(sys.argv[1]), sys.argv[2:])
    for failed in seeds:
        print(f"failed: {' '.join(PYTEST)} --hypothesis-seed={failed}")
    sys.exit(1 if seeds else 0)
