"""Latencies in the tables: one record for each network and conditions, whichever study measured it."""

import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime

import numpy as np
from sqlalchemy import ColumnElement, Row, Select, Update, select, true, update

from ..errors import StoreError, UsageError
from ..spaces import Architecture
from ..spaces.architecture import Json
from ..spaces.candidate import architecture_from_json
from .tables import ArchitectureRow, LatencyRow

NOISY = 0.03  # relative standard error from which a latency teaches nothing; that of objectives/latency.py
SAMPLE = np.dtype("<f4")


@dataclass(frozen=True)
class LatencyRecord:
    """A latency of one network, as plain data. Times in milliseconds, ``seconds`` is what measuring took.

    noise: relative standard error. samples: as the clock said, kept as 32-bit floats. together: networks in the same
    interleaved run, which ``run`` names. sittings: how often it was measured, apart in time. backend to precision: the
    conditions; records of equal ones compare. host: the machine that measured. measured: when.
    """

    latency_ms: float
    noise: float
    median_ms: float
    p10_ms: float
    p90_ms: float
    samples: tuple[float, ...]
    warm_up: int
    seconds: float
    input_shape: tuple[int, ...]
    together: int
    run: str
    host: str
    backend: str
    version: str
    hardware: str
    threads: int
    batch: int
    precision: str
    sittings: int = 1
    measured: datetime = field(default_factory=lambda: datetime.now(UTC))


def same_conditions(
    *, backend: str, version: str, hardware: str, threads: int, batch: int, precision: str
) -> ColumnElement[bool]:
    """Whether a latency was measured so."""
    return (
        (LatencyRow.backend == backend)
        & (LatencyRow.version == version)
        & (LatencyRow.hardware == hardware)
        & (LatencyRow.threads == threads)
        & (LatencyRow.batch == batch)
        & (LatencyRow.precision == precision)
    )


def row_of(architecture_key: str, record: LatencyRecord) -> LatencyRow:
    """The row of a record."""
    return LatencyRow(architecture_key=architecture_key, **_columns(record))


def replacement(architecture_key: str, record: LatencyRecord) -> Update:
    """Put a record in the place of that of the same network and conditions.

    That one stays if it is less noisy, unless the new one was measured in more sittings, or together with others: such
    figures compare with each other. One statement, so that whoever comes at the same time decides on what is there.
    """
    fewer = LatencyRow.sittings < record.sittings
    better = true() if record.together > 1 else fewer | (LatencyRow.noise >= record.noise)
    conditions = same_conditions(
        backend=record.backend,
        version=record.version,
        hardware=record.hardware,
        threads=record.threads,
        batch=record.batch,
        precision=record.precision,
    )
    return (
        update(LatencyRow)
        .where(LatencyRow.architecture_key == architecture_key, conditions, better)
        .values(**_columns(record))
    )


def record_of(row: LatencyRow) -> LatencyRecord:
    """What a row says. StoreError if its samples cannot be read."""
    values = {each.name: getattr(row, each.name) for each in fields(LatencyRecord)}
    try:
        samples = tuple(np.frombuffer(zlib.decompress(row.samples), SAMPLE).tolist())
    except (zlib.error, ValueError) as error:
        raise StoreError(
            f"the samples of latency {row.id} cannot be read ({error}): delete its row, it is measured anew"
        ) from error
    aware = row.measured if row.measured.tzinfo else row.measured.replace(tzinfo=UTC)  # SQLite keeps no zone
    return LatencyRecord(**values | {"samples": samples, "input_shape": tuple(row.input_shape), "measured": aware})


def newest(conditions: ColumnElement[bool], limit: int) -> Select[Json, float]:
    """Descriptions and latencies of the newest records that are not noisy, newest first."""
    return (
        select(ArchitectureRow.description, LatencyRow.latency_ms)
        .join(LatencyRow, LatencyRow.architecture_key == ArchitectureRow.key)
        .where(conditions, LatencyRow.noise <= NOISY)
        .order_by(LatencyRow.measured.desc(), LatencyRow.id.desc())
        .limit(limit)
    )


def readable(found: Sequence[Row[Json, float]]) -> list[tuple[Architecture, float]]:
    """Networks and latencies, less those whose description names code that this process may not run."""
    pairs = []
    for description, latency_ms in found:
        try:
            pairs.append((architecture_from_json(description), latency_ms))
        except UsageError:
            continue
    return pairs


def _columns(record: LatencyRecord) -> Json:
    samples = zlib.compress(np.asarray(record.samples, SAMPLE).tobytes())
    return asdict(record) | {"samples": samples, "input_shape": list(record.input_shape)}
