"""A real MariaDB server on loopback, one for the test session.

It comes from a system package. A test module loads the fixture with
``pytest_plugins = ["mariadb_server"]``.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pymysql
import pytest
from conftest import free_port

PASSWORD = "canary-of-mariadb"
MISSING = "mariadbd is not installed; run `make system`"


@pytest.fixture(scope="session")
def mariadb() -> Iterator[str]:
    """The URL of a database, with a user and a password."""
    server = shutil.which("mariadbd", path=f"{os.environ['PATH']}:/usr/sbin")
    assert server is not None, MISSING
    # Other users cannot enter pytest's own folder.
    folder = Path(tempfile.mkdtemp(prefix="mariadb-"))
    user = ["--user=root"]
    if os.getuid() == 0:
        name = pwd.getpwnam("mysql").pw_name
        shutil.chown(folder, name)
        user = [f"--user={name}"]
    port = free_port()
    common_options = ["--no-defaults", f"--datadir={folder / 'data'}", *user]
    installed = ["mariadb-install-db", *common_options, "--auth-root-authentication-method=normal"]
    subprocess.run([*installed, "--skip-test-db"], check=True, capture_output=True, cwd=folder)
    address_options = [
        "--bind-address=127.0.0.1",
        f"--port={port}",
        f"--socket={folder / 'socket'}",
    ]
    # A server deletes the files of other servers in a shared tmpdir.
    common_options.append(f"--tmpdir={folder}")
    other_options = [
        f"--pid-file={folder / 'pid'}",
        "--secure-file-priv=",
        "--innodb-flush-method=fsync",
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [server, *common_options, *address_options, *other_options], stdout=log, stderr=log
        )
    try:
        yield _wait_and_create_database(port, process, folder)
    finally:
        process.terminate()
        process.wait(60)
        shutil.rmtree(folder)


def _wait_and_create_database(port: int, process: subprocess.Popen[bytes], folder: Path) -> str:
    """Wait for the server, create a database and its user, and return its URL."""
    deadline = time.monotonic() + 60
    while True:
        try:
            root = pymysql.connect(unix_socket=str(folder / "socket"), user="root", autocommit=True)
            break
        except pymysql.OperationalError:
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.1)
    with root, root.cursor() as cursor:
        cursor.execute("CREATE DATABASE nyc CHARACTER SET utf8mb4")
        cursor.execute(f"CREATE USER slipway@localhost IDENTIFIED BY '{PASSWORD}'")
        cursor.execute("GRANT ALL ON *.* TO slipway@localhost WITH GRANT OPTION")
    return f"mariadb://slipway:{PASSWORD}@127.0.0.1:{port}/nyc"
