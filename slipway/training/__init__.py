"""Train a model version from stored rows: read, fit, evaluate, write."""
