"""Sources of raw tables, and the engines that run SQL on them."""

from slipway.data.sources.engine import Source
from slipway.data.sources.opening import open_source

__all__ = ["Source", "open_source"]
