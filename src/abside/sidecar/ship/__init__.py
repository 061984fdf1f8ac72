"""Sealed segments on their way to the upstream."""
