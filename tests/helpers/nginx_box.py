"""A machine for deploy/box.sh: a real nginx, real services and a fake Docker."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from clients import asked
from conftest import ROOT, free_port
from swapping import until

NGINX = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
HERE = Path(__file__).parent
MAIN = """
user root;
daemon off;
worker_processes 2;
pid {folder}/nginx.pid;
error_log stderr;
events {{}}
http {{
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/slipway.conf;
}}
"""
# The ports of deploy/nginx/slipway.conf; each is replaced by a free one.
PORTS = ("80", "443", "8000", "8001", "8002", "8011", "8012")


class Box:
    """A machine with nginx and a fake Docker."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.docker, self.state = folder, folder / "docker", folder / "state"
        for subfolder in ("registry", "images", "containers"):
            (self.docker / subfolder).mkdir(parents=True)
        self.state.mkdir()
        self.port = {name: str(free_port()) for name in PORTS}
        self.base = f"http://127.0.0.1:{self.port['80']}"
        self.env = folder / "env"
        self.env.write_text("")
        self._write_programs()
        self._write_nginx()

    def _write_programs(self) -> None:
        """Write docker, and a python3 that skips the version lookup of pyenv."""
        (self.folder / "bin").mkdir()
        for name, words in {"docker": f"-I {HERE / 'fake_docker.py'}", "python3": ""}.items():
            path = self.folder / "bin" / name
            path.write_text(f'#!/bin/sh\nexec {sys.executable} {words} "$@"\n')
            path.chmod(0o755)

    def _write_nginx(self) -> None:
        conf = (ROOT / "deploy/nginx/slipway.conf").read_text()
        conf = re.sub(
            r"(?<![\d.])(80|443|80[01][012])\b", lambda m: self.port.get(m[1], m[1]), conf
        )
        for name, path in {
            "/var/lib/slipway": self.state,
            "/etc/slipway": self.folder,
            "/var/log/nginx": self.folder,
        }.items():
            conf = conf.replace(name, str(path))
        # The script waits for this time at every deployment.
        conf = conf.replace("keepalive_timeout 4s", "keepalive_timeout 200ms")
        # The state files live-* have ports in their names.
        (self.folder / "slipway.conf").write_text(conf)
        (self.folder / "nginx.conf").write_text(MAIN.format(folder=self.folder))

    @contextmanager
    def proxy(self) -> Iterator[None]:
        """Run nginx."""
        assert NGINX, "nginx is not installed; run `make system`"
        process = subprocess.Popen(
            [NGINX, "-c", f"{self.folder}/nginx.conf", "-p", f"{self.folder}"]
        )
        try:
            until(lambda: process.poll() is not None or _listens(self.base), 60)
            assert process.poll() is None, "nginx ended; see above"
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)

    def publish(
        self, name: str, *, app: str = "app:app", ours: bool = True, **environ: str
    ) -> None:
        """Add an image to the registry."""
        digest = hashlib.sha256(name.encode()).hexdigest()
        image_fields = {"name": name, "id": f"sha256:{digest}", "revision": digest[:40], "app": app}
        path = self.docker / "registry" / f"{name.replace('/', '_')}.json"
        path.write_text(json.dumps({**image_fields, "environ": environ, "ours": ours}))

    def start(self, *words: str, **environ: str) -> subprocess.Popen[str]:
        """Start the script, with stderr in its output."""
        environment = {
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
            "FAKE_DOCKER": str(self.docker),
            "SLIPWAY_BOX": str(self.folder / "box"),
            "SLIPWAY_BOX_STATE": str(self.state),
            "SLIPWAY_BOX_ENV": str(self.env),
            "SLIPWAY_BOX_PORTS": f"{self.port['8001']} {self.port['8002']}",
            "SLIPWAY_BOX_DOORS": f"{self.port['8011']} {self.port['8012']}",
            "SLIPWAY_BOX_FRONT": self.port["8000"],
            **environ,
        }
        return subprocess.Popen(
            [str(ROOT / "deploy/box.sh"), *words],
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def run(self, *words: str, status: int = 0, **environ: str) -> str:
        """Run the script and return its output."""
        process = self.start(*words, **environ)
        output = process.communicate(timeout=120)[0]
        assert process.returncode == status, output
        return output

    def calls(self) -> list[list[str]]:
        return [json.loads(line) for line in (self.docker / "calls").read_text().splitlines()]

    def containers(self) -> dict[str, dict[str, object]]:
        paths = (self.docker / "containers").glob("*.json")
        return {path.stem: json.loads(path.read_text()) for path in paths}

    def images(self) -> set[str]:
        paths = (self.docker / "images").glob("*.json")
        return {json.loads(path.read_text())["name"] for path in paths}

    def deployed(self) -> list[str]:
        """Return the names of the images in the journal."""
        return [line.split()[1] for line in (self.state / "deployed").read_text().splitlines()]

    def live(self) -> list[str]:
        return [path.name for path in self.state.glob("live-*")]

    def clear(self) -> None:
        """Kill all containers."""
        for container in self.containers().values():
            pid = int(str(container["pid"]))
            if psutil.pid_exists(pid):
                os.killpg(pid, signal.SIGKILL)


def _listens(base: str) -> bool:
    try:
        return asked(base, "GET", "/livez")[0] > 0
    except OSError:
        return False
