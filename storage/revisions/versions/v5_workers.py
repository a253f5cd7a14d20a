"""Workers have rows, evaluations can be taken up, files have hashes, and the front is kept."""

from uuid import uuid4

import sqlalchemy as sa
from alembic import op

revision = "5"
down_revision = "4"

STUDIES, EVALUATIONS, EPOCHS = "paretonas_studies", "paretonas_evaluations", "paretonas_epochs"


def upgrade() -> None:
    """Add columns with what they say of earlier rows, indexes, and tables."""
    op.add_column(STUDIES, sa.Column("stop", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column(STUDIES, sa.Column("front_kept", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column(EVALUATIONS, sa.Column("token", sa.String(36), nullable=False, server_default=""))
    op.add_column(EVALUATIONS, sa.Column("attempts", sa.Integer, nullable=False, server_default="1"))
    op.add_column(EVALUATIONS, sa.Column("front", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column(EVALUATIONS, sa.Column("trains", sa.String(32)))
    name_the_files()
    forget_double_epochs()
    for name, columns in {"state": ["study_id", "state"], "front": ["study_id", "front"]}.items():
        op.create_index(f"ix_{EVALUATIONS}_study_{name}", EVALUATIONS, columns)
    op.create_index(f"ix_{EVALUATIONS}_trains", EVALUATIONS, ["trains"], unique=True)
    op.create_index(f"ix_{EPOCHS}_once", EPOCHS, ["evaluation_id", "phase", "number"], unique=True)
    add_tables()


def name_the_files() -> None:
    """A token for each evaluation, which the ids of its files are made of."""
    evaluations = sa.table(EVALUATIONS, sa.column("id"), sa.column("token"))
    database = op.get_bind()
    tokens = [{"which": row.id, "new": str(uuid4())} for row in database.execute(sa.select(evaluations.c.id))]
    if tokens:
        naming = sa.update(evaluations).where(evaluations.c.id == sa.bindparam("which"))
        database.execute(naming.values(token=sa.bindparam("new")), tokens)


def forget_double_epochs() -> None:
    """The first of each number stays; there are no others, unless somebody wrote past the package."""
    epochs = sa.table(EPOCHS, *(sa.column(name) for name in ("id", "evaluation_id", "phase", "number")))
    first = sa.select(sa.func.min(epochs.c.id)).group_by(epochs.c.evaluation_id, epochs.c.phase, epochs.c.number)
    op.execute(sa.delete(epochs).where(epochs.c.id.not_in(first)))


def add_tables() -> None:
    """Workers and files."""
    op.create_table(
        "paretonas_workers",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column(
            "study_id", sa.Integer, sa.ForeignKey(f"{STUDIES}.id", ondelete="CASCADE"), nullable=False, index=True
        ),
        sa.Column("name", sa.String(256), nullable=False),
        sa.Column("host", sa.String(256), nullable=False),
        sa.Column("beat", sa.Integer, nullable=False),
        sa.Column("lease", sa.Float, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("started", sa.DateTime(timezone=True), nullable=False),
        sa.UniqueConstraint("study_id", "name"),
    )
    op.create_table(
        "paretonas_artifacts",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("evaluation_id", sa.Integer, sa.ForeignKey(f"{EVALUATIONS}.id", ondelete="CASCADE"), index=True),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("bytes", sa.Integer, nullable=False),
    )
