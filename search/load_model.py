"""The one line that another project needs."""

from pathlib import Path

from ..spaces import Network
from .study import load_study


def load_model(
    storage: str, *, study: str | None = None, pick: str | int = "knee", artifacts: str | Path | None = None
) -> Network:
    """The trained network of a pick, in evaluation mode, from a store.

    storage: a database URL. study: may be left out if the store has one. pick: as in ``Study.pick``.
    """
    return load_study(study, storage=storage, artifacts=artifacts).pick(pick).load()
