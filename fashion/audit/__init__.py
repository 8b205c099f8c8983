"""Audit of the data: duplicates and likely label errors."""
