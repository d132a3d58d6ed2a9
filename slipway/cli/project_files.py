"""Write the files of a project, and bring them up to the installed version."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Literal

import msgspec

from slipway.cli.project import EXECUTABLE, Project, render_project
from slipway.cli.project_pins import UNDER_SCIKIT_LEARN
from slipway.core.errors import SlipwayError
from slipway.core.files import write_atomic
from slipway.core.version import __version__, installed_versions

RECORD = ".slipway.json"
Change = Literal["added", "updated", "merged", "removed", "kept", "conflict"]


class ProjectRecord(msgspec.Struct, frozen=True):
    """What Slipway wrote into a project.

    Attributes
    ----------
    slipway : str
        The version that wrote the files.
    name, title : str
    settings, installed : dict of str to str
        As of ``Project``.
    files : dict of str to str
        The content that was written, by path.
    """

    slipway: str
    name: str
    title: str
    settings: dict[str, str]
    installed: dict[str, str]
    files: dict[str, str]


def write_project(folder: Path, name: str, title: str, settings: dict[str, str]) -> None:
    """Write every file of a project around its model, and the record of them."""
    installed = installed_versions(UNDER_SCIKIT_LEARN)
    files = render_project(Project(name, title, settings, installed), folder / "model.pkl")
    for path, content in files.items():
        _write(folder / path, content)
    _write_record(folder, ProjectRecord(__version__, name, title, settings, installed, files))


def update_project(folder: Path) -> list[tuple[Change, str]]:
    """Bring the files that Slipway wrote up to the installed version.

    An untouched file is replaced. A changed one is merged by ``git merge-file``; where that
    conflicts, or git is missing, the new content goes beside it with the suffix ``.new``.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    list of tuple
        Each change and its path.

    Raises
    ------
    SlipwayError
        The folder is not a project, or its record is damaged.
    """
    record = _read_record(folder)
    project = Project(record.name, record.title, record.settings, record.installed)
    files = render_project(project, folder / "model.pkl")
    changes = [(_update(folder, path, record.files, files), path) for path in files]
    changes += [(_remove(folder, path, record.files), path) for path in record.files.keys() - files]
    _write_record(folder, msgspec.structs.replace(record, slipway=__version__, files=files))
    return sorted((change, path) for change, path in changes if change is not None)


def _update(folder: Path, path: str, old: dict[str, str], new: dict[str, str]) -> Change | None:
    """Update one file; None where nothing is to be done."""
    target = folder / path
    if not target.exists():
        if path in old:
            # The owner has deleted it.
            return None
        _write(target, new[path])
        return "added"
    current = target.read_text(encoding="utf-8")
    if current == new[path] or old.get(path) == new[path]:
        return None
    if current == old.get(path):
        _write(target, new[path])
        return "updated"
    merged = _merge(current, old.get(path, ""), new[path])
    if merged is None:
        _write(folder / f"{path}.new", new[path])
        return "conflict"
    _write(target, merged)
    return "merged"


def _remove(folder: Path, path: str, old: dict[str, str]) -> Change | None:
    """Remove a file that Slipway no longer writes, unless the owner has changed it."""
    target = folder / path
    if not target.exists():
        return None
    if target.read_text(encoding="utf-8") != old[path]:
        return "kept"
    target.unlink()
    return "removed"


def _merge(current: str, old: str, new: str) -> str | None:
    """Merge two changes of a text; None where they conflict or git is missing."""
    git = shutil.which("git")
    if git is None:
        return None
    with tempfile.TemporaryDirectory() as name:
        files = [Path(name) / part for part in ("current", "old", "new")]
        for file, text in zip(files, (current, old, new), strict=True):
            file.write_text(text, encoding="utf-8")
        done = subprocess.run(  # noqa: S603 - git, on files of ours
            [git, "merge-file", "--stdout", *map(str, files)], capture_output=True, check=False
        )
    return done.stdout.decode() if done.returncode == 0 else None


def _write(path: Path, content: str) -> None:
    """Write one file; scripts can be executed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    if path.suffix in EXECUTABLE:
        path.chmod(0o755)


def _read_record(folder: Path) -> ProjectRecord:
    """Read what Slipway wrote into a project."""
    try:
        return msgspec.json.decode((folder / RECORD).read_bytes(), type=ProjectRecord)
    except FileNotFoundError as error:
        reason = f"this folder has no {RECORD}; `slipway new` writes projects"
        raise SlipwayError(reason) from error
    except (OSError, msgspec.DecodeError) as error:
        raise SlipwayError(f"cannot read {RECORD}: {error}") from error


def _write_record(folder: Path, record: ProjectRecord) -> None:
    content = msgspec.json.format(msgspec.json.encode(record), indent=1)
    write_atomic(folder / RECORD, content + b"\n")
