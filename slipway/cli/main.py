"""The ``slipway`` command."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click
from flask import Flask
from flask.cli import ScriptInfo

from slipway.cli import COMMANDS
from slipway.cli.completion import completion
from slipway.cli.new import new
from slipway.cli.serve import serve
from slipway.cli.update import update
from slipway.core.project_settings import read_settings
from slipway.core.version import __version__

EPILOG = "Exit status: 0 success, 1 an error in one line, 2 a wrong command line, 3 not promoted."


def command_app() -> Flask:
    """Return the application context of the commands: settings, and this folder.

    Raises
    ------
    ClickException
        An environment variable has a value that cannot be used.
    """
    root = Path.cwd()
    app = Flask("slipway", root_path=str(root))
    try:
        app.extensions["slipway_settings"] = read_settings(root)
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    return app


class CommandGroup(click.Group):
    """Commands whose missing packages are named in one line."""

    def invoke(self, ctx: click.Context) -> object:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except ModuleNotFoundError as error:
            raise click.ClickException(missing_package(error)) from error


def missing_package(error: ModuleNotFoundError) -> str:
    """Write what to install, where a command needs a package that is not there."""
    module = (error.name or "").partition(".")[0]
    package = {"sklearn": "scikit-learn"}.get(module, module)
    if package in ("scikit-learn", "pandas", "numpy"):
        return f"{package} is not installed; pip install scikit-learn pandas"
    return f"this command needs {package}; pip install 'slipway-ml[train]'"


@click.group(
    cls=CommandGroup, context_settings={"help_option_names": ["-h", "--help"]}, epilog=EPILOG
)
@click.version_option(__version__, prog_name="slipway")
@click.pass_context
def main(context: click.Context) -> None:
    """Serve a fitted scikit-learn model, and ship, watch and retrain it.

    Start with: slipway serve model.pkl
    """
    # A problem and steps of your own are modules of this folder.
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    context.obj = ScriptInfo(create_app=command_app, set_debug_flag=False)


for _command in (serve, new, *COMMANDS, update, completion):
    main.add_command(_command)
