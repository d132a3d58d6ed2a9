"""One model version: signature, scorecard, manifest and serving engines."""
