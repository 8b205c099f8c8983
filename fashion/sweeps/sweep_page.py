"""The page of a sweep: one HTML file that needs no other."""

from pathlib import Path
from typing import Any

from fashion.files import write_text
from fashion.pages import rendered
from fashion.sweeps.results import METRICS, Table

COLOURS = ("#2f6690", "#e07a3f", "#5b8e7d", "#8d5a97", "#b23a48", "#66727f")
WIDTH, HEIGHT = 520, 240  # of a chart, in the units of its drawing


def write(path: Path, table: Table, folder: Path) -> None:
    """Write the page.

    Args:
        path: The HTML file.
        table: What it shows.
        folder: The sweep's, for the head.

    Raises:
        InputError: When it cannot be written.
    """
    page = rendered(
        "fashion.sweeps",
        "sweep.html",
        table=table,
        name=folder.resolve().name,
        metrics=METRICS,
        seeds=any(len(group.rows) > 1 for group in table.groups),
        charts=[chart for name in ("val_accuracy", "val_loss") if (chart := curves(table, name))],
        effects={key: found for key, found in table.effects().items() if len(found) > 1},
    )
    write_text(path, page)


def curves(table: Table, metric: str) -> dict[str, Any] | None:
    """Return a metric's curves of all jobs laid over one another; None where no epoch has ended.

    Args:
        table: The jobs; those of one group have one colour.
        metric: A column of their histories.

    Returns:
        ``title``, ``low``, ``high``, ``epochs`` and ``lines``, each with ``points`` for SVG, ``colour`` and ``title``.
    """
    drawn = [(index, row) for index, group in enumerate(table.groups) for row in group.rows if row.history.get(metric)]
    if not drawn:
        return None
    values = [value for _, row in drawn for value in row.history[metric] if value == value]
    epochs = max(len(row.history[metric]) for _, row in drawn)
    low, high = min(values, default=0.0), max(values, default=1.0)
    height = (high - low) or 1.0
    lines = []
    for index, row in drawn:
        points = [
            (WIDTH * epoch / max(1, epochs - 1), HEIGHT * (1 - (value - low) / height))
            for epoch, value in enumerate(row.history[metric])
            if value == value
        ]
        lines.append(
            {
                "points": " ".join(f"{x:.1f},{y:.1f}" for x, y in points),
                "last": points[-1] if points else (0.0, 0.0),
                "colour": COLOURS[index % len(COLOURS)],
                "title": f"#{row.number} {table.shown_choices(row)}",
            }
        )
    return {"title": metric, "low": low, "high": high, "epochs": epochs, "lines": lines}
