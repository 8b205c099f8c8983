"""From an upload to a classification, within limits."""
