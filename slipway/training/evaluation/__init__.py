"""Metrics of a version, and its learning curve."""
