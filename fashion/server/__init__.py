"""The HTTP server: predictions of a trained model, for people and programs with an account."""
