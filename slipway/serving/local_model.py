"""Prepare a model of this machine for serving: any file of a fitted model, or a version."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipway.core.errors import ModelError
from slipway.core.settings import Reference, read_reference
from slipway.core.version import __version__, installed_versions
from slipway.models.artifacts import manifest_path
from slipway.models.manifest import Manifest, read_manifest

# Prepared models that stay on this machine.
KEEP = 20
# Their versions decide how a model is read.
LIBRARIES = ("scikit-learn", "numpy", "pandas")


@dataclass(frozen=True)
class LocalModel:
    """A model to serve.

    Attributes
    ----------
    setting : str
        The value of ``SLIPWAY_MODEL`` that serves it.
    manifest : Manifest, optional
        None for a registry, whose version is fetched at the start.
    notes : tuple of str
        What could not be inferred, and what was noticed.
    """

    setting: str
    manifest: Manifest | None = None
    notes: tuple[str, ...] = ()


def prepare_model(text: str, cache: Path, options: Mapping[str, Any]) -> LocalModel:
    """Prepare a model for serving.

    Parameters
    ----------
    text : str
        A file of a fitted model, an MLflow model folder, a model version, or a registry's version
        or alias.
    cache : Path
        Folder of prepared models. A model is prepared once for each content and option.
    options : mapping
        Of ``add_model``: name, title, data, target and others.

    Returns
    -------
    LocalModel

    Raises
    ------
    SlipwayError
        The model cannot be served; the message says why.
    """
    given = any(value for name, value in options.items() if name != "name")
    place = read_reference(Path.cwd(), text)
    if (Path(text) / "MLmodel").exists():
        place = Path.cwd() / text
    if isinstance(place, Reference):
        if "://" not in place.url and not Path(place.url).exists():
            raise ModelError(f"no such file or folder: {text}")
        return LocalModel(text)
    if place.is_file() and manifest_path(place).exists() and not given:
        return LocalModel(str(place), read_manifest(place))
    return _add(place, cache, options)


def _add(path: Path, cache: Path, options: Mapping[str, Any]) -> LocalModel:
    """Write a model version to the cache, unless it is there."""
    from slipway.training.packaging.model_file import find_model_file

    path = find_model_file(path)
    folder = cache / _key(path, options)
    notes = folder / "notes.txt"
    if not notes.exists():
        _write(path, folder, options)
        _evict(cache)
    os.utime(folder)
    model = folder / "model.pkl"
    lines = notes.read_text(encoding="utf-8").splitlines()
    return LocalModel(str(model), read_manifest(model), tuple(lines))


def _write(path: Path, folder: Path, options: Mapping[str, Any]) -> None:
    """Write a model version and its notes into a folder, in one step."""
    # Opening a model needs scikit-learn, which serving a scorecard does not.
    from slipway.training.packaging.added_model import add_model

    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=".new-", dir=folder.parent))
    except OSError as error:
        raise ModelError(f"cannot write to {folder.parent}: {error.strerror}") from error
    try:
        added = add_model(path, draft / "model.pkl", **options)
        lines = [*added.file_notes, *added.unknown, *added.notes]
        (draft / "notes.txt").write_text("\n".join(lines), encoding="utf-8")
        if not folder.exists():
            draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _key(path: Path, options: Mapping[str, Any]) -> str:
    """Name the folder of a model by everything that decides what is written."""
    digest = hashlib.sha256(f"{__version__} {installed_versions(LIBRARIES)}".encode())
    for name, value in sorted(options.items()):
        digest.update(f"\0{name}={value}".encode())
        if isinstance(value, Path):
            digest.update(value.read_bytes())
    try:
        digest.update(path.read_bytes())
    except OSError as error:
        raise ModelError(f"cannot read {path.name}: {error.strerror}") from error
    return f"{path.stem[:40]}-{digest.hexdigest()[:16]}"


def _evict(cache: Path) -> None:
    """Remove the models that were served longest ago."""
    folders = sorted(
        (folder for folder in cache.iterdir() if folder.is_dir()),
        key=lambda folder: folder.stat().st_mtime,
    )
    for folder in folders[:-KEEP]:
        shutil.rmtree(folder, ignore_errors=True)
