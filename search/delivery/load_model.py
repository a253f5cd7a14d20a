"""The one line that another project needs."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import nn

from ..study import load_study


def load_model(
    storage: str,
    *,
    study: str | None = None,
    pick: str | int | None = None,
    max_latency_ms: float | None = None,
    max_parameters: float | None = None,
    max_macs: float | None = None,
    min_accuracy: float | None = None,
    within: Mapping[str, float] | None = None,
    weights: Mapping[str, float] | None = None,
    smallest: str | None = None,
    within_best: float | None = None,
    quantized: bool = True,
    final: bool = False,
    artifacts: str | Path | None = None,
    trust: Sequence[str] = (),
) -> nn.Module:
    """The trained network of a pick, in evaluation mode, on the CPU, from a store.

    storage: a database URL. study: may be left out if the store has one. pick, and what follows it: as in
    ``Study.pick``; the knee if nothing is said. quantized: of a trial of 8 bits the int8 network, which ONNX Runtime
    runs; otherwise the one of 32 bits that it was made of, which can be trained on. final: what the final training, on
    train and validation, made of it. artifacts: the place of the
    weights, by default beside the SQLite file. trust: as in ``load_study``.
    """
    ways = (max_latency_ms, max_parameters, max_macs, min_accuracy, within, weights, smallest, within_best)
    if pick is None and all(way is None for way in ways):
        pick = "knee"
    opened = load_study(study, storage=storage, artifacts=artifacts, trust=trust)
    trial = opened.pick(
        pick,
        max_latency_ms=max_latency_ms,
        max_parameters=max_parameters,
        max_macs=max_macs,
        min_accuracy=min_accuracy,
        within=within,
        weights=weights,
        smallest=smallest,
        within_best=within_best,
    )
    trial = opened.final(trial.number) if final else trial
    return trial.load(quantized=quantized)
