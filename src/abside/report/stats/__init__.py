"""Moments → figures with their intervals. Pure."""
