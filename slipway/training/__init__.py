"""From raw tables to a model version: rows, fit, evaluate, write."""
