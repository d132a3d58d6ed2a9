"""Registries of model versions and aliases; see docs/model-life.md."""

from slipway.registry.errors import BadName, Conflict, NotTrusted, RegistryError, Unknown
from slipway.registry.records import Move, StoredVersion
from slipway.registry.registry import Registry, open_registry

__all__ = [
    "BadName",
    "Conflict",
    "Move",
    "NotTrusted",
    "Registry",
    "RegistryError",
    "StoredVersion",
    "Unknown",
    "open_registry",
]
