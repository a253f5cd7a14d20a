"""The tables of paretonas, beside Optuna's in the same database."""

from datetime import UTC, datetime
from typing import Any, ClassVar
from uuid import uuid4

from sqlalchemy import (
    JSON,
    DateTime,
    ForeignKey,
    Index,
    LargeBinary,
    String,
    UniqueConstraint,
    false,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

SCHEMA_VERSION = 5


def _now() -> datetime:
    return datetime.now(UTC)


def _token() -> str:
    return str(uuid4())


class Base(DeclarativeBase):
    """JSON columns hold what the rooms above wrote as plain data."""

    type_annotation_map: ClassVar = {dict[str, Any]: JSON, datetime: DateTime(timezone=True)}


class SchemaRow(Base):
    """One row: the version of these tables."""

    __tablename__ = "paretonas_schema"
    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)


class StudyRow(Base):
    """A study's whole definition, so that going on needs the storage and the name only.

    stop: its workers are asked to finish what they train and to end. front_kept: its evaluations say whether they are
    on the front; those of earlier releases do not yet.
    """

    __tablename__ = "paretonas_studies"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(512), unique=True)
    definition: Mapped[dict[str, Any]]
    created: Mapped[datetime] = mapped_column(default=_now)
    stop: Mapped[bool] = mapped_column(default=False, server_default=false())
    front_kept: Mapped[bool] = mapped_column(default=True, server_default=false())


class WorkerRow(Base):
    """One worker of one study. beat: counted up while it lives. lease: after how many seconds without a count others
    may take it for dead, by their own clocks. state: ``alive`` or ``ended``.
    """

    __tablename__ = "paretonas_workers"
    __table_args__ = (UniqueConstraint("study_id", "name"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey(StudyRow.id, ondelete="CASCADE"), index=True)
    name: Mapped[str] = mapped_column(String(256))
    host: Mapped[str] = mapped_column(String(256))
    beat: Mapped[int] = mapped_column(default=0)
    lease: Mapped[float]
    state: Mapped[str] = mapped_column(String(16), default="alive")
    started: Mapped[datetime] = mapped_column(default=_now)


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

    worker: who has it in hand, or had it last; empty: nobody's, to be taken up. token: what the ids of its artifacts
    are made of. attempts: one, and one for each worker that died since its last checkpoint. front: it is on the front
    of its study. trains: what is trained, as one key; only one evaluation of the store has it at a time.
    """

    __tablename__ = "paretonas_evaluations"
    __table_args__ = (
        UniqueConstraint("study_id", "key"),
        Index("ix_paretonas_evaluations_study_state", "study_id", "state"),
        Index("ix_paretonas_evaluations_study_front", "study_id", "front"),
        Index("ix_paretonas_evaluations_trains", "trains", unique=True),
    )
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
    token: Mapped[str] = mapped_column(String(36), default=_token, server_default="")
    attempts: Mapped[int] = mapped_column(default=1, server_default="1")
    front: Mapped[bool] = mapped_column(default=False, server_default=false())
    trains: Mapped[str | None] = mapped_column(String(32))
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
    __table_args__ = (Index("ix_paretonas_epochs_once", "evaluation_id", "phase", "number", unique=True),)
    id: Mapped[int] = mapped_column(primary_key=True)
    evaluation_id: Mapped[int] = mapped_column(ForeignKey(EvaluationRow.id, ondelete="CASCADE"), index=True)
    phase: Mapped[str] = mapped_column(String(16))
    number: Mapped[int]
    loss: Mapped[float]
    score: Mapped[float]
    seconds: Mapped[float]


class ArtifactRow(Base):
    """A file in the artifact store. id: a UUID made of its evaluation's token, its name and its content; that of a
    checkpoint of the token and its slot. sha256, bytes: of what was written, checked when it is read. evaluation_id:
    empty for what no evaluation owns, as a teacher's answers.
    """

    __tablename__ = "paretonas_artifacts"
    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    evaluation_id: Mapped[int | None] = mapped_column(ForeignKey(EvaluationRow.id, ondelete="CASCADE"), index=True)
    name: Mapped[str] = mapped_column(String(128))
    sha256: Mapped[str] = mapped_column(String(64))
    bytes: Mapped[int]


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
