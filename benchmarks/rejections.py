"""Time of the slowest invalid bodies, found by a seeded search: python -m benchmarks.rejections.

Each round changes the slowest body so far. The event loop validates only records of up to 4 KiB;
threads validate the others. A body has at most 64 KiB, and a file 256 KiB.
"""

from __future__ import annotations

import argparse
import io
import random
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from slipway.core.errors import SlipwayError
from slipway.core.settings import Settings
from slipway.serving.batch.csv_stream import predict_file
from slipway.serving.service import SOON_BYTES, PredictionService

ROOT = Path(__file__).parent.parent
MAX_BODY = 64 * 1024
FILE_BYTES = 256 * 1024
JSON_VALUES = (
    *("1", "-1e9", "1.5", "1e400", "null", "true", '""', '"x"', '"\\ud800"', "[]", "{}", "[[]]"),
    *('"' + "x" * 300 + '"', "1" * 400, '{"a":1}'),
)
TEXTS = ("1", "x", "", "1e400", "-1e9", "%00", "x" * 300, "true", "1" * 400)


class SlowBody(NamedTuple):
    """A body and its validation time.

    Attributes
    ----------
    seconds : float
        CPU time of the fastest of three runs.
    size : int
        Bytes.
    parts : int
        Commas and ampersands.
    piece : str
        Text that the body repeats.
    """

    seconds: float
    size: int
    parts: int
    piece: str

    @property
    def per_byte(self) -> float:
        """Microseconds per byte."""
        return self.seconds / self.size * 1e6


class Kind(NamedTuple):
    """A kind of body: how to build it from pieces, and the function that handles it."""

    values: tuple[str, ...]
    piece: Callable[[list[tuple[str, str]]], str]
    body: Callable[[str, int], bytes]
    answer: Callable[[PredictionService, bytes], object]
    limit: int = MAX_BODY


def _object(fields: list[tuple[str, str]]) -> str:
    return "{" + ",".join(f'"{name}":{value}' for name, value in fields) + "}"


def _one_object(piece: str, times: int) -> bytes:
    """Build one record of many fields with distinct names."""
    inner = piece[1:-1]
    fields = ",".join(inner.replace('":', f'{i}":') for i in range(times) if inner)
    return f"{{{fields}}}".encode()


def _file(live: PredictionService) -> Callable[[str, int], bytes]:
    header = ",".join(live.signature.names)
    good = ",".join(str(feature.example) for feature in live.signature.features)
    # A file without a valid row is rejected early, so add one.
    return lambda piece, times: "\n".join([header, good] + [piece] * times).encode()


def kinds(live: PredictionService) -> dict[str, Kind]:
    """Return the kinds of bodies by name."""
    n_features = len(live.signature.names)

    def row(fields: list[tuple[str, str]]) -> str:
        width = n_features if len(fields) > 1 else 1
        return ",".join(value for _, value in (fields * n_features)[:width])

    return {
        "array of records": Kind(
            JSON_VALUES,
            _object,
            lambda piece, times: f"[{','.join([piece] * times)}]".encode(),
            lambda live, body: live.predict_json(body),
        ),
        "record on the loop": Kind(
            JSON_VALUES,
            _object,
            _one_object,
            lambda live, body: live.predict_json(body),
            SOON_BYTES,
        ),
        "record of many fields": Kind(
            JSON_VALUES, _object, _one_object, lambda live, body: live.predict_json(body)
        ),
        "form": Kind(
            TEXTS,
            lambda fields: "&".join(f"{name}={value}" for name, value in fields),
            lambda piece, times: "&".join(
                piece.replace("=", f"{i}=") for i in range(min(times, 990))
            ).encode(),
            lambda live, body: live.predict_form(body),
        ),
        "file": Kind(
            (*TEXTS, '"x"', '"x', "ä"),
            row,
            _file(live),
            lambda live, body: sum(map(len, predict_file(io.BytesIO(body), live))),
            FILE_BYTES,
        ),
    }


def measure(live: PredictionService, kind: Kind, piece: str) -> SlowBody:
    """Time the longest allowed body of a piece."""
    step = max(len(kind.body(piece, 2)) - len(kind.body(piece, 1)), 1)
    body = kind.body(piece, max(kind.limit // (step + 4), 1))
    fastest = float("inf")
    for _ in range(3):
        began = time.process_time()
        with suppress(SlipwayError):
            kind.answer(live, body)
        fastest = min(fastest, time.process_time() - began)
    return SlowBody(fastest, len(body), body.count(b",") + body.count(b"&"), piece)


def change_fields(
    rng: random.Random, fields: list[tuple[str, str]], names: tuple[str, ...], kind: Kind
) -> list[tuple[str, str]]:
    """Return a list of fields with one random change."""
    name = rng.choice(names)
    place = rng.randrange(len(name))
    name = rng.choice((name, name[:place] + rng.choice("xq_") + name[place + 1 :], "x"))
    field = name, rng.choice(kind.values)
    new_fields = list(fields)
    if new_fields and rng.random() < 0.3:
        new_fields.pop(rng.randrange(len(new_fields)))
    if new_fields and rng.random() < 0.5:
        new_fields[rng.randrange(len(new_fields))] = field
    else:
        new_fields.append(field)
    return new_fields


def search(
    live: PredictionService, kind: Kind, rounds: int, seed: int
) -> tuple[SlowBody, SlowBody]:
    """Return the slowest body, and the body with the most time per byte."""
    rng = random.Random(seed)
    names = live.signature.names
    fields = [("x", kind.values[0])]
    longest = costliest = current = measure(live, kind, kind.piece(fields))
    for _ in range(rounds):
        new_fields = change_fields(rng, fields if rng.random() < 0.8 else [], names, kind)
        result = measure(live, kind, kind.piece(new_fields))
        if result.seconds > current.seconds or result.per_byte > costliest.per_byte:
            fields, current = new_fields, result
        longest = max(longest, result)
        costliest = max(costliest, result, key=lambda body: body.per_byte)
    return longest, costliest


def main() -> None:
    """Search each kind and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rejections", description=__doc__)
    parser.add_argument(
        "--rounds", type=int, default=200, help="bodies tried of each kind; default: 200"
    )
    parser.add_argument("--seed", type=int, default=1, help="seed of the search; default: 1")
    options = parser.parse_args()
    live = PredictionService(Settings(model=ROOT / "model.pkl"))
    print("| body | worst | ms | bytes | parts | µs a byte | µs a part | repeated part |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for name, kind in kinds(live).items():
        results = search(live, kind, options.rounds, options.seed)
        for criterion, result in zip(("in all", "a byte"), results, strict=True):
            part = result.seconds / max(result.parts, 1) * 1e6
            cells = f"{result.seconds * 1e3:.1f} | {result.size} | {result.parts}"
            print(
                f"| {name} | {criterion} | {cells} | {result.per_byte:.2f} | {part:.1f} "
                f"| `{result.piece[:60]}` |",
                flush=True,
            )


if __name__ == "__main__":
    main()
