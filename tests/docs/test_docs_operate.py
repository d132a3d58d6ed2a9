"""Tests of the pages on operating and rolling back: commands, scripts and paths exist."""

import re
import subprocess

import click
from conftest import ROOT
from doc_pages import read_pages

PAGE = read_pages("operate", "rollback")


def test_operate_page_flask_commands_exist(app):
    named = set(re.findall(r"flask ((?:model )?[a-z]+)", PAGE))
    assert named >= {"smoke", "model rollback", "model pin", "model unpin", "model reload"}
    for words in named:
        command = app.cli
        for word in words.split():
            command = command.get_command(click.Context(command), word)
            assert command, words


def test_operate_page_script_arguments_exist():
    usage = subprocess.run(
        [ROOT / "deploy/box.sh"], capture_output=True, text=True, check=False
    ).stderr
    words = set(re.findall(r"`deploy/box\.sh ([a-z]+)", PAGE))
    assert (
        words
        == {"deploy", "rollback", "revoke", "status", "logs"}
        == set(re.findall(r"box\.sh ([a-z]+)", usage))
    )
    for script in re.findall(r"deploy/[a-z/]+\.sh", PAGE):
        assert (ROOT / script).exists(), script


def test_operate_page_paths_exist_in_script_and_proxy():
    script = (ROOT / "deploy/box.sh").read_text()
    proxy = (ROOT / "deploy/nginx/slipway.conf").read_text()
    for path in ("/etc/slipway/env", "/etc/slipway/box", "slipway-cache", "SLIPWAY_BOX_MEMORY"):
        assert path in PAGE
        assert path in script
    assert "/var/log/nginx/slipway.log" in proxy


def test_operate_page_smoke_table_equals_the_output(service):
    from slipway.monitoring.smoke import smoke

    example = re.search(r"```\n(https://late.*?)\n```", PAGE, re.DOTALL)[1].splitlines()
    printed = smoke(service)[0].splitlines()
    assert [line.split()[:2] for line in example[1:-1]] == [
        line.split()[:2] for line in printed[1:-1]
    ]
