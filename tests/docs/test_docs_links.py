"""Links between the pages of the documentation."""

import pytest
from conftest import ROOT
from doc_pages import broken_links

PAGES = sorted(
    path for folder in (ROOT, ROOT / "docs", ROOT / "benchmarks") for path in folder.glob("*.md")
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_page_links_lead_to_files_and_headings(page):
    assert broken_links(page) == []
