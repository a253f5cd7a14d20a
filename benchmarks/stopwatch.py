"""What calls of a function cost while a benchmark runs, for ``search.py --real`` and ``default_job.py``."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any


@contextmanager
def timed(module: ModuleType, name: str, clock: Callable[[], float] = time.perf_counter) -> Iterator[list[float]]:
    """The seconds of each call of a module's function, as they come."""
    called, spent = module.__dict__[name], []

    def watched(*arguments: Any, **named: Any) -> Any:
        began = clock()
        try:
            return called(*arguments, **named)
        finally:
            spent.append(clock() - began)

    module.__dict__[name] = watched
    try:
        yield spent
    finally:
        module.__dict__[name] = called
