"""How far to trust a prediction: calibration, abstention and out-of-distribution (OOD) scores."""
