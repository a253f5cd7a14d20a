"""The tables of paretonas, beside Optuna's in the same database."""

from datetime import UTC, datetime
from typing import Any, ClassVar

from sqlalchemy import JSON, DateTime, ForeignKey, LargeBinary, String, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

SCHEMA_VERSION = 4


def _now() -> datetime:
    return datetime.now(UTC)


class Base(DeclarativeBase):
    """JSON columns hold what the rooms above wrote as plain data."""

    type_annotation_map: ClassVar = {dict[str, Any]: JSON, datetime: DateTime(timezone=True)}


class SchemaRow(Base):
    """One row: the version of these tables."""

    __tablename__ = "paretonas_schema"
    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)


class StudyRow(Base):
    """A study's whole definition, so that going on needs the storage and the name only."""

    __tablename__ = "paretonas_studies"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(512), unique=True)
    definition: Mapped[dict[str, Any]]
    created: Mapped[datetime] = mapped_column(default=_now)


class ArchitectureRow(Base):
    """A network as data, once, whoever tried it."""

    __tablename__ = "paretonas_architectures"
    key: Mapped[str] = mapped_column(String(32), primary_key=True)
    description: Mapped[dict[str, Any]]


class EvaluationRow(Base):
    """One candidate tried in one study.

    state: ``open`` (a place is taken, nothing is proposed yet), ``running``, ``complete``, ``stopped`` (early, for a
    reason), ``failed``, or ``refused`` (not trained because of what is known before; it takes no place). key: of the
    candidate; unique within the study. deployed_key: of the network that is left. task: the key of the data. weights,
    quantized: artifacts, the trained weights and the int8 model made of them. reused: the evaluation of another study
    that the results were taken from.
    """

    __tablename__ = "paretonas_evaluations"
    __table_args__ = (UniqueConstraint("study_id", "key"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey(StudyRow.id, ondelete="CASCADE"), index=True)
    state: Mapped[str] = mapped_column(String(16), default="open")
    worker: Mapped[str] = mapped_column(String(256))
    host: Mapped[str] = mapped_column(String(256))
    started: Mapped[datetime] = mapped_column(default=_now)
    trial_number: Mapped[int | None]
    key: Mapped[str | None] = mapped_column(String(32), index=True)
    candidate: Mapped[dict[str, Any] | None]
    architecture_key: Mapped[str | None] = mapped_column(ForeignKey(ArchitectureRow.key))
    deployed_key: Mapped[str | None] = mapped_column(ForeignKey(ArchitectureRow.key))
    task: Mapped[str | None] = mapped_column(String(256))
    seed: Mapped[int | None]
    threads: Mapped[int | None]
    device: Mapped[str | None] = mapped_column(String(16))
    kind: Mapped[str | None] = mapped_column(String(32))
    reason: Mapped[str | None]
    seconds: Mapped[float | None]
    weights: Mapped[str | None] = mapped_column(String(256))
    quantized: Mapped[str | None] = mapped_column(String(256))
    reused: Mapped[int | None] = mapped_column(ForeignKey("paretonas_evaluations.id", ondelete="SET NULL"))
    deployed: Mapped[ArchitectureRow | None] = relationship(foreign_keys=[deployed_key], lazy="selectin")
    measurements: Mapped[list["MeasurementRow"]] = relationship(cascade="all, delete-orphan", lazy="selectin")
    epochs: Mapped[list["EpochRow"]] = relationship(cascade="all, delete-orphan", order_by="EpochRow.id")


class MeasurementRow(Base):
    """One measured number of one evaluation, with its conditions."""

    __tablename__ = "paretonas_measurements"
    evaluation_id: Mapped[int] = mapped_column(ForeignKey(EvaluationRow.id, ondelete="CASCADE"), primary_key=True)
    name: Mapped[str] = mapped_column(String(255), primary_key=True)
    value: Mapped[float]
    detail: Mapped[dict[str, Any]]


class EpochRow(Base):
    """One point of a learning curve. score: the data's first metric on the validation split."""

    __tablename__ = "paretonas_epochs"
    id: Mapped[int] = mapped_column(primary_key=True)
    evaluation_id: Mapped[int] = mapped_column(ForeignKey(EvaluationRow.id, ondelete="CASCADE"), index=True)
    phase: Mapped[str] = mapped_column(String(16))
    number: Mapped[int]
    loss: Mapped[float]
    score: Mapped[float]
    seconds: Mapped[float]


class ClockRow(Base):
    """What the two reference networks take on a kind of host; hardware: its processor or GPU. host: who measured it."""

    __tablename__ = "paretonas_clocks"
    hardware: Mapped[str] = mapped_column(String(256), primary_key=True)
    threads: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    torch: Mapped[str] = mapped_column(String(64), primary_key=True)
    device: Mapped[str] = mapped_column(String(16), primary_key=True)
    small_ms: Mapped[float]
    large_ms: Mapped[float]
    host: Mapped[str] = mapped_column(String(256))


class LatencyRow(Base):
    """The latency of one network under one set of conditions, once, whichever study measured it.

    Its columns are the fields of ``LatencyRecord``. samples: 32-bit floats, little end first, compressed by zlib.
    """

    __tablename__ = "paretonas_latencies"
    __table_args__ = (
        UniqueConstraint("backend", "version", "hardware", "threads", "batch", "precision", "architecture_key"),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    architecture_key: Mapped[str] = mapped_column(ForeignKey(ArchitectureRow.key, ondelete="CASCADE"), index=True)
    backend: Mapped[str] = mapped_column(String(64))
    version: Mapped[str] = mapped_column(String(256))
    hardware: Mapped[str] = mapped_column(String(256))
    threads: Mapped[int]
    batch: Mapped[int]
    precision: Mapped[str] = mapped_column(String(32))
    latency_ms: Mapped[float]
    noise: Mapped[float]
    median_ms: Mapped[float]
    p10_ms: Mapped[float]
    p90_ms: Mapped[float]
    samples: Mapped[bytes] = mapped_column(LargeBinary)
    warm_up: Mapped[int]
    seconds: Mapped[float]
    input_shape: Mapped[list[int]] = mapped_column(JSON)
    together: Mapped[int]
    run: Mapped[str] = mapped_column(String(64))
    host: Mapped[str] = mapped_column(String(256))
    sittings: Mapped[int]
    measured: Mapped[datetime]
