"""A fitted model and its training rows as a model version."""
