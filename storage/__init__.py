"""What was tried and what came out: the SQL store and the artifact folder."""

from .artifacts import Artifacts, weights_in_bytes
from .identity import is_gone, me
from .latencies import LatencyRecord
from .records import ENDED, FINISHED, CurvePoint, Evaluation, Held, Valued, WorkerState
from .saying import shown
from .store import Store
from .trials import creator_of

__all__ = [
    "ENDED",
    "FINISHED",
    "Artifacts",
    "CurvePoint",
    "Evaluation",
    "Held",
    "LatencyRecord",
    "Store",
    "Valued",
    "WorkerState",
    "creator_of",
    "is_gone",
    "me",
    "shown",
    "weights_in_bytes",
]
