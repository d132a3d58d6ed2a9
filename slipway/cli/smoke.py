"""``flask smoke``: check a deployed service from outside."""

from __future__ import annotations

import click


@click.command()
@click.argument("url")
@click.option("--version", default="", help="The model version that must answer.")
@click.option("--image", default="", metavar="SHA", help="The git commit that must answer.")
@click.option("--host", default="", help="A Host to send in place of the address's own.")
@click.option("--wait", default=60.0, show_default=True, help="Seconds it may take to wake up.")
def smoke(url: str, version: str, image: str, host: str, wait: float) -> None:
    """Check a deployed service from outside.

    URL is where it is, with its path prefix. Where Slipway is not installed, python3 does the
    same: python3 -I slipway/monitoring/smoke.py URL.
    """
    # A service that starts does not need what this imports.
    from slipway.monitoring.smoke import smoke as run_smoke

    table, right = run_smoke(url, version=version, image=image, host=host, wait=wait)
    click.echo(table)
    if not right:
        raise click.exceptions.Exit(1)
