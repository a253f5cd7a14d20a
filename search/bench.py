"""Where a study's networks are timed: once for each network and conditions, kept in the store for every study."""

from dataclasses import asdict, dataclass, field, fields
from functools import cache, cached_property

import torch

from .. import own
from ..objectives import (
    BACKENDS,
    Clock,
    Conditions,
    Data,
    Deployed,
    Latency,
    LatencyPredictor,
    Timed,
    Timing,
    calibrate,
    conditions_of,
    fit_latency,
    hardware,
    joined,
    measure_latencies,
    timing,
)
from ..spaces import Architecture
from ..storage import LatencyRecord, Store
from .data import data_of
from .definition import Definition

REFIT_AFTER = 10  # measurements of this process


@cache
def _calibrated(device: str, threads: int) -> Clock:
    """One calibration for all stores that a process works on."""
    return calibrate(device, threads)


@dataclass
class StoreBench:
    """The bench of a study: records of the store come first, then the clock of this host."""

    store: Store
    definition: Definition
    _fitted: dict[Conditions, tuple[int, LatencyPredictor | None]] = field(default_factory=dict)
    _ready: dict[tuple[str, Conditions], Timing] = field(default_factory=dict)
    _measured: int = 0

    @cached_property
    def data(self) -> Data:
        """On the CPU, as the networks are."""
        return data_of(self.definition, "cpu")

    def time(self, deployed: Deployed, backend: str = "", *, threads: int | None = None, batch: int = 1) -> Latency:
        """See ``Bench``. A record that is not settled yet is measured again, and then is both; a network of the user's
        own code is measured each time.
        """
        conditions = conditions_of(deployed, backend, threads=threads or self.definition.threads, batch=batch)
        known = self._known(deployed.architecture, conditions)
        if known is not None and known.settled:
            return known
        clock = self.clock(conditions)
        [latency] = measure_latencies([self._made_ready(deployed, conditions)], clock)
        self._measured += 1
        if known is not None:
            latency = joined(known, latency)
        self.keep(deployed.architecture, latency)
        return latency

    def _made_ready(self, deployed: Deployed, conditions: Conditions) -> Timing:
        """What is timed. A second sitting takes that of the first: to export or to compile takes seconds."""
        key = deployed.architecture.key
        if (key, conditions) not in self._ready:
            self._ready = {at: ready for at, ready in self._ready.items() if _beside(at, key, conditions)}
            asked = timing(deployed, conditions.backend, batch=conditions.batch, threads=conditions.threads)
            self._ready[key, conditions] = asked
        return self._ready[key, conditions]

    def keep(self, architecture: Architecture, latency: Latency) -> None:
        """Into the store, for this and any other study on it."""
        figures = asdict(latency)
        self.store.keep_latency(architecture, LatencyRecord(**figures.pop("conditions"), **figures))

    def clock(self, conditions: Conditions) -> Clock:
        """The clock of this kind of host, calibrated once for each store."""
        device = BACKENDS[conditions.backend].device
        kind = (hardware(device), conditions.threads, torch.__version__, device)
        if self.store.clock(*kind) is None:
            fresh = _calibrated(device, conditions.threads)
            self.store.keep_clock(*kind, small_ms=fresh.small_ms, large_ms=fresh.large_ms, host=fresh.host)
        known = self.store.clock(*kind)
        assert known is not None
        small, large, host = known
        return Clock(kind[0], torch.__version__, conditions.threads, device, host, small, large)

    def predictor(self, deployed: Deployed, objective: Timed) -> LatencyPredictor | None:
        """What the records of these conditions tell of networks that were not timed; None if there are too few."""
        threads = objective.threads or self.definition.threads
        conditions = conditions_of(deployed, objective.backend, threads=threads, batch=objective.batch)
        at, fitted = self._fitted.get(conditions, (-REFIT_AFTER, None))
        if self._measured >= at + REFIT_AFTER:
            fitted = fit_latency(self.store.latencies(**asdict(conditions)))
            self._fitted[conditions] = (self._measured, fitted)
        return fitted

    def _known(self, architecture: Architecture, conditions: Conditions) -> Latency | None:
        if own.names(architecture.to_json()):
            return None
        record = self.store.latency(architecture.key, **asdict(conditions))
        if record is None:
            return None
        figures = {field.name: getattr(record, field.name) for field in fields(Latency) if field.name != "conditions"}
        return Latency(conditions=conditions, **figures)


def _beside(at: tuple[str, Conditions], key: str, conditions: Conditions) -> bool:
    """Whether what is ready may stay: of the same network, and not with other threads on the same backend."""
    one, other = at[1], conditions
    return at[0] == key and (one.backend != other.backend or one.threads == other.threads)
