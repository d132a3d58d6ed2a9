"""Tests of the documentation site: navigation and links."""

import importlib.util
import re
import tomllib

import pytest
from conftest import ROOT

DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
HEADING = re.compile(r"^#{1,6} +(.+?) *#*$", re.MULTILINE)
INDEX_ITEM = re.compile(r"^- \[[^\]]+\]\(([\w-]+\.md)\): .+\.$", re.MULTILINE)
spec = importlib.util.spec_from_file_location("build_site", DOCS / "build_site.py")
site = importlib.util.module_from_spec(spec)
spec.loader.exec_module(site)


def nav_pages(entries):
    """Return the paths of the navigation in order."""
    pages = []
    for entry in entries:
        value = next(iter(entry.values())) if isinstance(entry, dict) else entry
        pages += nav_pages(value) if isinstance(value, list) else [value]
    return pages


def anchors(page):
    """Return the anchors of a page's headings in GitHub's form."""
    counts = {}
    for heading in HEADING.findall(site.FENCE.sub("", page.read_text(encoding="utf-8"))):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        name = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
        count = counts[name] = counts.get(name, -1) + 1
        if count:
            counts[f"{name}-{count}"] = 0
    return counts.keys()


def test_nav_every_page_is_listed_in_the_order_of_the_index():
    nav = nav_pages(tomllib.loads((ROOT / "zensical.toml").read_text())["project"]["nav"])
    index = INDEX_ITEM.findall((DOCS / "index.md").read_text(encoding="utf-8"))
    assert nav == ["README.md", "docs/index.md", *(f"docs/{name}" for name in index)]
    assert sorted(index) == [page.name for page in PAGES if page.name != "index.md"]


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=lambda page: page.name)
def test_link_relative_target_and_anchor_exist(page):
    broken = []
    for target, anchor in site.links(page):
        name = f"{target.relative_to(ROOT)}#{anchor}"
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(name)
    assert not broken


def test_linked_files_include_pages_and_files_outside_docs():
    files = site.linked_files()
    assert {*PAGES, ROOT / "README.md", ROOT / "benchmarks" / "README.md"} <= files


def test_links_in_code_are_ignored(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("[a](a.md#b) `[c](c.md)`\n\n```\n[d](d.md)\n```\n[e](https://e.example)\n")
    assert list(site.links(page)) == [(tmp_path / "a.md", "b")]


def test_anchors_of_headings_are_those_of_github(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# One\n\n## 5. The `box`\n\n## One\n\n```\n# no heading\n```\n")
    assert list(anchors(page)) == ["one", "5-the-box", "one-1"]
