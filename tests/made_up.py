"""Candidates and results for tests of the store, which train nothing; and stores that may be written to."""

import shutil
from pathlib import Path
from typing import Any

import paretonas as pn
from paretonas.spaces import Architecture, Block, Head
from paretonas.storage import CurvePoint, Store
from paretonas.storage.store import Front, Measured

BEGUN: dict[str, Any] = {"task": "digits", "seed": 0, "threads": 1, "device": "cpu"}


def network(width: int) -> Architecture:
    return Architecture((1, 8, 8), (Block("flatten"), Block("linear", width=width)), (Head(10),))


def candidate(width: int = 4) -> pn.Candidate:
    return pn.Candidate(network(width))


def nothing(_: object) -> set[int]:
    """A front that stays empty."""
    return set()


def finish(store: Store, evaluation: int, width: int = 4, *, front: Front = nothing) -> None:
    measured: Measured = {"a": (float(width), {})}
    store.finish(evaluation, measured, deployed=network(width), seconds=1, weights="w", front=front)


def point(number: int, phase: str = "train") -> CurvePoint:
    return CurvePoint(phase, number, 1.0, 0.5, 0.1)


def copied(study: pn.Study, folder: Path) -> pn.Study:
    """A copy of a study's store, to be written to."""
    here = Path(study.store.url.removeprefix("sqlite:///")).parent
    shutil.copytree(here, folder, dirs_exist_ok=True)
    return pn.load_study(study.name, storage=f"sqlite:///{folder / 'nas.db'}")
