"""From the model's input to predictions."""
