"""The starter notebook of a project without a model."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

from slipway.core.errors import SlipwayError
from slipway.core.processes import child_environment

NOTEBOOK = Path(__file__).with_name("starter.ipynb")


def write_starter(folder: Path) -> None:
    """Copy the starter notebook into a project, and run its code, which writes the model.

    Parameters
    ----------
    folder : Path
        The project, with ``notebooks/``.

    Raises
    ------
    SlipwayError
        The code fails, for instance because scikit-learn is not installed.
    """
    notebooks = folder / "notebooks"
    shutil.copy(NOTEBOOK, notebooks / "train.ipynb")
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    done = subprocess.run(  # noqa: S603 - our own notebook
        [sys.executable, "-c", code],
        cwd=notebooks,
        env=child_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        reason = (done.stderr.strip() or "no message").splitlines()[-1]
        raise SlipwayError(
            f"the starter notebook failed: {reason}; pip install scikit-learn pandas"
        )
