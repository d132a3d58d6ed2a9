"""Fit a pipeline on Spark."""
