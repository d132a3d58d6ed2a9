"""The commands for a registry of versions: ``flask model push|list|pull|promote|rollback|...``."""

from __future__ import annotations

import getpass
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec
from click.core import ParameterSource
from flask import current_app

from slipway.cli.model import model
from slipway.core.errors import SlipwayError
from slipway.core.settings import Settings
from slipway.core.text_tables import format_sections, format_table

if TYPE_CHECKING:
    from slipway.registry import Move, Registry, StoredVersion

FOLDER = click.Path(path_type=Path, file_okay=False)
at = click.option(
    "--registry",
    "url",
    envvar="SLIPWAY_REGISTRY",
    help="A folder, or s3://bucket/prefix, gs:// or az://.  [default: models/ of the project]",
)
alias_option = click.option("--alias", default="production", show_default=True)
who_option = click.option("--who", envvar="SLIPWAY_WHO", help="For the journal.  [default: you]")
why_option = click.option("--why", default="", help="For the journal.")
as_json_option = click.option("--json", "as_json", is_flag=True, help="As JSON.")
pickle_option = click.option(
    "--pickle", is_flag=True, help="Open the pickle and ask it too, where the scorecard answers."
)


@model.command()
@click.argument("path", type=click.Path(path_type=Path, dir_okay=False), required=False)
@at
@click.option("--alias", help="Let this alias stand for it, for instance candidate.")
@who_option
def push(path: Path | None, url: str | None, alias: str | None, who: str | None) -> None:
    """Put a version into the registry: a model.pkl with what stands beside it.

    PATH is the pickle; the default is the served one.
    """
    with one_line():
        registry, who = registry_at(url), mover(who)
        before = {each.version for each in registry.versions()}
        version = registry.push(path or _settings().model, who=who)
        click.echo(f"{version} {'is there already' if version in before else 'pushed'}")
        if alias:
            _tell(registry.move(alias, version, who=who, why="pushed"))


@model.command("list")
@at
@as_json_option
def list_(url: str | None, as_json: bool) -> None:
    """List the versions, the newest first."""
    with one_line():
        registry = registry_at(url)
        versions, aliases = registry.versions(), registry.aliases()
    if as_json:
        stored = [
            {**msgspec.to_builtins(each), "aliases": _aliases_of(each.version, aliases)}
            for each in versions
        ]
        click.echo(_json(stored), nl=False)
        return
    title = f"Versions in {_url(url)}"
    head = ("version", "rows", "of", "ROC AUC", "log loss", "kB", "is")
    lines = (
        format_table([head, *(_row(each, aliases) for each in versions)]) if versions else ["none"]
    )
    click.echo(format_sections({title: lines}), nl=False)


@model.command()
@click.argument("version")
@at
@click.option("--output", type=FOLDER, help="Where to put it.  [default: data/models]")
def pull(version: str, url: str | None, output: Path | None) -> None:
    """Copy a version from the registry; VERSION may be an alias, as @production."""
    with one_line():
        registry = registry_at(url)
        folder = output or Path(current_app.root_path) / "data" / "models"
        path = registry.fetch(registry.resolve(version), folder)
    click.echo(f"{path}")


@model.command()
@click.argument("version")
@at
@alias_option
@click.option("--from", "expected", help="Only if the alias stands for this version now.")
@why_option
@who_option
@pickle_option
def promote(
    version: str,
    url: str | None,
    alias: str,
    expected: str | None,
    why: str,
    who: str | None,
    pickle: bool,
) -> None:
    """Let an alias stand for a version, once its files, signature and answers are right.

    VERSION may be another alias, as @candidate.
    """
    with one_line():
        registry = registry_at(url)
        version = registry.resolve(version)
        before = registry.alias(alias)
        _check(registry, version, pickle)
        if before and before.version == version:
            click.echo(f"{alias} is {version} already")
            return
        # What it stood for before the check, because the check can take a while.
        now = expected or (before.version if before else None)
        _tell(registry.move(alias, version, who=mover(who), why=why, expected=now))


@model.command()
@at
@alias_option
@click.option("--to", help="Any version that it ever stood for.  [default: the one before]")
@why_option
@who_option
def rollback(url: str | None, alias: str, to: str | None, why: str, who: str | None) -> None:
    """Let an alias stand for an earlier version; twice goes further back."""
    with one_line():
        registry = registry_at(url)
        target = registry.rollback_target(alias, to)
        _check(registry, target, pickle=False)
        _tell(registry.rollback(alias, target, who=mover(who), why=why))


