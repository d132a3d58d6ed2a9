"""Find the pickle in a model file: decompress it and report other formats."""

from __future__ import annotations

import bz2
import io
import lzma
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

from slipway.core.errors import ModelError

_MIN_BOUND = 2**28
_MAX_RATIO = 200
_MAX_BOUND = 2**32
_GZIP_WBITS = 31
_FIX = "save the fitted scikit-learn model with joblib.dump or pickle.dump"
_COMPRESSED: dict[bytes, Callable[[], Any]] = {
    b"\x1f\x8b": lambda: zlib.decompressobj(_GZIP_WBITS),
    b"\x78\x01": zlib.decompressobj,
    b"\x78\x5e": zlib.decompressobj,
    b"\x78\x9c": zlib.decompressobj,
    b"\x78\xda": zlib.decompressobj,
    b"BZh": bz2.BZ2Decompressor,
    b"\xfd7zXZ\0": lzma.LZMADecompressor,
    b"\x5d\0\0": lzma.LZMADecompressor,
}
_UNSUPPORTED = {
    b"\x04\x22\x4d\x18": "is compressed with LZ4; use joblib.dump(model, path, compress=3)",
    b"\x28\xb5\x2f\xfd": "is compressed with Zstandard; use joblib.dump(model, path, compress=3)",
    b"\x89HDF\r\n": f"is an HDF5 file, such as Keras writes; {_FIX}",
    b"\x93NUMPY": f"is a numpy array, not a model; {_FIX}",
    b"%PDF": f"is a PDF file, not a model; {_FIX}",
}


def is_zip(content: bytes) -> bool:
    """Whether a file is a ZIP archive."""
    return content.startswith(b"PK\3\4")


def zip_names(content: bytes) -> list[str]:
    """Return the names in a ZIP archive.

    Raises
    ------
    ModelError
        The archive is broken or expands too far.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, ValueError) as error:
        raise ModelError(f"is a damaged ZIP archive: {error}") from error
    if sum(entry.file_size for entry in entries) > _bound(content):
        raise ModelError("expands to more than 200 times its size")
    return [entry.filename for entry in entries]


def unwrap(content: bytes) -> bytes:
    """Return the bytes of the pickle in a file.

    Raises
    ------
    ModelError
        The file has another format, is truncated, or expands too far.
    """
    if not content:
        raise ModelError("is empty; save the model again")
    for magic, reason in _UNSUPPORTED.items():
        if content.startswith(magic):
            raise ModelError(reason)
    if is_zip(content):
        raise ModelError(_describe_archive(zip_names(content)))
    if content[:1] == b"\x08" and b"onnx" in content[:400].lower():
        raise ModelError(f"is an ONNX file, which has no pipeline to check it against; {_FIX}")
    for magic, decompressor in _COMPRESSED.items():
        if content.startswith(magic):
            return _expand(content, decompressor)
    return content


def _describe_archive(names: list[str]) -> str:
    """Return the message about a ZIP archive, depending on the names in it."""
    if any(name.endswith("data.pkl") for name in names):
        return f"is a model of PyTorch; {_FIX}"
    if "config.json" in names:
        return f"is a model of Keras; {_FIX}"
    return f"is a ZIP archive without a supported model; {_FIX}"


def _bound(content: bytes) -> int:
    return min(_MAX_BOUND, max(_MIN_BOUND, _MAX_RATIO * len(content)))


def _expand(content: bytes, decompressor: Callable[[], Any]) -> bytes:
    """Decompress a file, which may have several parts, up to a maximum size."""
    bound, parts, size = _bound(content), [], 0
    try:
        while content:
            stream = decompressor()
            parts.append(stream.decompress(content, bound + 1 - size))
            size += len(parts[-1])
            if size > bound:
                raise ModelError(
                    "expands to more than 200 times its size; save it without compression"
                )
            if not stream.eof:
                raise ModelError("is compressed and truncated; copy or save it again")
            content = stream.unused_data.lstrip(b"\0")
    except (zlib.error, OSError, lzma.LZMAError, ValueError) as error:
        raise ModelError(f"is compressed and damaged: {error}; copy or save it again") from error
    return b"".join(parts)
