"""Collect the results of a sweep in a table and a page: ``python scripts/sweep_report.py FOLDER``."""

from pathlib import Path

from fashion.cli import ArgumentParser, with_exit_status
from fashion.sweeps import sweep_page


def main() -> None:
    """Write ``sweep.csv`` and ``sweep.html`` into the sweep's folder."""
    parser = ArgumentParser(description="Collect a sweep's results, so far or final, in sweep.csv and sweep.html.")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="a sweep's, such as outputs/multirun/DATE_TIME")
    folder = parser.parse_args().folder
    table = sweep_page.write_report(folder)
    print(table.text())
    print(f"written        {folder / sweep_page.TABLE_FILE} and {sweep_page.PAGE_FILE}")


if __name__ == "__main__":
    with_exit_status(main)
