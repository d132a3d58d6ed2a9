"""The commands for a registry: ``slipway model push|list|pull|promote|rollback|...``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec
from click.core import ParameterSource
from flask import current_app

from slipway.cli.model import model
from slipway.cli.options import (
    FOLDER,
    alias_option,
    as_json_option,
    json_text,
    mover,
    one_line_errors,
    pickle_option,
    registry_at,
    registry_option,
    registry_url,
    settings,
    who_option,
    why_option,
)
from slipway.core.errors import SlipwayError
from slipway.core.text_tables import format_sections, format_table

if TYPE_CHECKING:
    from slipway.registry import Move, Registry, StoredVersion


@model.command()
@click.argument("path", type=click.Path(path_type=Path, dir_okay=False), required=False)
@registry_option
@click.option("--alias", help="Alias to move to it, such as candidate.")
@who_option
def push(path: Path | None, url: str | None, alias: str | None, who: str | None) -> None:
    """Copy a version to the registry: a model.pkl with the files beside it.

    PATH is the pickle; the default is the served one.
    """
    with one_line_errors():
        registry, who = registry_at(url), mover(who)
        before = {stored.version for stored in registry.versions()}
        version = registry.push(path or settings().model, who=who)
        click.echo(f"{version} {'is there already' if version in before else 'pushed'}")
        if alias:
            _echo_move(registry.move(alias, version, who=who, why="pushed"))


@model.command("list")
@registry_option
@as_json_option
def list_(url: str | None, as_json: bool) -> None:
    """List the versions, the newest first."""
    with one_line_errors():
        registry = registry_at(url)
        versions, aliases = registry.versions(), registry.aliases()
    if as_json:
        stored = [
            {**msgspec.to_builtins(version), "aliases": _aliases_of(version.version, aliases)}
            for version in versions
        ]
        click.echo(json_text(stored))
        return
    title = f"Versions in {registry_url(url)}"
    head = ("version", "rows", "of", "ROC AUC", "log loss", "kB", "is")
    lines = (
        format_table([head, *(_row(version, aliases) for version in versions)])
        if versions
        else ["none"]
    )
    click.echo(format_sections({title: lines}), nl=False)


@model.command()
@click.argument("version")
@registry_option
@click.option("--output", type=FOLDER, help="Folder to write to.  [default: data/models]")
def pull(version: str, url: str | None, output: Path | None) -> None:
    """Copy a version from the registry; VERSION can be an alias, such as @production."""
    with one_line_errors():
        registry = registry_at(url)
        folder = output or Path(current_app.root_path) / "data" / "models"
        path = registry.fetch(registry.resolve(version), folder)
    click.echo(f"{path}")


@model.command()
@click.argument("version")
@registry_option
@alias_option
@click.option("--from", "expected", help="Move the alias only if it points to this version now.")
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
    """Point an alias to a version, after a check of its files, signature and golden rows.

    VERSION can be another alias, such as @candidate.
    """
    with one_line_errors():
        registry = registry_at(url)
        version = registry.resolve(version)
        before = registry.alias(alias)
        _check(registry, version, pickle)
        if before and before.version == version:
            click.echo(f"{alias} is {version} already")
            return
        # Read before the check, which can take a while.
        current = expected or (before.version if before else None)
        _echo_move(registry.move(alias, version, who=mover(who), why=why, expected=current))


@model.command()
@registry_option
@alias_option
@click.option("--to", help="An earlier version of the alias.  [default: the one before]")
@why_option
@who_option
def rollback(url: str | None, alias: str, to: str | None, why: str, who: str | None) -> None:
    """Point an alias to an earlier version; a second rollback goes further back."""
    with one_line_errors():
        registry = registry_at(url)
        target = registry.rollback_target(alias, to)
        _check(registry, target, pickle=False)
        _echo_move(registry.rollback(alias, target, who=mover(who), why=why))


@model.command()
@registry_option
@alias_option
@as_json_option
def history(url: str | None, alias: str, as_json: bool) -> None:
    """Print the moves of an alias, the last one first: when, from, to, by whom and why."""
    with one_line_errors():
        moves = registry_at(url).history(alias)[::-1]
    if as_json:
        click.echo(json_text(msgspec.to_builtins(moves)))
        return
    head = ("", "when", "to", "from", "by", "why")
    lines = (
        format_table([head, *map(_entry, moves)]) if moves else ["it never pointed to a version"]
    )
    click.echo(format_sections({f"{alias} in {registry_url(url)}": lines}), nl=False)


@model.command()
@click.argument("version", required=False)
@click.option("--all", "every", is_flag=True, help="Check all versions.")
@registry_option
@click.option(
    "--pickle",
    is_flag=True,
    help="Open the pickle as well where the scorecard serves. Without VERSION it is opened in any "
    "case where scikit-learn is installed; with this option it must be.",
)
def verify(version: str | None, every: bool, url: str | None, pickle: bool) -> None:
    """Check the files, signature and golden rows of a version; VERSION can be an alias.

    Without VERSION it checks the model that SLIPWAY_MODEL names, with its pickle where
    scikit-learn is installed. A release runs this.
    """
    if every and version:
        raise click.UsageError(
            "give a version or --all; neither checks the model that SLIPWAY_MODEL names"
        )
    if not every and not version:
        source = click.get_current_context().get_parameter_source("url")
        if source is ParameterSource.COMMANDLINE:
            raise click.UsageError("give a version, or --all, with --registry")
        _verify_served(pickle)
        return
    failures = 0
    with one_line_errors():
        registry = registry_at(url)
        if every:
            names = [stored.version for stored in registry.versions()]
        else:
            names = [registry.resolve(version or "")]
    for name in names:
        try:
            _check(registry, name, pickle)
            click.echo(f"{name} right")
        except SlipwayError as error:
            failures += 1
            click.echo(f"{name} WRONG: {error.message}", err=True)
    if failures:
        raise click.ClickException(f"{failures} of {len(names)} cannot be used")


def _verify_served(pickle: bool) -> None:
    """Check the served model."""
    from slipway.serving.release_check import verify_served

    with one_line_errors():
        checks = verify_served(settings(), need_pickle=pickle)
    served = settings().reference or settings().model.name
    click.echo(format_sections({f"{served} is right": format_table(checks)}), nl=False)


@model.command()
@registry_option
@click.option(
    "--keep", type=click.IntRange(min=1), required=True, help="Number of newest versions to keep."
)
def prune(url: str | None, keep: int) -> None:
    """Remove old versions, except those that an alias needs."""
    with one_line_errors():
        removed = registry_at(url).prune(keep)
    for version in removed:
        click.echo(f"{version} removed")
    click.echo(f"{len(removed)} removed")


def _check(registry: Registry, version: str, pickle: bool) -> None:
    """Check a version as a service would."""
    from slipway.registry.version_check import check_version

    skew = settings().allow_version_skew
    check_version(registry, version, pickle=pickle, allow_version_skew=skew)


def _echo_move(move: Move) -> None:
    """Print a move of an alias."""
    before = f", {move.before} before" if move.before else ""
    click.echo(f"{move.alias} is {move.version}{before}")


def _aliases_of(version: str, aliases: dict[str, str]) -> list[str]:
    """List the aliases of a version."""
    return sorted(alias for alias, target in aliases.items() if target == version)


def _row(stored: StoredVersion, aliases: dict[str, str]) -> tuple[str, ...]:
    """Write the line of a version in the list."""
    trained = stored.trained
    scores = (trained.roc_auc, trained.log_loss)
    return (
        stored.version,
        f"{trained.rows:,}",
        trained.source,
        *("" if score is None else f"{score:.4f}" for score in scores),
        f"{stored.size / 1000:,.0f}",
        ", ".join(_aliases_of(stored.version, aliases)),
    )


def _entry(move: Move) -> tuple[str, ...]:
    """Write the line of a move in the history."""
    number = f"{move.number}"
    return number, move.when[:19], move.version, move.before or "", move.who, move.why
