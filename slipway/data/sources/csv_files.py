"""Prepare delimited text files for DuckDB, and explain why a file cannot be read."""

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
# The first bytes of other formats, and what to do with such a file.
OTHER_FORMATS = {
    b"PK\x03\x04": "is a zip archive or an Excel workbook; unpack it, or save it as CSV UTF-8",
    b"PAR1": "is a Parquet file; name it .parquet",
    b"SQLite format 3": "is a SQLite database; use --source sqlite:///FILE",
    b"\xd0\xcf\x11\xe0": "is an old Excel workbook; save it as CSV UTF-8",
    ZSTD: "is compressed with zstd; name it .zst",
}
DELIMITERS = ",;\t|"


def prepare_csv(file: Path, scratch: Path) -> Path:
    """Return a version of a text file that DuckDB can read.

    Convert UTF-16 to UTF-8, drop Excel's first line ``sep=;``, and detect gzip by its first bytes.
    Return any other file unchanged.

    Parameters
    ----------
    file : Path
    scratch : Path
        The folder for a copy.

    Returns
    -------
    Path

    Raises
    ------
    SlipwayError
        The file is empty or not text.
    """
    with file.open("rb") as opened:
        first = opened.read(64)
    if not first:
        raise SlipwayError(f"{file} is empty")
    if first.startswith(GZIP):
        return file if file.suffix == ".gz" else _copy(file, scratch, suffix=".gz")
    for start, fix in OTHER_FORMATS.items():
        if first.startswith(start) and file.suffix != ".zst":
            raise SlipwayError(f"{file} {fix}")
    encoding = next((name for bom, name in UTF_16.items() if first.startswith(bom)), "utf-8-sig")
    line = first.decode(encoding, "replace").splitlines()[0].lower()
    if encoding == "utf-8-sig" and not line.startswith("sep="):
        return file
    return _rewrite(file, scratch, encoding, drop=line.startswith("sep="))


def _copy(file: Path, scratch: Path, suffix: str) -> Path:
    """Copy a file to a name with another suffix."""
    copy = _scratch_file(file, scratch, suffix)
    shutil.copyfile(file, copy)
    return copy


def _rewrite(file: Path, scratch: Path, encoding: str, *, drop: bool) -> Path:
    """Convert a text file to UTF-8; optionally drop its first line."""
    copy = _scratch_file(file, scratch, file.suffix)
    with (
        file.open(encoding=encoding, errors="surrogateescape", newline="") as source,
        copy.open("w", encoding="utf-8", errors="surrogateescape", newline="") as target,
    ):
        if drop:
            source.readline()
        while block := source.read(BLOCK):
            target.write(block)
    return copy


def _scratch_file(file: Path, scratch: Path, suffix: str) -> Path:
    """Return an unused path in the scratch folder."""
    folder = scratch / "ready"
    folder.mkdir(exist_ok=True)
    return folder / f"{len([*folder.iterdir()])}-{file.stem}{suffix}"


def diagnose(files: Sequence[Path]) -> str | None:
    """Return an error message if the encoding or the row lengths of a file are wrong.

    Parameters
    ----------
    files : sequence of Path

    Returns
    -------
    str, optional
    """
    for file in files:
        try:
            skip = file.suffix == ".zst"
            reason = None if skip else _find_encoding_error(file) or _find_ragged_row(file)
        except (OSError, EOFError, zlib.error):
            reason = None
        if reason:
            return reason
    return None


def _find_encoding_error(file: Path) -> str | None:
    """Return an error message for the first line that is not UTF-8."""
    with _open_binary(file) as lines:
        for number, line in enumerate(lines, 1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                if b"\0" in _read_start(file):
                    return f"cannot read {file} as text: line {number} has binary data"
                around = line[max(0, error.start - 12) : error.start + 12]
                text = around.decode("cp1252", "replace").strip()
                return (
                    f"{file} is not UTF-8: line {number} has {text!r} in Latin-1 or Windows-1252;"
                    f" save it as CSV UTF-8, or run: iconv -f WINDOWS-1252 -t UTF-8 {file.name}"
                )
    return None


def _read_start(file: Path) -> bytes:
    """Return the first bytes of a file."""
    with _open_binary(file) as opened:
        return opened.read(BLOCK)


def _find_ragged_row(file: Path) -> str | None:
    """Return an error message for the first row that is longer or shorter than the header."""
    with _open_binary(file) as lines:
        texts = (line.decode("utf-8", "replace").replace("\0", "") for line in lines)
        header = next(texts, "")
        delimiter = max(DELIMITERS, key=header.count)
        width = len(next(csv.reader([header], delimiter=delimiter), []))
        rows = csv.reader(texts, delimiter=delimiter)
        try:
            for row in rows:
                if row and len(row) != width:
                    number = rows.line_num + 1
                    return f"{file}: line {number} has {len(row)} cells, but the header has {width}"
        except csv.Error as error:
            return f"{file}: line {rows.line_num + 1}: {error}"
    return None


def _open_binary(file: Path) -> IO[bytes]:
    """Open a file, decompressed, for reading bytes."""
    if file.suffix == ".gz":
        return cast(IO[bytes], gzip.open(file, "rb"))
    return file.open("rb")


def is_misread(names: Sequence[str]) -> bool:
    """Return whether column names show that the header was not found or not split."""
    if len(names) == 1 and any(mark in names[0] for mark in DELIMITERS):
        return True
    return all(name == f"column{i}" for i, name in enumerate(names))
