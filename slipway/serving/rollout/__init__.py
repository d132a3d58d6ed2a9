"""Follow the aliases of a registry, and move workers to a new version."""
