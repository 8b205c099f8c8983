"""How good a model is: metrics, a report, figures."""
