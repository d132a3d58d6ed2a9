"""Containers without a container engine: run an image's command as an engine does.

The root is read-only, process 1 is the image's command, and its user has no privileges. ``/tmp``,
``/dev/shm`` and the cache are in memory. Unlike an engine, this has no private network and no
memory limit.
"""

from __future__ import annotations

import subprocess
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from conftest import free_port
from image_builds import Image, run

START = """
set -e
root=$1 user=$2 folder=$3
shift 3
mount --bind "$root" "$root"
mount -o remount,bind,ro "$root"
mount -t proc proc "$root/proc"
for each in dev tmp var/cache/slipway; do mount -t tmpfs tmpfs "$root/$each"; done
for each in null random urandom zero; do
    touch "$root/dev/$each"
    mount --bind "/dev/$each" "$root/dev/$each"
done
mkdir -m 1777 "$root/dev/shm"
exec chroot --userspec="$user:$user" --groups= "$root" env --chdir="$folder" "$@"
"""


@dataclass(frozen=True)
class Container:
    """A running container.

    Attributes
    ----------
    base : str
        The URL of its service.
    process : subprocess.Popen
        It exits with the status of the container's process 1.
    """

    base: str
    process: subprocess.Popen[str]

    @property
    def first(self) -> psutil.Process:
        """Process 1, seen from the host."""
        (first,) = psutil.Process(self.process.pid).children()
        return first

    def inside(self, *words: str, user: str = "10001") -> subprocess.CompletedProcess[str]:
        """Run a program in the container, as ``docker exec`` does."""
        enter = f"nsenter --target {self.first.pid} --mount --pid --root --wd --setgid {user}"
        environ = self.first.environ()
        return subprocess.run(
            [*enter.split(), "--setuid", user, *words],
            env=environ,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )

    def workers(self, number: int, seconds: float = 60.0) -> list[psutil.Process]:
        """Wait for so many children of process 1, and return them."""
        until = time.monotonic() + seconds
        while len(children := self.first.children()) != number and time.monotonic() < until:
            time.sleep(0.05)
        assert len(children) == number
        return children

    def wait_until_ready(self, seconds: float = 120.0) -> float:
        """Wait until the service is ready; return the seconds that it took."""
        began = time.monotonic()
        while time.monotonic() < began + seconds:
            assert self.process.poll() is None, f"ended with {self.process.returncode}"
            try:
                urllib.request.urlopen(f"{self.base}/readyz", timeout=20).close()
            except OSError:
                time.sleep(0.02)
            else:
                return time.monotonic() - began
        raise AssertionError(f"not ready after {seconds} s")


@contextmanager
def container(
    image: Image, words: Sequence[str] = (), user: str = "", **environ: str
) -> Iterator[Container]:
    """Run a command, by default the image's own, until the block ends."""
    config = image.config
    port = environ.setdefault("PORT", str(free_port()))
    name = run("buildah", "from", image.name, env=image.environ).strip()
    try:
        root = run("buildah", "mount", name, env=image.environ).strip()
        chroot_options = (root, user or config["User"], config["WorkingDir"])
        namespaces = ("unshare", "--mount", "--pid", "--fork", "sh", "-c", START, "sh")
        process = subprocess.Popen(
            [*namespaces, *chroot_options, *(words or config["Cmd"])],
            env=dict(line.split("=", 1) for line in config["Env"]) | environ,
            text=True,
        )
        try:
            yield Container(f"http://127.0.0.1:{port}", process)
        finally:
            # All processes of the container end with its process 1.
            for first in psutil.Process(process.pid).children() if process.poll() is None else ():
                first.kill()
            process.wait(60)
    finally:
        run("buildah", "rm", name, env=image.environ)


def answer(url: str, body: bytes | None = None, kind: str = "application/json") -> bytes:
    """Send a request; return the body of the response."""
    request = urllib.request.Request(url, body, {"Content-Type": kind} if body else {})
    with urllib.request.urlopen(request, timeout=60) as answered:
        return bytes(answered.read())


def status(pid: int, name: str) -> list[str]:
    """Return the values of one line in ``/proc/PID/status``, such as ``NSpid``."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith(f"{name}:"))
    return line.split()[1:]
