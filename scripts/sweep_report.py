"""Gather a sweep, running or ended, into a table and a page: ``python scripts/sweep_report.py FOLDER``."""

from pathlib import Path

from fashion.cli import ArgumentParser, with_exit_status
from fashion.sweeps import results


def main() -> None:
    """Write ``sweep.csv`` and ``sweep.html`` into the sweep's folder."""
    parser = ArgumentParser(description="Gather a sweep, running or ended, into sweep.csv and sweep.html.")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="a sweep's, as in outputs/multirun/DATE_TIME")
    folder = parser.parse_args().folder
    table = results.write(folder)
    print(table.text())
    print(f"written        {folder / results.TABLE_FILE} and {results.PAGE_FILE}")


if __name__ == "__main__":
    with_exit_status(main)
