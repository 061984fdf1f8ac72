"""Decisions in the caller's own process: the sidecar's rules, answers and events, without the sidecar's socket."""
