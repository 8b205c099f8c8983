"""Serve a trained model over HTTP, to people and programs with an account."""
