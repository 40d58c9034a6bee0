"""Readers of public data sets: files in, events out."""
