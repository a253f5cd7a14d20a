"""The command line of a script that writes tables for ``search.py --table``."""

import argparse
import csv
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

Row = dict[str, str | int | float]


def write_one_of(kinds: Mapping[str, Callable[[], Iterator[Row]]], description: str | None) -> None:
    """Write the table that the command line asks for. kinds: the rows of each, by name."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=kinds)
    parser.add_argument("--to", type=Path, required=True, help="the CSV file")
    asked = parser.parse_args()
    if not asked.to.absolute().parent.is_dir():
        parser.error(f"a file is written into a folder that exists, {asked.to.parent} does not: make it first")
    rows = list(kinds[asked.kind]())
    with asked.to.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    print(f"{len(rows)} networks are in {asked.to}")
