"""Slipway: the way of a fitted scikit-learn model from a notebook to a production web service."""

__version__ = "0.1.0"
