"""Words of SQL that the parts of the store share."""

from typing import Any, cast

from sqlalchemy import CursorResult, Update
from sqlalchemy.orm import Session


def changed(session: Session, statement: Update) -> int:
    """How many rows a statement changes; objects that the session holds are not told."""
    result = session.execute(statement, execution_options={"synchronize_session": False})
    return cast("CursorResult[Any]", result).rowcount
