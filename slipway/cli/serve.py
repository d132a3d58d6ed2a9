"""``slipway serve``: serve a model of this machine."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from typing import Any

import click

from slipway.cli.options import model_options, one_line_errors

CACHE = "SLIPWAY_CACHE"


@click.command()
@click.argument("model")
@model_options
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8000, envvar="PORT", show_default=True, help="Port to listen on.")
@click.option(
    "--workers", default=4, envvar="WEB_CONCURRENCY", show_default=True, help="Worker processes."
)
@click.option("--reload", is_flag=True, help="Serve the file again whenever it changes.")
def serve(model: str, host: str, port: int, workers: int, reload: bool, **options: Any) -> None:
    """Serve a fitted model: pages, JSON API and CSV files.

    MODEL is a file of pickle, joblib or skops, an MLflow model folder, a model.pkl with its
    manifest, or a version or alias of a registry, such as s3://bucket/models@production.
    """
    from slipway.serving.local_model import prepare_model

    _require_free_port(host, port)
    with one_line_errors():
        prepared = prepare_model(model, _cache() / "served", {"name": Path(model).stem, **options})
    if reload and prepared.manifest is None:
        raise click.ClickException("--reload follows a file; an alias is followed without it")
    for line in _summary(prepared):
        click.echo(line)
    url = f"http://{host}:{port}"
    click.echo(f"serving on {url}  (API: {url}/apidocs/, stop with Ctrl+C)")
    command = [
        *(sys.executable, "-m", "gunicorn", "--config=python:slipway.web.gunicorn_settings"),
        *(f"--bind={host}:{port}", f"--workers={workers}", "slipway.cli.served_app:app"),
    ]
    environ = _environ(model, prepared.setting)
    if not reload:
        sys.stdout.flush()
        os.execve(command[0], command, environ)  # noqa: S606 - our own command
    from slipway.cli.reload import serve_and_reload

    status = serve_and_reload(command, environ, model, options, Path(prepared.setting))
    raise click.exceptions.Exit(status)


def _summary(prepared: Any) -> list[str]:
    """Describe a model in a few lines."""
    from slipway.reports.model_summary import summary_lines

    if prepared.manifest is None:
        return [f"model: {prepared.setting}"]
    return [*summary_lines(prepared.manifest), *prepared.notes]


def _require_free_port(host: str, port: int) -> None:
    """Reject a port that another process listens on."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            reason = f"cannot listen on {host}:{port}: {error.strerror}"
            raise click.ClickException(f"{reason}; choose another --port") from error


def _cache() -> Path:
    """Return the folder for prepared models: SLIPWAY_CACHE, or that of the user."""
    if CACHE in os.environ:
        return Path(os.environ[CACHE])
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "slipway"


def _environ(model: str, setting: str) -> dict[str, str]:
    """Return the environment of the service; modules beside the model can be imported."""
    folder = str(Path(model).resolve().parent)
    paths = [os.environ.get("PYTHONPATH", ""), os.getcwd(), folder]
    environ = {**os.environ, "SLIPWAY_MODEL": setting}
    environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    return environ
