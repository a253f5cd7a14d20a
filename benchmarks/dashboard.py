"""How much a search is slowed by what it publishes for optuna-dashboard, and by an open page of it.

    python benchmarks/dashboard.py [--trials 60] [--repeats 3] [--elsewhere]

The default convolutional space on digits (accuracy, parameters, MACs), random candidates that train to their end, the
same ones in each study, one worker of one thread. Two ways take turns: nothing is published; and all is, while
``paretonas dashboard`` serves the study and Chromium looks at it; with --elsewhere, or without Chromium, a request
every ten seconds, as the page of a browser on another machine makes them. Prints the ratio of the seconds; a study that
has not all its trials ends it.
"""

import argparse
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import optuna

import paretonas as pn

EVERY = 10.0  # seconds between two looks of the page


def seconds(url: str, name: str, trials: int, *, seen: bool, browser: str | None) -> float:
    """What a study of its own takes, from its first trial to its end. browser: as ``look`` takes it."""
    study = pn.create_study(
        name,
        space=pn.ConvSpace(),
        objectives=["accuracy", "parameters", "macs"],
        sampler="random",
        stopping="none",
        repeat=True,
        storage=url,
    )
    study.optimize(1, show_progress=False, helping=True)  # data and libraries are read
    with watched(url, browser) if seen else nullcontext():
        began = time.perf_counter()
        study.optimize(trials, show_progress=False, helping=not seen)  # who helps publishes nothing
        took = time.perf_counter() - began
    counts = study.store.counts(study.id)
    if counts != {"complete": trials}:
        raise SystemExit(f"{name}: {counts} in place of {trials} complete trials")
    return took


@contextmanager
def watched(url: str, browser: str | None) -> Iterator[None]:
    """The dashboard as a process of its own, and somebody who looks at its page."""
    command = [sys.executable, "-m", "paretonas", "dashboard", "--storage", url]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        said = server.stderr.readline()
        address = next(word for word in said.split() if word.startswith("http://"))
        page = f"{address.rstrip('/')}/dashboard/studies/1"  # where the figures are
        over = threading.Event()
        looking = threading.Thread(target=look, args=(page, address.rstrip("/"), browser, over))
        looking.start()
        time.sleep(EVERY)  # the page has been drawn
        try:
            yield
        finally:
            over.set()
            looking.join()
            server.terminate()


def look(page: str, address: str, browser: str | None, over: threading.Event) -> None:
    """Have the page open in a browser, or without one ask for what the page asks for."""
    if browser is None:
        while not over.wait(EVERY):
            with urllib.request.urlopen(f"{address}/api/studies/1") as answer:  # noqa: S310 - loopback
                answer.read()
        return
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [browser, "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}"]
        with subprocess.Popen([*command, "--remote-debugging-port=0", page], stderr=subprocess.DEVNULL) as open_page:
            over.wait()
            open_page.terminate()


def main() -> None:
    """Take turns, and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=60, help="of a study (default 60)")
    parser.add_argument("--repeats", type=int, default=3, help="turns of each (default 3)")
    parser.add_argument("--elsewhere", action="store_true", help="the browser's own work is left out")
    asked = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    browser = None if asked.elsewhere else shutil.which("chromium")
    eyes = "Chromium" if browser else f"a request every {EVERY:g} s"
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {eyes}, n = {asked.repeats}"
    )
    ratios = []
    for turn in range(asked.repeats):
        took = {}
        for seen in (False, True) if turn % 2 == 0 else (True, False):
            with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
                took[seen] = seconds(f"sqlite:///{folder}/nas.db", "seen", asked.trials, seen=seen, browser=browser)
        ratios.append(took[True] / took[False])
        print(f"unseen {took[False]:.1f} s, published and looked at {took[True]:.1f} s, {ratios[-1]:.3f}", flush=True)
    print(f"ratio {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})")


if __name__ == "__main__":
    main()
