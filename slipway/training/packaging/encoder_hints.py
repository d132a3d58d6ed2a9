"""What the fitted transformers know of a raw feature."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from slipway.compiler.steps import InputUse
from slipway.models.features import Value


class Hints:
    """What the transformers that read a raw feature have learned of it."""

    def __init__(self, readings: list[InputUse]) -> None:
        self.readings = readings

    @property
    def categories(self) -> tuple[Any, ...] | None:
        """The categories of its encoders; None where no encoder reads it."""
        told = (r for r in self.readings if _encodes(r.step))
        found = [r.step.categories_[r.position].tolist() for r in told]
        if not found:
            return None
        return tuple(dict.fromkeys(c for one in found for c in one if not pd.isna(c)))

    @property
    def gap_is_none(self) -> bool:
        """Whether None, not NaN, is what stands for missing."""
        return any(
            (_encodes(r.step) and None in r.step.categories_[r.position].tolist())
            or getattr(r.step, "missing_values", math.nan) is None
            for r in self.readings
        )

    @property
    def knows_gaps(self) -> bool:
        """Whether a gap is more to its encoders than one more category that they do not know."""
        told = (r.step.categories_[r.position] for r in self.readings if _encodes(r.step))
        imputed = any(hasattr(r.step, "statistics_") for r in self.readings)
        return imputed or any(pd.isna(c) for categories in told for c in categories.tolist())

    @property
    def seen(self) -> tuple[float, float] | None:
        """The range of training, where a transformer kept it."""
        for reading in self.readings:
            i, step = reading.position, reading.step
            for name in ("bin_edges_", "quantiles_"):
                if hasattr(step, name):
                    ends = getattr(step, name)
                    ends = ends[i] if name == "bin_edges_" else ends[:, i]
                    return float(ends[0]), float(ends[-1])
            if hasattr(step, "data_min_"):
                return float(step.data_min_[i]), float(step.data_max_[i])
            if hasattr(step, "bsplines_"):
                spline = step.bsplines_[i]
                return float(spline.t[spline.k]), float(spline.t[-spline.k - 1])
        return None

    @property
    def middle(self) -> Value:
        """A value in the middle of training; None where no transformer kept one."""
        for reading in self.readings:
            for name in ("statistics_", "center_", "mean_"):
                learned = getattr(reading.step, name, None)
                if learned is not None:
                    value = learned[reading.position]
                    value = value.item() if isinstance(value, np.generic) else value
                    if not pd.isna(value):
                        return value  # type: ignore[no-any-return]
        return sum(self.seen) / 2 if self.seen else None


def _encodes(step: Any) -> bool:
    return hasattr(step, "categories_")
