"""Errors, settings, files and locks that every other package uses."""
