"""Options and parameters that several commands share."""

from __future__ import annotations

import getpass
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec
from flask import current_app

from slipway.core.errors import SlipwayError
from slipway.core.settings import Settings

if TYPE_CHECKING:
    from slipway.registry import Registry

Command = Callable[..., Any]
FOLDER = click.Path(path_type=Path, file_okay=False)
FILE = click.Path(path_type=Path, dir_okay=False)
EXISTING = click.Path(path_type=Path, dir_okay=False, exists=True)


class Size(click.ParamType[int]):
    """A size in memory, such as 1GiB."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Parse a size."""
        from slipway.training.engines.selection import parse_size

        try:
            return parse_size(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


registry_option = click.option(
    "--registry",
    "url",
    envvar="SLIPWAY_REGISTRY",
    help="Registry: a folder, or s3://bucket/prefix, gs:// or az://.  [default: models/]",
)
alias_option = click.option(
    "--alias", default="production", show_default=True, help="Alias to read or move."
)
who_option = click.option(
    "--who", envvar="SLIPWAY_WHO", help="Name recorded in the alias history.  [default: you]"
)
why_option = click.option("--why", default="", help="Reason recorded in the alias history.")
as_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
pickle_option = click.option(
    "--pickle", is_flag=True, help="Open the pickle as well where the scorecard serves."
)
source_option = click.option(
    "--source",
    envvar="SLIPWAY_SOURCE",
    help="Tables: a folder, or the URL of a bucket, a database, MongoDB, Hive or Spark. Write a "
    "password as ${NAME}, which is read from the environment.  [default: the problem's own]",
)
rows_option = click.option(
    "--rows", type=FOLDER, help="Folder of the dataset.  [default: data/ and the problem's name]"
)
since_option = click.option(
    "--since",
    help="Re-read rows from this watermark; 'last' continues after the previous run.",
)
engine_option = click.option(
    "--engine",
    type=click.Choice(["auto", "memory", "chunks", "spark"]),
    default="auto",
    show_default=True,
    help="Engine that fits the pipeline; spark uses the master in SLIPWAY_SPARK.",
)
memory_option = click.option(
    "--memory", type=Size(), help="Memory to use, such as 1GiB.  [default: what is free]"
)


def model_options(command: Command) -> Command:
    """Add the options that describe a fitted model and its training rows."""
    for option in reversed(
        (
            click.option("--data", type=EXISTING, help="CSV file of training rows."),
            click.option("--target", help="Column of --data that the model predicts."),
            click.option(
                "--features", help="Columns of the fit in their order, separated by commas."
            ),
            click.option("--drop", help="Columns of --data to leave out, separated by commas."),
            click.option("--title", help="Question that the model answers, for the pages."),
            click.option(
                "--positive-class", "positive", help="Class whose probability is returned."
            ),
        )
    ):
        command = option(command)
    return command


class Stages:
    """Print each stage as it begins, with the seconds since the start."""

    def __init__(self) -> None:
        self.started = time.perf_counter()

    def __call__(self, stage: str) -> None:
        """Print one stage."""
        click.echo(f"[{time.perf_counter() - self.started:5.1f} s] {stage}")


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn an error into one line and exit status 1."""
    try:
        yield
    except SlipwayError as error:
        # The message of a library within it can have several lines.
        raise click.ClickException(" ".join(error.message.split())) from error


def settings() -> Settings:
    """Return the settings of the project."""
    found: Settings = current_app.extensions["slipway_settings"]
    return found


def registry_url(url: str | None) -> str:
    """Return the URL of the registry; by default the folder ``models`` of the project."""
    return url or str(Path(current_app.root_path) / "models")


def registry_at(url: str | None) -> Registry:
    """Open the registry of a command."""
    # Only the commands that need a registry load the clients of buckets.
    from slipway.registry import open_registry

    return open_registry(registry_url(url))


def mover(who: str | None) -> str:
    """Return the name recorded for a move; a process can belong to a user without a name."""
    try:
        return who or getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def commit() -> str:
    """Return the git commit of the project, with a plus where files have changed since."""
    git = ["git", "-C", current_app.root_path]
    try:
        head = subprocess.check_output([*git, "rev-parse", "HEAD"], text=True, stderr=-3)  # noqa: S603
        changed = subprocess.check_output([*git, "status", "--porcelain"], text=True, stderr=-3)  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        return os.environ.get("SOURCE_VERSION", "")
    return head.strip() + ("+" if changed.strip() else "")


def command_name() -> str:
    """Return the command as a user types it; ``python -m flask`` is ``flask``."""
    return click.get_current_context().command_path.removeprefix("python -m ")


def json_text(content: object) -> str:
    """Write JSON with indentation."""
    return msgspec.json.format(msgspec.json.encode(content), indent=2).decode()
