"""Package a fitted model as a model version."""
