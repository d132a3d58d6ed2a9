"""The version of Slipway."""

__version__ = "0.1.0"
