"""Inputs of the services, and the check of their predictions against the pipeline's."""

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
    """Inputs of a problem.

    Parameters
    ----------
    problem : str
    manifest : Manifest
        Manifest of the shipped model.
    """

    problem: str
    manifest: Manifest

    @cached_property
    def pipeline(self) -> Any:
        """The shipped model."""
        return pickle.loads((ROOT / "model.pkl").read_bytes())

    @cached_property
    def rows(self) -> pd.DataFrame:
        """All rows of the problem's own tables."""
        problem = load_problem(self.problem)
        with default_dataset(problem) as dataset:
            return read_rows(problem, dataset).X

    @cached_property
    def record(self) -> dict[str, Any]:
        """A record of the signature's examples."""
        return {feature.name: feature.example for feature in self.manifest.signature.features}

    @cached_property
    def record_file(self) -> Path:
        """A file with the record as JSON."""
        CACHE.mkdir(parents=True, exist_ok=True)
        file = CACHE / "record.json"
        file.write_text(json.dumps(self.record))
        return file

    @cached_property
    def hundred_file(self) -> Path:
        """A file with an array that repeats the record a hundred times."""
        file = self.record_file.with_name("hundred.json")
        file.write_text(json.dumps([self.record] * 100))
        return file

    @cached_property
    def array(self) -> bytes:
        """Real records as one JSON array, with null for missing values."""
        rows = self.rows.iloc[:N_ARRAY].astype("object")
        for feature in self.manifest.signature.features:
            if feature.kind == "integer":
                # pandas stores integers with missing values as floats.
                rows[feature.name] = rows[feature.name].astype("Int64").astype("object")
        # pandas' own to_json would round the numbers.
        return json.dumps(rows.where(rows.notna(), None).to_dict(orient="records")).encode()

    def csv(self, n_rows: int) -> Path:
        """Return a CSV file of so many rows: the real rows, repeated."""
        CACHE.mkdir(parents=True, exist_ok=True)
        file = CACHE / f"{n_rows}-{self.manifest.training.data_sha256[:8]}.csv"
        if not file.exists():
            # Files of earlier data are not used again.
            for old in CACHE.glob(f"{n_rows}-*.csv"):
                old.unlink()
            part = file.with_suffix(".part")
            with part.open("w", newline="") as out:
                for start in range(0, n_rows, len(self.rows)):
                    rows = self.rows.iloc[: n_rows - start]
                    rows.to_csv(out, index=False, header=start == 0)
            part.rename(file)
        return file

    def check_record(self, service: Service, started: Running) -> None:
        """Compare a service's first prediction with the pipeline's.

        Raises
        ------
        RuntimeError
            They differ.
        """
        if service.scores:
            predictions = json.loads(started.body)["probability"]
            check(service, [predictions], self.pipeline, pd.DataFrame([self.record]))

    def check_array(self, service: Service, response: bytes) -> None:
        """Compare the predictions for the array with the pipeline's."""
        predictions = [prediction["probability"] for prediction in json.loads(response)]
        check(service, predictions, self.pipeline, self.rows.iloc[:N_ARRAY])


def check(service: Service, predictions: list[float], pipeline: Any, rows: pd.DataFrame) -> None:
    """Compare probabilities with the pipeline's.

    Raises
    ------
    RuntimeError
        They differ.
    """
    expected = pipeline.predict_proba(rows)[:, 1]
    same_length = len(predictions) == len(expected)
    if not same_length or not np.allclose(predictions, expected, rtol=0, atol=TOLERANCE):
        raise RuntimeError(f"{service.name} predicts otherwise than the pipeline")
