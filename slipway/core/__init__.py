"""What every other package needs, and no domain: errors, settings, files, locks."""
