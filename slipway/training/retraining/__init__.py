"""Retrain a model, compare it with production, and promote it if it is not worse."""
