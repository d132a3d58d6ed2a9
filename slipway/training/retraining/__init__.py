"""A new model against the one in production: rows, training, evidence, promotion."""
