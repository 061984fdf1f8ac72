"""abside: an experimentation sidecar for recommendation services."""

__version__ = "0.1.0"
