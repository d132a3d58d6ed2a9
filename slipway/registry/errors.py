"""What can go wrong with a registry.

ModelError                  503  model_unavailable
└── RegistryError           503  registry_unavailable
    ├── BadName             422  bad_name
    ├── Unknown             404  unknown_version
    ├── Conflict            409  alias_moved
    └── NotTrusted          503  not_trusted
"""

from __future__ import annotations

from slipway.core.errors import ModelError


class RegistryError(ModelError):
    """The registry cannot be reached, or what is there cannot be used."""

    code = "registry_unavailable"


class BadName(RegistryError):
    """A version or an alias that cannot be one; nothing was asked for by that name."""

    status = 422
    code = "bad_name"


class Unknown(RegistryError):
    """There is no such version, or no such alias."""

    status = 404
    code = "unknown_version"


class Conflict(RegistryError):
    """An alias moved between the look at it and the move."""

    status = 409
    code = "alias_moved"


class NotTrusted(RegistryError):
    """A file or an entry is not what was pushed, or not signed with this key."""

    code = "not_trusted"
