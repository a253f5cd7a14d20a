"""What was tried and what came out: the SQL store and the artifact folder."""

from .artifacts import Artifacts, weights_in_bytes
from .database import shown
from .latencies import LatencyRecord
from .records import ENDED, FINISHED, CurvePoint, Evaluation
from .store import Store

__all__ = [
    "ENDED",
    "FINISHED",
    "Artifacts",
    "CurvePoint",
    "Evaluation",
    "LatencyRecord",
    "Store",
    "shown",
    "weights_in_bytes",
]
