"""The exceptions of registries, with HTTP status and code.

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
    """The registry is not reachable, or its content is not valid."""

    code = "registry_unavailable"


class BadName(RegistryError):
    """A name of a version or an alias is not valid; no request was sent."""

    status = 422
    code = "bad_name"


class Unknown(RegistryError):
    """A version or an alias does not exist."""

    status = 404
    code = "unknown_version"


class Conflict(RegistryError):
    """An alias was moved concurrently."""

    status = 409
    code = "alias_moved"


class NotTrusted(RegistryError):
    """A file or an entry was changed, or is not signed with this key."""

    code = "not_trusted"
