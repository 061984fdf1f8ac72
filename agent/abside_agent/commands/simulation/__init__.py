"""Assigns many units by the documents: shares, overlaps and layers."""
