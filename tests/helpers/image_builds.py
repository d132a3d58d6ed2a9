"""Images that buildah builds on a Debian base, without a container engine or a registry.

A test module loads the fixtures with ``pytest_plugins = ["image_builds"]``. The base image is
cached in ``.cache/image``.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

CACHE = ROOT / ".cache/image"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
SHA = "0123456789abcdef0123456789abcdef01234567"
SECRET = "not-to-be-found-in-any-layer"
# Runs in its own mount namespace, so that nothing remains if it is killed, and in memory, because
# dpkg syncs the disk after every package.
BASE = """
set -e
mount -t tmpfs tmpfs "$1"
mkdir -p "$1/etc/dpkg/dpkg.cfg.d"
for each in doc locale man; do echo "path-exclude=/usr/share/$each/*"; done \
    > "$1/etc/dpkg/dpkg.cfg.d/small"
debootstrap --variant=minbase --include=ca-certificates,python3-venv "$3" "$1" "$4" >&2
rm -rf "$1"/var/cache/apt/archives/*.deb "$1"/var/lib/apt/lists/* "$1"/var/log/*
tar -C "$1" -cf "$2" .
"""


def run(*words: str | Path, **options: Any) -> str:
    """Run a program and return its output; an error shows the end of stderr."""
    command = [str(word) for word in words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, f"{words[0]} exited with {done.returncode}: {done.stderr[-3000:]}"
    return done.stdout


@dataclass(frozen=True)
class Image:
    """An image in the store.

    Attributes
    ----------
    name : str
    environ : dict of str to str
        The environment in which buildah finds the store.
    archive : Path
        The folder for its unpacked layers.
    """

    name: str
    environ: dict[str, str]
    archive: Path

    @functools.cached_property
    def config(self) -> dict[str, Any]:
        """The configuration: command, user, environment and labels."""
        text = run("buildah", "inspect", "--type", "image", self.name, env=self.environ)
        return dict(json.loads(text)["Docker"]["config"])

    @functools.cached_property
    def layers(self) -> list[Path]:
        """The layers as archives, the base first."""
        words = "--quiet", "--disable-compression", self.name, f"dir:{self.archive}"
        run("buildah", "push", *words, env=self.environ)
        manifest = json.loads((self.archive / "manifest.json").read_bytes())
        digests = [layer["digest"] for layer in manifest["layers"]]
        return [self.archive / digest.removeprefix("sha256:") for digest in digests]

    @functools.cached_property
    def files(self) -> set[str]:
        """The paths of all files above the base."""
        paths: set[str] = set()
        for layer in self.layers[1:]:
            with tarfile.open(layer) as opened:
                paths.update(f"/{name.removeprefix('./')}" for name in opened.getnames())
        return paths

    @property
    def megabytes(self) -> float:
        """The unpacked size above the base, in MB."""
        return sum(layer.stat().st_size for layer in self.layers[1:]) / 1e6


@pytest.fixture(scope="session")
def environ(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment in which buildah keeps its images below ``.cache/image``."""
    work = tmp_path_factory.mktemp("buildah")
    (CACHE / "tmp").mkdir(parents=True, exist_ok=True)
    environ = os.environ | {
        "BUILDAH_ISOLATION": "chroot",
        "CONTAINERS_STORAGE_CONF": str(work / "storage.conf"),
        "TMPDIR": str(CACHE / "tmp"),
    }
    # Inside a container, overlay mounts are not always possible.
    for driver in ("overlay", "vfs"):
        (work / "storage.conf").write_text(
            f'[storage]\ndriver = "{driver}"\nrunroot = "{work}/run"\n'
            f'graphroot = "{CACHE}/{driver}"\n'
        )
        done = subprocess.run(["buildah", "images"], env=environ, capture_output=True, check=False)
        if done.returncode == 0:
            return environ
    raise AssertionError(f"buildah has no store: {done.stderr.decode()}")


@pytest.fixture(scope="session")
def base(environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> str:
    """Debian with its Python, instead of Docker Hub's ``python:3.11-slim-bookworm``."""
    suite, mirror = _debian()
    name = f"localhost/base:{hashlib.sha256(f'{BASE}{suite}'.encode()).hexdigest()[:12]}"
    if run("buildah", "images", "--quiet", "--filter", f"reference={name}", env=environ):
        return name
    work = tmp_path_factory.mktemp("base")
    root, archive = work / "root", work / "base.tar"
    root.mkdir()
    run("unshare", "--mount", "sh", "-c", BASE, "sh", root, archive, suite, mirror)
    container = run("buildah", "from", "scratch", env=environ).strip()
    run("buildah", "add", "--quiet", container, archive, "/", env=environ)
    run("buildah", "commit", "--quiet", "--rm", container, name, env=environ)
    archive.unlink()
    return name


def _debian() -> tuple[str, str]:
    """Return the Debian release of this machine and its mirror."""
    targets = run("apt-get", "indextargets", "--format", "$(CODENAME) $(REPO_URI)")
    sources = [line.split() for line in targets.splitlines()]
    # Updates have their own suite, such as bookworm-updates.
    return next((suite, mirror) for suite, mirror in sources if "-" not in suite)


@pytest.fixture(scope="session")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout of the project with secrets in files that an image must not contain."""
    folder = tmp_path_factory.mktemp("context") / "project"
    # Other tests write bytecode meanwhile, through temporary files.
    ignored = (".git", ".venv", ".cache", ".*_cache", ".hypothesis", "__pycache__")
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(*ignored))
    shutil.rmtree(folder / "data", ignore_errors=True)
    for place in (".env", "key.pem", "slipway/.env", "data/rows.csv", ".git/config", "tests/key"):
        (folder / place).parent.mkdir(exist_ok=True)
        (folder / place).write_text(SECRET)
    # The mode under a strict umask.
    (folder / "model.json").chmod(0o600)
    return folder


@pytest.fixture(scope="session")
def pip_settings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pip configuration of this machine, with a secret added."""
    carried = ("index-url", "extra-index-url", "trusted-host", "proxy", "timeout")
    listing = run(sys.executable, "-m", "pip", "config", "list")
    lines = ["[global]", f"# {SECRET}"]
    for line in listing.splitlines():
        name, _, value = line.partition("=")
        key = name.rpartition(".")[2].strip(":")
        if key in carried and "file:" not in value:
            lines.append(f"{key} = {value.strip(chr(39))}")
    if CERTIFICATES.exists():
        lines.append(f"cert = {CERTIFICATES}")
    path = tmp_path_factory.mktemp("pip") / "pip.conf"
    path.write_text("\n".join(lines))
    return path


def _build(
    name: str, base: str, environ: dict[str, str], context: Path, settings: Path, *words: str
) -> Image:
    """Build with ``make image``, as the page describes."""
    volumes = f"--volume {settings}:/etc/pip.conf:ro"
    if CERTIFICATES.exists():
        volumes += f" --volume {CERTIFICATES}:{CERTIFICATES}:ro"
    run(
        "make",
        "image",
        "BUILDER=buildah build --format docker",
        f"IMAGE_ARGUMENTS=--build-arg BASE={base} {volumes} {' '.join(words)}",
        f"GIT_SHA={SHA}",
        cwd=context,
        env=environ,
    )
    # Every build has the same name, so rename this one.
    run("buildah", "tag", "localhost/slipway", name, env=environ)
    run("buildah", "rmi", "localhost/slipway", env=environ)
    return Image(name, environ, settings.parent / name.replace(":", "-"))


@pytest.fixture(scope="session")
def web_image(
    base: str, environ: dict[str, str], context: Path, pip_settings: Path
) -> Iterator[Image]:
    """The image without the training libraries."""
    image = _build("slipway-test:web", base, environ, context, pip_settings)
    yield image
    _remove_image(image)


@pytest.fixture(scope="session")
def full_image(
    base: str, environ: dict[str, str], context: Path, pip_settings: Path
) -> Iterator[Image]:
    """The image with the training libraries, which opens pickles."""
    words = "--build-arg", "REQUIREMENTS=requirements-train.txt"
    image = _build("slipway-test:full", base, environ, context, pip_settings, *words)
    yield image
    _remove_image(image)


def _remove_image(image: Image) -> None:
    """Remove an image, which has up to a gigabyte."""
    run("buildah", "rmi", "--force", image.name, env=image.environ)
    shutil.rmtree(image.archive, ignore_errors=True)
