"""Watches of the Kubernetes API and of directories: that something changed, and what."""
