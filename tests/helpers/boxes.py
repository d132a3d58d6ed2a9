"""An AWS box on this machine: its user data runs as root in namespaces.

``/etc`` is a copy, the other written folders are empty, and the network is private. All of it
disappears after the run. nginx is real; apt-get, systemctl, curl and docker are replaced by
programs that log their arguments.

A test module loads the fixture with ``pytest_plugins = ["boxes"]``.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

# The packages of apt-get are installed already or not needed; Docker's package adds its group.
PROGRAMS = {
    "apt-get": "getent group docker >/dev/null || groupadd --system docker",
    "systemctl": "[[ $* != *nginx ]] || nginx",
    "curl": '[[ $* != *github.com* ]] && exec /usr/bin/curl "$@"; cp "$PACKAGE" "${@: -2:1}"',
    "docker": 'echo "docker $* as $(id -un) at $HOME"',
    "hostname": "echo box",
}
SET_UP = """
set -euo pipefail
here=$1
"$3" -c 'import fcntl, socket, struct
fcntl.ioctl(socket.socket(), 0x8914, struct.pack("16sh", b"lo", 0x41))  # SIOCSIFFLAGS: up'
mount -t tmpfs tmpfs "$here"
cp -a /etc "$here/etc"
mount --bind "$here/etc" /etc
rm -rf /etc/nginx/conf.d /etc/slipway
mkdir -p /etc/nginx/conf.d
for each in /root /home /run /var/lib /var/log /usr/local/sbin; do
    mount -t tmpfs tmpfs "$each"
done
mkdir -p /var/lib/nginx /var/log/nginx
cd /
unset HOME
export PATH=$2:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin
"""


def run_on_box(
    folder: Path, user_data: str, script: str, **environ: str
) -> subprocess.CompletedProcess[str]:
    """Create a box, run a script on it, and return the finished process.

    The output of the user data goes to ``user-data.log`` in the folder.
    """
    programs, box_root = folder / "programs", folder / "place"
    box_root.mkdir(exist_ok=True)
    write_programs(programs, PROGRAMS, folder / "calls")
    (folder / "user-data").write_text(user_data)
    set_up = f'bash "{folder}/user-data" >"{folder}/user-data.log" 2>&1\n'
    command = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
    command += ["bash", "-c", SET_UP + set_up + script, "box"]
    return subprocess.run(
        [*command, box_root, programs, sys.executable],
        env=environ | {"LANG": "C.UTF-8", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def write_programs(folder: Path, programs: Mapping[str, str], calls: Path) -> None:
    """Write programs that log their arguments to a file before they run."""
    folder.mkdir(exist_ok=True)
    calls.touch()
    calls.chmod(0o666)
    for name, action in programs.items():
        path = folder / name
        path.write_text(f'#!/bin/bash\necho "{name} $*" >>"{calls}"\n{action}\n')
        path.chmod(0o755)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that every user can enter, unlike pytest's; the user of the box needs this."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def assert_ran(done: subprocess.CompletedProcess[str], folder: Path) -> None:
    log = (folder / "user-data.log").read_text()
    assert done.returncode == 0, log + done.stderr
