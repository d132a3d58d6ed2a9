"""The folder of the report templates."""

from pathlib import Path

TEMPLATES = Path(__file__).with_name("templates")
