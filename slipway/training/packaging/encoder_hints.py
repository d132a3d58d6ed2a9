"""Facts about a raw feature that fitted transformers have learned."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from slipway.compiler.steps import InputUse
from slipway.models.features import Feature, Kind, Value


class EncoderHints:
    """Facts about a raw feature from the transformers that read it."""

    def __init__(self, uses: list[InputUse]) -> None:
        self.uses = uses

    @property
    def categories(self) -> tuple[Any, ...] | None:
        """The categories of its encoders, or None without an encoder."""
        lists = [categories.tolist() for categories in self._encoder_categories()]
        if not lists:
            return None
        return tuple(dict.fromkeys(c for categories in lists for c in categories if not pd.isna(c)))

    def _encoder_categories(self) -> list[Any]:
        return [use.step.categories_[use.position] for use in self.uses if _is_encoder(use.step)]

    @property
    def missing_is_none(self) -> bool:
        """Whether a missing value is None instead of NaN."""
        encoded = any(None in categories.tolist() for categories in self._encoder_categories())
        imputers = (getattr(use.step, "missing_values", math.nan) for use in self.uses)
        return encoded or any(value is None for value in imputers)

    @property
    def handles_missing(self) -> bool:
        """Whether an imputer or an encoder distinguishes missing from unknown values."""
        imputed = any(hasattr(use.step, "statistics_") for use in self.uses)
        return imputed or any(
            pd.isna(c) for categories in self._encoder_categories() for c in categories.tolist()
        )

    @property
    def training_range(self) -> tuple[float, float] | None:
        """The training range, if a transformer keeps it."""
        for use in self.uses:
            i, step = use.position, use.step
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
    def typical_value(self) -> Value:
        """The mean, median or most frequent value, or None if no transformer keeps one."""
        for use in self.uses:
            for name in ("statistics_", "center_", "mean_"):
                learned = getattr(use.step, name, None)
                if learned is not None:
                    value = learned[use.position]
                    value = value.item() if isinstance(value, np.generic) else value
                    if not pd.isna(value):
                        return value  # type: ignore[no-any-return]
        return sum(self.training_range) / 2 if self.training_range else None


def _is_encoder(step: Any) -> bool:
    return hasattr(step, "categories_")


def infer_from_hints(name: str, hints: EncoderHints) -> Feature:
    """Infer a feature from the hints of its transformers."""
    gap: Any = "none" if hints.missing_is_none else "nan"
    options: dict[str, Any] = {"nullable": True, "gap": gap}
    categories = hints.categories
    if categories:
        kind = _find_kind(categories)
        values: tuple[Any, ...] = tuple(map(_CONVERTERS[kind], categories))
        options |= {"complete": not hints.handles_missing, "gap_known": hints.handles_missing}
        if kind == "integer":
            options["dtype"] = "int64"
        declared = () if kind == "flag" and len(values) > 1 else values
        return Feature(name, kind, name, values[0], categories=declared, **options)
    example = hints.typical_value
    if isinstance(example, str) or any(hasattr(use.step, "build_analyzer") for use in hints.uses):
        return Feature(name, "text", name, str(example or "some text"), **options)
    number = 1.0 if example is None else float(f"{example:.6g}")
    return Feature(name, "number", name, number, seen=hints.training_range, **options)


_CONVERTERS: dict[Kind, Any] = {"flag": bool, "category": str, "integer": int, "number": float}


def _find_kind(categories: tuple[Any, ...]) -> Kind:
    """Return the kind of a feature from the categories of its encoder."""
    if all(isinstance(category, bool) for category in categories):
        return "flag"
    if any(isinstance(category, str) for category in categories):
        return "category"
    return "integer" if all(float(c).is_integer() for c in categories) else "number"
