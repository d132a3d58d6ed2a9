"""Read an uploaded file as UTF-8: decompress gzip, and convert other encodings."""

from __future__ import annotations

import codecs
import gzip
import re
import zlib
from typing import Protocol

from slipway.core.errors import BadBody, TooLarge, WrongMediaType

CHUNK_BYTES = 2**20
_GZIP = b"\x1f\x8b"
_OTHER_FORMATS = {
    b"PK\x03\x04": "a ZIP archive or an Excel workbook (.xlsx)",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook (.xls)",
    b"PAR1": "a Parquet file",
    b"\x28\xb5\x2f\xfd": "compressed with zstd",
    b"BZh": "compressed with bzip2",
    b"\xfd7zXZ": "compressed with xz",
    b"%PDF": "a PDF",
}
# Encodings of spreadsheets and databases; this excludes codecs that are not text encodings.
_CHARSET = re.compile(
    r"utf-?8|us-ascii|ascii|utf-?16(le|be)?|(windows-|cp)125[0-8]|iso-8859-\d{1,2}|latin-?[19]"
    r"|macintosh|mac-roman|koi8-[ru]|shift[_-]jis|cp932|euc-jp|euc-kr|gbk|gb18030|big5"
)
_BYTE_ORDER_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class Readable(Protocol):
    """A binary file that can be read."""

    def read(self, size: int = -1, /) -> bytes:
        """Return up to ``size`` bytes, and empty bytes at the end."""


class RewindableUpload(Readable, Protocol):
    """A binary file that can be read again."""

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Move to an offset."""


def open_upload(file: RewindableUpload, charset: str, max_bytes: int) -> Readable:
    """Open an uploaded file as UTF-8.

    Parameters
    ----------
    file : binary file
        At its start.
    charset : str
        The encoding that the request names; empty if it names none.
    max_bytes : int
        The limit, which applies to the decompressed bytes as well.

    Returns
    -------
    Readable
        The same file if it is UTF-8 already.

    Raises
    ------
    BadBody
        The file is not a text file, or the gzip file is damaged.
    TooLarge
        The decompressed file is over the limit.
    WrongMediaType
        The charset is not supported.
    """
    codec = _codec(charset)
    start = _peek(file)
    content: Readable = file
    if start.startswith(_GZIP):
        _require_valid_gzip(file, max_bytes)
        content = gzip.GzipFile(fileobj=file, mode="rb")
        start = _peek(content)
    _require_text(start)
    if start.startswith(_BYTE_ORDER_MARKS):
        codec = "utf-16"
    if codec in ("utf-8", "ascii") or start.startswith(codecs.BOM_UTF8):
        return content
    return TranscodedFile(content, codec)


def _codec(charset: str) -> str:
    """Return the name of Python's codec for a charset."""
    if not charset:
        return "utf-8"
    if not _CHARSET.fullmatch(charset.lower()):
        message = "this charset is not supported; send UTF-8, or charset=windows-1252"
        raise WrongMediaType(message)
    try:
        return codecs.lookup(charset).name
    except LookupError:
        raise WrongMediaType("this charset does not exist; send the file as UTF-8") from None


def _peek(file: RewindableUpload) -> bytes:
    start = file.read(8)
    file.seek(0)
    return start


def _require_text(start: bytes) -> None:
    """Reject files whose first bytes show that they are not text."""
    if start.startswith(_GZIP):
        raise BadBody("the file is compressed twice; send it compressed once", code="not_csv")
    for mark, name in _OTHER_FORMATS.items():
        if start.startswith(mark):
            raise BadBody(f"the file is {name}; save it as CSV in UTF-8", code="not_csv")


def _require_valid_gzip(file: RewindableUpload, max_bytes: int) -> None:
    """Decompress a gzip file once without keeping it: a response that has begun cannot fail."""
    n_bytes = 0
    try:
        # Closing it would close the upload as well.
        unpacked = gzip.GzipFile(fileobj=file, mode="rb")
        while chunk := unpacked.read(CHUNK_BYTES):
            n_bytes += len(chunk)
            if n_bytes > max_bytes:
                raise TooLarge(f"the decompressed file has over {max_bytes:,} bytes")
    except (OSError, EOFError, zlib.error):
        message = "the gzip file is damaged or cut off; send it again"
        raise BadBody(message, code="not_gzip") from None
    file.seek(0)


class TranscodedFile:
    """A file in another encoding, read as UTF-8.

    Parameters
    ----------
    file : Readable
    codec : str
    """

    def __init__(self, file: Readable, codec: str) -> None:
        self._file = file
        self._decoder = codecs.getincrementaldecoder(codec)(_ESCAPE)
        self._rest = b""

    def read(self, size: int = -1, /) -> bytes:
        """Return up to ``size`` bytes, fewer only at the end."""
        while len(self._rest) < size:
            chunk = self._file.read(CHUNK_BYTES)
            text = self._decoder.decode(chunk, final=not chunk)
            self._rest += text.encode("utf-8", "surrogateescape")
            if not chunk:
                break
        chunk, self._rest = self._rest[:size], self._rest[size:]
        return chunk


def _escape(error: UnicodeError) -> tuple[str, int]:
    """Replace undecodable bytes with one that is not UTF-8, which the row then reports."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "\udcff", error.end


_ESCAPE = "slipway.escape"
codecs.register_error(_ESCAPE, _escape)
