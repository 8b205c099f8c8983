"""A run on disk: its folder, its record, and the state to resume it from."""
