"""The commands for the services of this machine: ``flask model reload|pin|unpin``."""

from __future__ import annotations

import click
from flask import current_app

from slipway.cli import registry as registry_cli  # noqa: F401 - its commands are in the same group
from slipway.cli.model import model
from slipway.core.errors import SlipwayError
from slipway.core.settings import Settings
from slipway.serving.rollout.version_cache import VersionCache

__all__ = ["model"]


@model.command()
def reload() -> None:
    """Let the services of this machine ask the registry at once."""
    settings = _settings()
    references = [each for each in (settings.reference, settings.shadow) if each]
    if not references:
        raise click.ClickException("SLIPWAY_MODEL names no registry; restart the service instead")
    try:
        for reference in references:
            VersionCache(settings.cache, reference).request_reload()
    except OSError as error:
        raise click.ClickException(f"the cache cannot be written to: {error.strerror}") from error
    click.echo("asked")


@model.command()
@click.argument("version")
def pin(version: str) -> None:
    """Let the services of this machine stay with a version, whatever its registry says.

    It must be in the cache, where every version is that was served before; the registry is not
    asked.
    """
    from slipway.serving.rollout.startup import load_version

    cache = _cache()
    try:
        load_version(_settings(), cache, version)
        cache.pin(version)
    except SlipwayError as error:
        raise click.ClickException(error.message) from error
    click.echo(f"pinned to {version}; `flask model unpin` follows the registry again")


@model.command()
def unpin() -> None:
    """Let the services of this machine follow their registry again."""
    try:
        click.echo("unpinned" if _cache().unpin() else "nothing was pinned")
    except OSError as error:
        raise click.ClickException(f"the cache cannot be written to: {error.strerror}") from error


def _settings() -> Settings:
    settings: Settings = current_app.extensions["slipway_settings"]
    return settings


def _cache() -> VersionCache:
    settings = _settings()
    if settings.reference is None or settings.reference.is_fixed:
        raise click.ClickException("SLIPWAY_MODEL names no alias of a registry")
    return VersionCache(settings.cache, settings.reference)
