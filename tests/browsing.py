"""A page as a browser has it: Chromium without a window, what stands on the page when it is done, and what it said."""

import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed: apt-get install chromium")
CONSOLE = re.compile(r"CONSOLE:?\(?\d+\)?\] (.*)")


@dataclass(frozen=True)
class Page:
    """dom: HTML when the page is at rest. console: what its scripts said, errors among it."""

    dom: str
    console: list[str]

    def count(self, mark: str) -> int:
        """How often a text stands in it."""
        return self.dom.count(mark)


def browse(url: str, *, seconds: int = 20, dark: bool = False) -> Page:
    """Open a page, let its own clock run for so many seconds, and take what is there."""
    assert CHROMIUM is not None
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        done = subprocess.run(
            [
                CHROMIUM,
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                f"--user-data-dir={profile}",
                "--window-size=1400,1200",
                "--enable-logging=stderr",
                f"--virtual-time-budget={1000 * seconds}",
                *(["--force-dark-mode"] if dark else []),
                "--dump-dom",
                url,
            ],
            capture_output=True,
            text=True,
            timeout=240,
            check=True,
        )
    return Page(done.stdout, CONSOLE.findall(done.stderr))


def file_url(path: Path) -> str:
    """The address of a file."""
    return path.resolve().as_uri()
