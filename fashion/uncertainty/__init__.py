"""How far to trust an answer: calibration, abstention and out-of-distribution scores."""
