"""Fit a pipeline in passes over a dataset that memory does not hold."""
