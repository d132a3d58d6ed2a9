"""docs/serve.md and docs/projects.md: their commands and options exist."""

import re
import shlex

import pytest
from conftest import ROOT

from slipway.cli.main import main

PAGES = {name: (ROOT / "docs" / f"{name}.md").read_text() for name in ("serve", "projects")}
BLOCKS = [
    line
    for page in PAGES.values()
    for block in re.findall(r"^```sh\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    for line in block.splitlines()
]


@pytest.mark.parametrize("line", [line for line in BLOCKS if line.startswith("slipway")])
def test_page_commands_are_those_of_the_readme(line):
    # tests/docs/test_readme.py runs them.
    assert line in (ROOT / "README.md").read_text()
    name, *words = shlex.split(line)[1:]
    options = {option for parameter in main.commands[name].params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= options


@pytest.mark.parametrize("name", ["serve", "new", "update"])
def test_page_options_are_those_of_the_command(name):
    page = PAGES["serve" if name == "serve" else "projects"]
    known = {o for command in main.commands.values() for p in command.params for o in p.opts}
    assert set(re.findall(r"`(--[a-z-]+)", page)) <= known | {"--help"}


def test_page_make_targets_are_those_of_a_project():
    makefile = (ROOT / "slipway/cli/project_template/Makefile").read_text()
    targets = re.findall(r"^(\w+):", makefile, re.MULTILINE)
    made = [line.split()[1] for line in BLOCKS if line.startswith("make")]
    assert made
    assert set(made) <= set(targets)


def test_page_files_are_those_of_a_project():
    template = ROOT / "slipway/cli/project_template"
    for name in re.findall(r"^\| `([\w./-]+)`", PAGES["projects"], re.MULTILINE):
        if name.startswith("model."):
            continue
        place = template / name.replace(".github", "dot_github")
        assert place.exists() or place.with_name(f"{place.name}.jinja").exists(), name
