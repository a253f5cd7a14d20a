"""What ``import paretonas`` costs on top of importing torch and optuna, each in a fresh process, in turn.

python benchmarks/import_time.py [--repeats 15]
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys

BASE = "import time; began = time.perf_counter(); import torch, optuna"
LINES = {
    "torch and optuna": f"{BASE}; print(time.perf_counter() - began)",
    "and paretonas": f"{BASE}; import paretonas; print(time.perf_counter() - began)",
}


def seconds(line: str) -> float:
    """Seconds that the imports of ``line`` take in a new interpreter."""
    return float(subprocess.run([sys.executable, "-c", line], check=True, stdout=subprocess.PIPE, text=True).stdout)


def main() -> None:
    """Print the minimum and the median of both, and their ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=15, help="processes of each kind (default 15)")
    repeats = parser.parse_args().repeats
    for line in LINES.values():
        seconds(line)
    taken = {name: [] for name in LINES}  # type: dict[str, list[float]]
    for _ in range(repeats):
        for name, line in LINES.items():
            taken[name].append(seconds(line))
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, n = {repeats}")
    base, ours = taken.values()
    added = min(ours) / min(base) - 1, statistics.median(ours) / statistics.median(base) - 1
    for name, values in taken.items():
        print(f"{name:18s} min {min(values):.3f} s   median {statistics.median(values):.3f} s")
    print(f"{'added':18s} min {added[0]:+.1%}   median {added[1]:+.1%}")


if __name__ == "__main__":
    main()
