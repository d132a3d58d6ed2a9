"""The pages: the form, the file upload, and the model."""

from __future__ import annotations

from flask import Blueprint

pages = Blueprint("pages", __name__)
