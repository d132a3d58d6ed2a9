"""The commands for the services of this machine: ``slipway model reload|pin|unpin``."""

from __future__ import annotations

import click

from slipway.cli.model import model
from slipway.cli.options import one_line_errors, settings
from slipway.serving.rollout.version_cache import VersionCache


@model.command()
def reload() -> None:
    """Make the services of this machine poll the registry now."""
    references = [found for found in (settings().reference, settings().shadow) if found]
    if not references:
        raise click.ClickException("SLIPWAY_MODEL names no registry; restart the service instead")
    try:
        for reference in references:
            VersionCache(settings().cache, reference).request_reload()
    except OSError as error:
        raise click.ClickException(f"cannot write to the cache: {error.strerror}") from error
    click.echo("requested")


@model.command()
@click.argument("version")
def pin(version: str) -> None:
    """Keep the services of this machine on one version, even if its alias moves.

    The version must be in the cache, which holds every version that was served before. The
    registry is not polled.
    """
    from slipway.serving.rollout.startup import load_version

    with one_line_errors():
        cache = _cache()
        load_version(settings(), cache, version)
        cache.pin(version)
    click.echo(f"pinned to {version}; `slipway model unpin` follows the registry again")


@model.command()
def unpin() -> None:
    """Make the services of this machine follow their registry again."""
    try:
        click.echo("unpinned" if _cache().unpin() else "nothing was pinned")
    except OSError as error:
        raise click.ClickException(f"cannot write to the cache: {error.strerror}") from error


def _cache() -> VersionCache:
    """Open the cache of the served alias."""
    reference = settings().reference
    if reference is None or reference.is_fixed:
        raise click.ClickException("SLIPWAY_MODEL names no alias of a registry")
    return VersionCache(settings().cache, reference)
