"""The folder of the report's templates."""

from pathlib import Path

TEMPLATES = Path(__file__).with_name("templates")
