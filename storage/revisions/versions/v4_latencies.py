"""Clocks with two reference networks, latencies for all studies, and latencies named by their backend."""

import sqlalchemy as sa
from alembic import op

revision = "4"
down_revision = "3"


def upgrade() -> None:
    """Forget, rename, and add the tables."""
    op.drop_table("paretonas_hosts", if_exists=True)  # of a clock with one network: its figures do not compare
    op.execute("UPDATE paretonas_measurements SET name = 'latency:onnxruntime' WHERE name = 'onnx_latency_ms'")
    op.create_table(
        "paretonas_clocks",
        sa.Column("hardware", sa.String(256), primary_key=True),
        sa.Column("threads", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("torch", sa.String(64), primary_key=True),
        sa.Column("device", sa.String(16), primary_key=True),
        sa.Column("small_ms", sa.Float, nullable=False),
        sa.Column("large_ms", sa.Float, nullable=False),
        sa.Column("host", sa.String(256), nullable=False),
    )
    conditions = ("backend", "version", "hardware", "threads", "batch", "precision", "architecture_key")
    op.create_table(
        "paretonas_latencies",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column(
            "architecture_key",
            sa.String(32),
            sa.ForeignKey("paretonas_architectures.key", ondelete="CASCADE"),
            nullable=False,
            index=True,
        ),
        sa.Column("backend", sa.String(64), nullable=False),
        sa.Column("version", sa.String(256), nullable=False),
        sa.Column("hardware", sa.String(256), nullable=False),
        sa.Column("threads", sa.Integer, nullable=False),
        sa.Column("batch", sa.Integer, nullable=False),
        sa.Column("precision", sa.String(32), nullable=False),
        *(sa.Column(f"{name}_ms", sa.Float, nullable=False) for name in ("latency", "median", "p10", "p90")),
        sa.Column("noise", sa.Float, nullable=False),
        sa.Column("samples", sa.LargeBinary, nullable=False),
        sa.Column("warm_up", sa.Integer, nullable=False),
        sa.Column("seconds", sa.Float, nullable=False),
        sa.Column("input_shape", sa.JSON, nullable=False),
        sa.Column("together", sa.Integer, nullable=False),
        sa.Column("run", sa.String(64), nullable=False),
        sa.Column("host", sa.String(256), nullable=False),
        sa.Column("sittings", sa.Integer, nullable=False),
        sa.Column("measured", sa.DateTime(timezone=True), nullable=False),
        sa.UniqueConstraint(*conditions),
    )
