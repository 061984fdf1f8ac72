"""Accepted events on disk: frames, segments, recovery; no network."""
