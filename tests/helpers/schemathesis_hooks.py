"""Hooks that Schemathesis needs beyond the OpenAPI document: CSV files and drop-downs."""

import os
from pathlib import Path
from typing import Any

import schemathesis
from hypothesis import strategies as st

from slipway.models.manifest import read_manifest

model = os.environ.get("SLIPWAY_MODEL") or Path(__file__).parents[2] / "model.pkl"
signature = read_manifest(Path(model)).signature
header = ",".join(signature.names).encode()
files = st.lists(st.binary(max_size=60), max_size=4).map(lambda rows: b"\n".join([header, *rows]))

schemathesis.openapi.media_type("text/csv", files)
schemathesis.openapi.format("binary", files)


@schemathesis.hook
def filter_case(context: Any, case: Any) -> bool:
    """Skip forms whose only fault is a category that the drop-down does not list.

    The document lists the known categories so that /apidocs shows a drop-down. The service accepts
    any other text with a warning, as the description says.
    """
    if case.media_type != "application/x-www-form-urlencoded" or not isinstance(case.body, dict):
        return True
    texts = {str(name): str(value) for name, value in case.body.items()}
    _, errors, warnings = signature.check_text(texts)
    return bool(errors) or not warnings
