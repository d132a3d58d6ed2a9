"""Delimited text as people's programs write it, made ready for DuckDB and diagnosed for people."""

from __future__ import annotations

import codecs
import csv
import gzip
import shutil
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO, cast

from slipway.core.errors import SlipwayError

BLOCK = 1 << 20
UTF_16 = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
GZIP, ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
# The first bytes of what is not text, and what to do with it.
FOREIGN = {
    b"PK\x03\x04": "is a zip archive or an Excel workbook; unpack it, or save it as CSV UTF-8",
    b"PAR1": "is a Parquet file; name it .parquet",
    b"SQLite format 3": "is a SQLite database; give --source sqlite:///FILE",
    b"\xd0\xcf\x11\xe0": "is an old Excel workbook; save it as CSV UTF-8",
    ZSTD: "is compressed with zstd; name it .zst",
}
DELIMITERS = ",;\t|"


def ready(file: Path, scratch: Path) -> Path:
    """Return a file that DuckDB can read in place of one that people's programs wrote.

    UTF-16 becomes UTF-8, the line ``sep=;`` that Excel understands goes, and gzip is recognised
    by its first bytes. Any other file is returned as it is.

    Parameters
    ----------
    file : Path
    scratch : Path
        A folder for the copy.

    Returns
    -------
    Path

    Raises
    ------
    SlipwayError
        The file is empty, or is not text.
    """
    with file.open("rb") as opened:
        first = opened.read(64)
    if not first:
        raise SlipwayError(f"{file} is empty")
    if first.startswith(GZIP):
        return file if file.suffix == ".gz" else _copied(file, scratch, suffix=".gz")
    for start, fix in FOREIGN.items():
        if first.startswith(start) and file.suffix != ".zst":
            raise SlipwayError(f"{file} {fix}")
    encoding = next((name for bom, name in UTF_16.items() if first.startswith(bom)), "utf-8-sig")
    line = first.decode(encoding, "replace").splitlines()[0].lower()
    if encoding == "utf-8-sig" and not line.startswith("sep="):
        return file
    return _rewritten(file, scratch, encoding, drop=line.startswith("sep="))


def _copied(file: Path, scratch: Path, suffix: str) -> Path:
    """Copy a file under a name that says what it is."""
    copy = _place(file, scratch, suffix)
    shutil.copyfile(file, copy)
    return copy


def _rewritten(file: Path, scratch: Path, encoding: str, *, drop: bool) -> Path:
    """Write a text file as UTF-8, without its first line if that is to be dropped."""
    copy = _place(file, scratch, file.suffix)
    with (
        file.open(encoding=encoding, errors="surrogateescape", newline="") as given,
        copy.open("w", encoding="utf-8", errors="surrogateescape", newline="") as written,
    ):
        if drop:
            given.readline()
        while block := given.read(BLOCK):
            written.write(block)
    return copy


def _place(file: Path, scratch: Path, suffix: str) -> Path:
    """Return a new name in the scratch folder."""
    folder = scratch / "ready"
    folder.mkdir(exist_ok=True)
    return folder / f"{len([*folder.iterdir()])}-{file.stem}{suffix}"


def diagnosis(files: Sequence[Path]) -> str | None:
    """Say why files cannot be read as delimited text, if it is their encoding or their rows.

    Parameters
    ----------
    files : sequence of Path

    Returns
    -------
    str, optional
    """
    for file in files:
        try:
            found = None if file.suffix == ".zst" else _wrong_encoding(file) or _ragged(file)
        except (OSError, EOFError, zlib.error):
            found = None
        if found:
            return found
    return None


def _wrong_encoding(file: Path) -> str | None:
    """Name the first line that is not UTF-8, as Windows-1252 would read it."""
    with _opened(file) as lines:
        for number, line in enumerate(lines, 1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                if b"\0" in _beginning(file):
                    return f"{file} cannot be read as text: line {number} holds other bytes"
                around = line[max(0, error.start - 12) : error.start + 12]
                text = around.decode("cp1252", "replace").strip()
                return (
                    f"{file} is not UTF-8: line {number} holds {text!r} in Latin-1 or Windows-1252;"
                    f" save it as CSV UTF-8, or run: iconv -f WINDOWS-1252 -t UTF-8 {file.name}"
                )
    return None


def _beginning(file: Path) -> bytes:
    """Return the first bytes of a file."""
    with _opened(file) as opened:
        return opened.read(BLOCK)


def _ragged(file: Path) -> str | None:
    """Name the first row whose number of cells is not that of the header."""
    with _opened(file) as lines:
        texts = (line.decode("utf-8", "replace").replace("\0", "") for line in lines)
        header = next(texts, "")
        delimiter = max(DELIMITERS, key=header.count)
        width = len(next(csv.reader([header], delimiter=delimiter), []))
        rows = csv.reader(texts, delimiter=delimiter)
        try:
            for row in rows:
                if row and len(row) != width:
                    number = rows.line_num + 1
                    return f"{file}: line {number} has {len(row)} cells, and the header has {width}"
        except csv.Error as error:
            return f"{file}: line {rows.line_num + 1}: {error}"
    return None


def _opened(file: Path) -> IO[bytes]:
    """Open a file as lines of bytes."""
    if file.suffix == ".gz":
        return cast(IO[bytes], gzip.open(file, "rb"))
    return file.open("rb")


def is_misread(names: Sequence[str]) -> bool:
    """Whether columns look as if the header was not found, or not parted."""
    if len(names) == 1 and any(mark in names[0] for mark in DELIMITERS):
        return True
    return all(name == f"column{i}" for i, name in enumerate(names))
