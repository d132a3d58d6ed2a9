"""``slipway new``: write a project of your own."""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import click

from slipway.cli.options import EXISTING, FOLDER, model_options, one_line_errors
from slipway.core.errors import SlipwayError

# Heroku's rule for the name of an app.
_NAME = re.compile(r"[a-z][a-z0-9-]{1,28}[a-z0-9]")
SETTING = "SLIPWAY_PICKLE_ALLOW"


@click.command()
@click.argument("folder", metavar="DIR", type=FOLDER)
@click.option("--model", type=click.Path(path_type=Path, exists=True), help="Fitted model.")
@model_options
@click.option("--notebook", "notebooks", type=EXISTING, multiple=True, help="Notebook to copy.")
def new(folder: Path, notebooks: tuple[Path, ...], **options: Any) -> None:
    """Write a project around a fitted model, ready to run, test and deploy.

    DIR is the folder to create; its name becomes the name of the app. Without --model the project
    has a starter notebook, which trains a first model.
    """
    # The other commands need neither templates nor scikit-learn.
    from slipway.cli.project_files import write_project

    name = folder.resolve().name
    _require_name(name)
    if folder.exists() and any(folder.iterdir()):
        raise click.ClickException(f"{folder} is not empty; choose another folder")
    if not any([*options.values(), *notebooks]) and is_terminal():
        options |= ask()
    with one_line_errors():
        draft = _draft_beside(folder)
        try:
            settings = _write_model(draft, name, options, notebooks)
            write_project(draft, name, options["title"] or _title(draft), settings)
            draft.rename(folder)
        except OSError as error:
            raise SlipwayError(f"cannot write {folder}: {error.strerror}") from error
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    click.echo(f"wrote {folder}\n\n  cd {folder}\n  make run\n  make test")


def is_terminal() -> bool:
    """Whether there is somebody to ask."""
    return sys.stdin.isatty()


def _require_name(name: str) -> None:
    """Reject a name that Heroku would not take."""
    if not _NAME.fullmatch(name):
        rule = "3 to 30 small letters, digits and dashes, with a letter first"
        raise click.ClickException(f"{name!r} cannot name an app: use {rule}")


def ask() -> dict[str, Any]:
    """Ask for the options on the terminal; an empty answer leaves one out."""
    model = click.prompt("Fitted model (empty for a starter notebook)", default="")
    if not model:
        return {"model": None}
    path = Path(model).expanduser()
    if not path.exists():
        raise click.ClickException(f"no such file: {path}")
    data = click.prompt("CSV file of training rows (empty for none)", default="")
    target = click.prompt("Column that the model predicts", default="") if data else ""
    title = click.prompt("Question that the model answers", default="")
    rows = Path(data).expanduser() if data else None
    return {"model": path, "data": rows, "target": target or None, "title": title or None}


def _draft_beside(folder: Path) -> Path:
    """Create a folder that becomes the project once it is complete."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent.resolve()))
        draft.chmod(0o755)
    except OSError as error:
        raise SlipwayError(f"cannot write {folder}: {error.strerror}") from error
    return draft


def _write_model(
    draft: Path, name: str, options: dict[str, Any], notebooks: tuple[Path, ...]
) -> dict[str, str]:
    """Write the model and its notebooks; return the settings that the model needs."""
    from slipway.models.artifacts import manifest_path
    from slipway.training.packaging.added_model import add_model

    (draft / "notebooks").mkdir()
    for notebook in notebooks:
        shutil.copy(notebook, draft / "notebooks")
    source: Path | None = options["model"]
    if source is None:
        from slipway.cli.starter import write_starter

        write_starter(draft)
        return {}
    if source.is_file() and manifest_path(source).exists() and not options["data"]:
        for file in source.parent.glob(f"{source.stem}.*"):
            shutil.copy(file, draft / f"model{file.suffix}")
        return {}
    given = {key: value for key, value in options.items() if key != "model"}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        add_model(source, draft / "model.pkl", name=name, **given)
    allowed = _allowed(caught)
    _copy_modules(allowed, source.parent, draft)
    return {SETTING: allowed} if allowed else {}


def _allowed(caught: list[warnings.WarningMessage]) -> str:
    """Return the setting that a model with its own code needs: given, or from the warning."""
    from slipway.training.packaging.start_check import CustomCodeWarning

    if os.environ.get(SETTING):
        return os.environ[SETTING]
    messages = (warning.message for warning in caught)
    return next((m.setting for m in messages if isinstance(m, CustomCodeWarning)), "")


def _copy_modules(allowed: str, source: Path, draft: Path) -> None:
    """Copy the modules beside the model that its pickle needs."""
    for entry in filter(None, allowed.split(",")):
        top = entry.partition(":")[0].partition(".")[0]
        if (source / f"{top}.py").is_file():
            shutil.copy(source / f"{top}.py", draft)
        elif (source / top).is_dir():
            shutil.copytree(source / top, draft / top, dirs_exist_ok=True)


def _title(draft: Path) -> str:
    """Return the title in the manifest."""
    from slipway.models.manifest import read_manifest

    return read_manifest(draft / "model.pkl").title
