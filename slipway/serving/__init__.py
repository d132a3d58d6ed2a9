"""Predictions from request bytes to response bytes, without Flask."""
