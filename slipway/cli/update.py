"""``slipway update``: bring a project up to the installed version."""

from __future__ import annotations

from pathlib import Path

import click

from slipway.cli.options import as_json_option, json_text, one_line_errors


@click.command()
@as_json_option
def update(as_json: bool) -> None:
    """Bring the files that Slipway wrote into this project up to the installed version.

    Files that you have not touched are replaced. Changed files are merged; where a merge
    conflicts, the new file goes beside yours with the suffix .new, and the exit status is 1.
    """
    from slipway.cli.project_files import update_project

    with one_line_errors():
        changes = update_project(Path.cwd())
    if as_json:
        click.echo(json_text([{"change": change, "path": path} for change, path in changes]))
    for change, path in [] if as_json else changes:
        click.echo(f"{change:8} {path}{'.new beside yours' if change == 'conflict' else ''}")
    if not changes and not as_json:
        click.echo("nothing to update")
    if any(change == "conflict" for change, _ in changes):
        raise click.exceptions.Exit(1)
