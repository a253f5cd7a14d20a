"""What was tried and what came out: the SQL store and the artifact folder."""

from .artifacts import Artifacts, weights_in_bytes
from .database import shown
from .store import FINISHED, CurvePoint, Evaluation, Store

__all__ = ["FINISHED", "Artifacts", "CurvePoint", "Evaluation", "Store", "shown", "weights_in_bytes"]
