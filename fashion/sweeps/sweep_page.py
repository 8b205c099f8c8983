"""The report of a sweep: ``sweep.csv``, a self-contained page, ``sweep.html``, and its out-of-fold predictions."""

from pathlib import Path
from typing import NamedTuple

from fashion.files import write_text
from fashion.html_report import render_report
from fashion.palette import SERIES
from fashion.sweeps import results
from fashion.sweeps.out_of_fold import write_csv
from fashion.sweeps.results import SweepTable

TABLE_FILE, PAGE_FILE, OUT_OF_FOLD_FILE = "sweep.csv", "sweep.html", "out_of_fold.csv"
WIDTH, HEIGHT = 520, 240  # of a chart, in SVG units


class Curve(NamedTuple):
    """One job's line in a chart.

    Attributes:
        points: For the ``points`` attribute of an SVG polyline.
        last: The end of the line, x and y.
        colour: Colour of the job's group.
        title: The job's number and choices.
    """

    points: str
    last: tuple[float, float]
    colour: str
    title: str


class Chart(NamedTuple):
    """The learning curves of all jobs in one metric.

    Attributes:
        title: The metric.
        low: Its lowest value, at the bottom.
        high: Its highest value, at the top.
        epochs: The number of the last epoch, at the right.
        curves: One for each job.
    """

    title: str
    low: float
    high: float
    epochs: int
    curves: list[Curve]


def write_report(folder: Path) -> SweepTable:
    """Write ``sweep.csv`` and ``sweep.html`` into a sweep's folder; ``out_of_fold.csv`` too, of the best setting.

    Returns:
        The table that they show.

    Raises:
        InputError: When the folder is not a sweep's, or a file in it is damaged.
        WriteError: When a file cannot be written.
    """
    table = results.read(folder)
    write_text(folder / TABLE_FILE, table.as_csv())
    write_text(folder / PAGE_FILE, page(table, folder.resolve().name))
    if table.best and table.best[0].out_of_fold:
        write_csv(folder / OUT_OF_FOLD_FILE, table.best[0].out_of_fold)
    return table


def page(table: SweepTable, name: str) -> str:
    """Return the page of a sweep.

    Args:
        table: What it shows.
        name: The sweep's name, for the heading.
    """
    charts = [learning_curves(table, metric) for metric in ("val_accuracy", "val_loss")]
    return render_report(
        "fashion.sweeps",
        "sweep.html",
        table=table,
        name=name,
        metrics=table.metrics,
        out_of_fold_file=OUT_OF_FOLD_FILE,
        charts=[chart for chart in charts if chart],
        # Of a single key they would repeat the table of the jobs, or that of the averages.
        effects=table.effects() if len(table.setting_keys) > 1 else {},
    )


def learning_curves(table: SweepTable, metric: str) -> Chart | None:
    """Return the curves of all jobs in one chart; None where no epoch has ended.

    Args:
        table: The jobs; those of one group have one colour.
        metric: A column of their histories.
    """
    drawn = [(index, row) for index, group in enumerate(table.groups) for row in group.rows if row.history.get(metric)]
    if not drawn:
        return None
    values = [value for _, row in drawn for value in row.history[metric] if value == value]
    epochs = max(len(row.history[metric]) for _, row in drawn)
    low, high = min(values, default=0.0), max(values, default=1.0)
    height = (high - low) or 1.0
    curves = []
    for index, row in drawn:
        points = [
            (WIDTH * epoch / max(1, epochs - 1), HEIGHT * (1 - (value - low) / height))
            for epoch, value in enumerate(row.history[metric])
            if value == value
        ]
        curves.append(
            Curve(
                points=" ".join(f"{x:.1f},{y:.1f}" for x, y in points),
                last=points[-1] if points else (0.0, 0.0),
                colour=SERIES[index % len(SERIES)],
                title=f"#{row.number} {table.describe(row)}",
            )
        )
    return Chart(metric, low, high, epochs, curves)
