"""Rows into files that appear whole; merged, dropped and known again after a crash."""
