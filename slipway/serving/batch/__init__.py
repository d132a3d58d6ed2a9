"""Predictions for CSV files and database tables."""
