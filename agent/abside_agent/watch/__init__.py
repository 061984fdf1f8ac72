"""Watches of the Kubernetes API and of directories."""
