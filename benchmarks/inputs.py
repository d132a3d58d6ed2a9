"""What the services are sent, and the pipeline's own answers to it."""

from __future__ import annotations

import json
import pickle
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.services import ROOT, Running, Service
from slipway.data.etl.run import default_dataset
from slipway.data.problem_loading import load_problem
from slipway.models.manifest import Manifest
from slipway.training.frames import read_rows

CACHE = ROOT / ".cache" / "benchmarks"
N_ARRAY = 10_000
TOLERANCE = 1e-9


@dataclass(frozen=True)
class Inputs:
    """The inputs of a problem.

    Parameters
    ----------
    problem : str
    manifest : Manifest
        Of the shipped model.
    """

    problem: str
    manifest: Manifest

    @cached_property
    def pipeline(self) -> Any:
        """The shipped model."""
        return pickle.loads((ROOT / "model.pkl").read_bytes())

    @cached_property
    def rows(self) -> pd.DataFrame:
        """The real rows that there are."""
        problem = load_problem(self.problem)
        with default_dataset(problem) as stored:
            return read_rows(problem, stored).X

    @cached_property
    def record(self) -> dict[str, Any]:
        """One record, of the signature's examples."""
        return {feature.name: feature.example for feature in self.manifest.signature.features}

    @cached_property
    def record_file(self) -> Path:
        """The file that holds the record as JSON."""
        CACHE.mkdir(parents=True, exist_ok=True)
        file = CACHE / "record.json"
        file.write_text(json.dumps(self.record))
        return file

    @cached_property
    def hundred_file(self) -> Path:
        """The file that holds a hundred of the record as one JSON array."""
        file = self.record_file.with_name("hundred.json")
        file.write_text(json.dumps([self.record] * 100))
        return file

    @cached_property
    def array(self) -> bytes:
        """Real records as one JSON array, with null for what is missing."""
        rows = self.rows.iloc[:N_ARRAY].astype("object")
        for feature in self.manifest.signature.features:
            if feature.kind == "integer":
                # pandas made floats of integers that may be missing; JSON need not.
                rows[feature.name] = rows[feature.name].astype("Int64").astype("object")
        # pandas' own to_json would round the numbers.
        return json.dumps(rows.where(rows.notna(), None).to_dict(orient="records")).encode()

    def csv(self, n_rows: int) -> Path:
        """Give a CSV file of the real rows, repeated until there are enough."""
        CACHE.mkdir(parents=True, exist_ok=True)
        file = CACHE / f"{n_rows}-{self.manifest.training.data_sha256[:8]}.csv"
        if not file.exists():
            # A file of other data would never be used again.
            for old in CACHE.glob(f"{n_rows}-*.csv"):
                old.unlink()
            part = file.with_suffix(".part")
            with part.open("w", newline="") as out:
                for start in range(0, n_rows, len(self.rows)):
                    some = self.rows.iloc[: n_rows - start]
                    some.to_csv(out, index=False, header=start == 0)
            part.rename(file)
        return file

    def check_record(self, service: Service, answering: Running) -> None:
        """Compare a service's first answer with the pipeline's.

        Raises
        ------
        RuntimeError
            They differ.
        """
        if service.scores:
            given = json.loads(answering.body)["probability"]
            check(service, [given], self.pipeline, pd.DataFrame([self.record]))

    def check_array(self, service: Service, answer: bytes) -> None:
        """Compare the answer to the array with the pipeline's."""
        given = [one["probability"] for one in json.loads(answer)]
        check(service, given, self.pipeline, self.rows.iloc[:N_ARRAY])


def check(service: Service, given: list[float], pipeline: Any, rows: pd.DataFrame) -> None:
    """Compare probabilities with the pipeline's.

    Raises
    ------
    RuntimeError
        They differ.
    """
    due = pipeline.predict_proba(rows)[:, 1]
    if len(given) != len(due) or not np.allclose(given, due, rtol=0, atol=TOLERANCE):
        raise RuntimeError(f"{service.name} does not answer as the pipeline does")
