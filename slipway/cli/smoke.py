"""``slipway smoke``: check a deployed service from outside."""

from __future__ import annotations

import click


@click.command()
@click.argument("url")
@click.option("--version", default="", help="Model version that must be served.")
@click.option("--image", default="", metavar="SHA", help="Git commit that must be served.")
@click.option("--host", default="", help="Host header to send.  [default: that of URL]")
@click.option("--wait", default=60.0, show_default=True, help="Seconds to wait for the start.")
def smoke(url: str, version: str, image: str, host: str, wait: float) -> None:
    """Check a deployed service from outside.

    URL is the address of the service, with its path prefix. Without Slipway, the file
    slipway/monitoring/smoke.py does the same: python3 -I smoke.py URL.
    """
    # The other commands do not need what this imports.
    from slipway.monitoring.smoke import smoke as run_smoke

    table, passed = run_smoke(url, version=version, image=image, host=host, wait=wait)
    click.echo(table)
    if not passed:
        raise click.exceptions.Exit(1)
