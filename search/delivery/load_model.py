"""The one line that another project needs."""

from collections.abc import Sequence
from pathlib import Path

from torch import nn

from ..study import load_study


def load_model(
    storage: str,
    *,
    study: str | None = None,
    pick: str | int = "knee",
    artifacts: str | Path | None = None,
    trust: Sequence[str] = (),
) -> nn.Module:
    """The trained network of a pick, in evaluation mode, from a store.

    storage: a database URL. study: may be left out if the store has one. pick: as in ``Study.pick``. trust: as in
    ``load_study``.
    """
    return load_study(study, storage=storage, artifacts=artifacts, trust=trust).pick(pick).load()
