"""The tables of the first release. They are not made by a step: new databases get those of this release at once."""

revision = "1"
down_revision = None


def upgrade() -> None:
    """Nothing: this is where the steps begin."""
