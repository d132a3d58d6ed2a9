"""Fit a pipeline in passes over a dataset that does not fit in memory."""
