"""What is to survive the loss of power."""

import os
from pathlib import Path


def flush(path: Path) -> None:
    """Have a file, or a folder's list of files, on the disk. Raises OSError, also where the system cannot do that."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
