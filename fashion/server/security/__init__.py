"""Who sends a request, and what every response carries."""