@model.command()
@at
@alias_option
@as_json_option
def history(url: str | None, alias: str, as_json: bool) -> None:
    """Print who moved an alias, when, from where to where, and why; the last move first."""
    with one_line():
        moves = registry_at(url).history(alias)[::-1]
    if as_json:
        click.echo(_json(msgspec.to_builtins(moves)), nl=False)
        return
    head = ("", "when", "to", "from", "by", "why")
    lines = format_table([head, *map(_entry, moves)]) if moves else ["it never stood for a version"]
    click.echo(format_sections({f"{alias} in {_url(url)}": lines}), nl=False)


@model.command()
@click.argument("version", required=False)
@click.option("--all", "every", is_flag=True, help="All versions.")
@at
@click.option(
    "--pickle",
    is_flag=True,
    help="Open the pickle and ask it too, where the scorecard answers. Without VERSION it is "
    "opened anyway, and must be with this option.",
)
def verify(version: str | None, every: bool, url: str | None, pickle: bool) -> None:
    """Check a version's files, signature and golden rows; VERSION may be an alias.

    Without VERSION it is what SLIPWAY_MODEL names, a file or a registry's, with its pickle, which
    is opened wherever scikit-learn is installed. A release runs this.
    """
    if every and version:
        raise click.UsageError("give a version, or --all, or neither for what SLIPWAY_MODEL names")
    if not every and not version:
        source = click.get_current_context().get_parameter_source("url")
        if source is ParameterSource.COMMANDLINE:
            raise click.UsageError("give a version, or --all, with --registry")
        _verify_served(pickle)
        return
    wrong = 0
    with one_line():
        registry = registry_at(url)
        names = _every(registry) if every else [registry.resolve(version or "")]
    for name in names:
        try:
            _check(registry, name, pickle)
            click.echo(f"{name} right")
        except SlipwayError as error:
            wrong += 1
            click.echo(f"{name} WRONG: {error.message}", err=True)
    if wrong:
        raise click.ClickException(f"{wrong} of {len(names)} cannot be used")


def _verify_served(pickle: bool) -> None:
    from slipway.serving.release_check import verify_served

    settings = _settings()
    with one_line():
        checks = verify_served(settings, need_pickle=pickle)
    meant = settings.reference or settings.model.name
    click.echo(format_sections({f"{meant} is right": format_table(checks)}), nl=False)


@model.command()
@at
@click.option("--keep", type=click.IntRange(min=1), required=True, help="How many stay.")
def prune(url: str | None, keep: int) -> None:
    """Remove all versions but the newest, and but those that an alias needs."""
    with one_line():
        gone = registry_at(url).prune(keep)
    for version in gone:
        click.echo(f"{version} removed")
    click.echo(f"{len(gone)} removed")


@contextmanager
def one_line() -> Iterator[None]:
    """Turn an error into one line and an exit status."""
    try:
        yield
    except SlipwayError as error:
        # What a library says within it may have several.
        raise click.ClickException(" ".join(error.message.split())) from error


def _settings() -> Settings:
    settings: Settings = current_app.extensions["slipway_settings"]
    return settings


def _url(url: str | None) -> str:
    return url or str(Path(current_app.root_path) / "models")


def registry_at(url: str | None) -> Registry:
    """Open the registry that a command speaks of; by default the project's own."""
    # What speaks to buckets is loaded by the commands that need it only.
    from slipway.registry import open_registry

    return open_registry(_url(url))


def mover(who: str | None) -> str:
    """Name the one who does it; a process can be of a user without a name."""
    try:
        return who or getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def _check(registry: Registry, version: str, pickle: bool) -> None:
    from slipway.registry.version_check import check_version

    skew = _settings().allow_version_skew
    check_version(registry, version, pickle=pickle, allow_version_skew=skew)


def _every(registry: Registry) -> list[str]:
    return [each.version for each in registry.versions()]


def _tell(move: Move) -> None:
    before = f", {move.before} before" if move.before else ""
    click.echo(f"{move.alias} is {move.version}{before}")


def _aliases_of(version: str, aliases: dict[str, str]) -> list[str]:
    return sorted(alias for alias, stands_for in aliases.items() if stands_for == version)


def _row(stored: StoredVersion, aliases: dict[str, str]) -> tuple[str, ...]:
    told = stored.trained
    scores = (told.roc_auc, told.log_loss)
    return (
        stored.version,
        f"{told.rows:,}",
        told.source,
        *("" if score is None else f"{score:.4f}" for score in scores),
        f"{stored.size / 1000:,.0f}",
        ", ".join(_aliases_of(stored.version, aliases)),
    )


def _entry(move: Move) -> tuple[str, ...]:
    number = f"{move.number}"
    return number, move.when[:19], move.version, move.before or "", move.who, move.why


def _json(told: object) -> str:
    return msgspec.json.format(msgspec.json.encode(told), indent=2).decode() + "\n"
