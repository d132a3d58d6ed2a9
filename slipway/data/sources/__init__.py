"""Where raw tables are, and what answers SQL about them."""

from slipway.data.sources.engine import Source
from slipway.data.sources.opening import open_source

__all__ = ["Source", "open_source"]
