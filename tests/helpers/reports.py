"""A handmade learning curve, the shipped model with a report, and a parser of pages."""

import shutil
from html.parser import HTMLParser

import msgspec
from conftest import ROOT

from slipway.models.manifest import LearningCurve, LearningPoint, read_manifest, write_manifest
from slipway.reports.html import write_report

POINTS = (
    LearningPoint(300, 3, 0.58, 0.64, 0.02, 0.018),
    LearningPoint(3_000, 3, 0.66, 0.55, 0.01, 0.008),
    LearningPoint(30_000, 3, 0.72, 0.493, 0.001, 0.0004),
    LearningPoint(260_000, 1, 0.73, 0.4915),
)
CURVE = LearningCurve(
    points=POINTS,
    rows_test=50_000,
    recommended=30_000,
    tolerance=0.002,
    rule="the smallest sample whose mean log loss is within 0.002 of the best",
    left_out={"100": "one class only"},
)


class ParsedPage(HTMLParser):
    """The tags and the text of a page, without styles."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.words, self.open = [], [], []
        self.feed(text)
        self.text = " ".join("".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.open.append(tag)

    def handle_endtag(self, tag):
        # Skip tags that are never closed, such as meta.
        while self.open.pop() != tag:
            pass
        self.words.append("" if tag in ("strong", "code") else " ")

    def handle_data(self, data):
        self.words += [] if "style" in self.open else [data]


def ids(page):
    return {attrs["id"] for _, attrs in page.tags if "id" in attrs}


def write_shipped(folder):
    """Copy the shipped model with a learning curve and a report; return path and manifest."""
    for name in ("model.pkl", "model.json", "model.covariance"):
        shutil.copy(ROOT / name, folder / name)
    path = folder / "model.pkl"
    manifest = read_manifest(path)
    training = msgspec.structs.replace(manifest.training, learning_curve=CURVE)
    manifest = msgspec.structs.replace(manifest, training=training)
    write_manifest(manifest, path)
    write_report(manifest, path)
    return path, manifest
