"""Trained models in other formats, each measured against the original before it is kept."""
