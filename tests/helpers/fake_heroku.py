"""A fake of Heroku: git over HTTP, the Platform API, the release phase and one dyno.

It checks out the pushed commit and runs the Procfile's ``release`` command, then its ``web``
command. As with Basic dynos, the old dyno ends before the new one starts.
"""

from __future__ import annotations

import base64
import gzip
import json
import os
import socket
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from conftest import free_port

NAME, EMAIL, KEY = "late-flights", "ada@example.com", "HRKU-canary-of-the-tests-0123456789"


class Heroku:
    """An app on Heroku.

    Attributes
    ----------
    releases : list of dict
        In the format of the Platform API.
    asked : list of str
        The requests to the API, with their keys.
    leaks : list of str
        Command lines on this machine that contained the key during a request.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.repository = folder / "git" / f"{NAME}.git"
        self.port = free_port()
        self.releases: list[dict[str, Any]] = []
        self.asked: list[str] = []
        self.leaks: list[str] = []
        self.web: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._add("Initial release", None)
        self.environ = {
            **{name: value for name, value in os.environ.items() if "SLIPWAY" not in name},
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PORT": str(self.port),
            "DYNO": "web.1",
        }
        subprocess.run(["git", "init", "--quiet", "--bare", self.repository], check=True)
        self._git("config", "http.receivepack", "true")

    @property
    def commit(self) -> str:
        """The commit of the built branch; empty before the first push."""
        return self._git("for-each-ref", "--format=%(objectname)", "refs/heads/main")

    def build(self) -> None:
        """Release the pushed commit."""
        self._run(self._add(f"Deploy {self.commit[:8]}", self.commit))

    def roll_back(self, name: str) -> dict[str, Any]:
        """Release the code of an earlier release."""
        old = next(release for release in self.releases if release["id"] == name)
        release = self._add(f"Rollback to v{old['version']}", old["slug"]["id"])
        self._run(release)
        return release

    def dynos(self) -> list[dict[str, Any]]:
        """Return the dynos in the format of the Platform API."""
        if self.web is None:
            return []
        state = "crashed"
        if self.web.poll() is None:
            with socket.socket() as probe:
                listens = probe.connect_ex(("127.0.0.1", self.port)) == 0
            state = "up" if listens else "starting"
        return [{"type": "web", "state": state, "release": {"version": self.serving["version"]}}]

    def stop(self) -> None:
        """Stop the dyno."""
        if self.web is not None:
            self.web.terminate()
            # A worker that is still starting misses the signal and is killed 20 s later.
            self.web.wait(60)

    def _add(self, description: str, commit: str | None) -> dict[str, Any]:
        release = {
            "id": str(uuid.uuid4()),
            "version": len(self.releases) + 1,
            "description": description,
            "status": "pending" if commit else "succeeded",
            "slug": commit and {"id": commit},
        }
        with self._lock:
            self.releases.append(release)
        return release

    def _run(self, release: dict[str, Any]) -> None:
        """Run the release phase in the background; the push does not wait for it."""
        threading.Thread(target=self._phase, args=[release]).start()

    def _phase(self, release: dict[str, Any]) -> None:
        code = self.folder / f"v{release['version']}"
        code.mkdir()
        archive = subprocess.run(
            ["git", "-C", self.repository, "archive", release["slug"]["id"]],
            check=True,
            capture_output=True,
        )
        subprocess.run(["tar", "-x", "-C", code], input=archive.stdout, check=True)
        commands = dict(
            line.split(": ", 1) for line in (code / "Procfile").read_text().splitlines()
        )
        words = ["bash", "-c", commands["release"]]
        done = subprocess.run(words, cwd=code, env=self.environ, check=False, capture_output=True)
        (self.folder / f"v{release['version']}.log").write_bytes(done.stdout + done.stderr)
        if done.returncode == 0:
            self.stop()
            self.serving = release
            command = commands["web"].replace("0.0.0.0", "127.0.0.1")
            self.web = subprocess.Popen(
                ["bash", "-c", f"exec {command}"],
                cwd=code,
                env=self.environ,
                stderr=subprocess.DEVNULL,
            )
        release["status"] = "failed" if done.returncode else "succeeded"

    def _git(self, *words: str) -> str:
        command = ["git", "-C", str(self.repository), *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


class _Handler(BaseHTTPRequestHandler):
    heroku: Heroku

    def do_GET(self) -> None:
        self._respond(b"")

    def do_POST(self) -> None:
        if self.headers["Transfer-Encoding"] == "chunked":
            body = b"".join(iter(self._chunk, b""))
        else:
            body = self.rfile.read(int(self.headers["Content-Length"]))
        self._respond(body)

    def log_message(self, *_: Any) -> None:
        """Log nothing."""

    def _chunk(self) -> bytes:
        chunk = self.rfile.read(int(self.rfile.readline(), 16))
        self.rfile.readline()
        return chunk

    def _respond(self, body: bytes) -> None:
        self.heroku.leaks += filter(lambda line: KEY in line, command_lines())
        if self.path.startswith("/git/"):
            self._git(body)
            return
        self.heroku.asked.append(f"{self.command} {self.path} {self.headers['Authorization']}")
        if self.headers["Authorization"] != f"Bearer {KEY}":
            self._send(401, b'{"id": "unauthorized"}')
        elif self.headers["Accept"] != "application/vnd.heroku+json; version=3":
            self._send(400, b"{}")
        else:
            status, answer = self._api(json.loads(body or "null"))
            self._send(status, json.dumps(answer).encode())

    def _api(self, body: Any) -> tuple[int, Any]:
        heroku, app = self.heroku, f"/api/apps/{NAME}"
        if self.path == app:
            return 200, {"web_url": f"http://127.0.0.1:{heroku.port}/"}
        if self.path == f"{app}/dynos":
            return 200, heroku.dynos()
        if self.path == f"{app}/releases" and self.command == "POST":
            return 201, heroku.roll_back(body["release"])
        if self.path == f"{app}/releases" and "order=desc" in self.headers["Range"]:
            return 206, heroku.releases[::-1]
        return 404, {"id": "not_found"}

    def _git(self, body: bytes) -> None:
        """Check the key and forward a request to git's own CGI program."""
        expected = base64.b64encode(f"{EMAIL}:{KEY}".encode()).decode()
        if self.headers["Authorization"] != f"Basic {expected}":
            self._send(401, b"", "WWW-Authenticate: Basic realm=Git")
            return
        url = urlsplit(self.path)
        before = self.heroku.commit
        environ = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(self.heroku.folder / "git"),
            "GIT_HTTP_EXPORT_ALL": "1",
            "REMOTE_USER": EMAIL,
            "REQUEST_METHOD": self.command,
            "PATH_INFO": url.path.removeprefix("/git"),
            "QUERY_STRING": url.query,
            "CONTENT_TYPE": self.headers["Content-Type"] or "",
            "CONTENT_LENGTH": str(len(body)),
        }
        if self.headers["Content-Encoding"] == "gzip":
            body = gzip.decompress(body)
            environ["CONTENT_LENGTH"] = str(len(body))
        done = subprocess.run(
            ["git", "http-backend"], input=body, env=environ, capture_output=True, check=True
        )
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        if self.heroku.commit != before:
            self.heroku.build()
        lines = head.decode().split("\r\n")
        status = next((line[8:11] for line in lines if line.startswith("Status: ")), "200")
        self._send(int(status), content, *(line for line in lines if "Status: " not in line))

    def _send(self, status: int, content: bytes, *lines: str) -> None:
        self.send_response(status)
        for line in lines:
            self.send_header(*line.split(": ", 1))
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def command_lines() -> Iterator[str]:
    """Yield the command line of every process."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            yield path.read_text(errors="replace")


@contextmanager
def heroku_running(folder: Path) -> Iterator[tuple[Heroku, dict[str, str]]]:
    """Run the fake; yield it and the environment with its URLs for ``deploy/heroku.sh``."""
    heroku = Heroku(folder)
    handler = type("Answers", (_Handler,), {"heroku": heroku})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    base = f"http://127.0.0.1:{server.server_port}"
    try:
        yield (
            heroku,
            {
                "HEROKU_API_KEY": KEY,
                "HEROKU_APP_NAME": NAME,
                "HEROKU_EMAIL": EMAIL,
                "HEROKU_GIT_URL": f"{base}/git",
                "HEROKU_API_URL": f"{base}/api",
                "HEROKU_PAUSE": "0.1",
            },
        )
    finally:
        server.shutdown()
        server.server_close()
        heroku.stop()
