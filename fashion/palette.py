"""The colours of every chart and overlay."""

INK = "#1f2933"
MUTED = "#66727f"
LINE = "#d5dae0"
PRIMARY = "#2f6690"
ACCENT = "#e07a3f"
HIGHLIGHT = "#ff7a38"  # the accent, brighter: for light shapes on black

SERIES = (PRIMARY, ACCENT, "#5b8e7d", "#8d5a97", "#b23a48", MUTED)


def rgb(colour: str) -> tuple[int, int, int]:
    """Return red, green and blue, 0-255, of a colour written as ``#rrggbb``."""
    red, green, blue = bytes.fromhex(colour.removeprefix("#"))
    return red, green, blue
