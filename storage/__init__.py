"""What was tried and what came out: the SQL store and the artifact folder."""

from .artifacts import Artifacts, save_weights_file
from .database import shown
from .store import FINISHED, CurvePoint, Evaluation, Store

__all__ = ["FINISHED", "Artifacts", "CurvePoint", "Evaluation", "Store", "save_weights_file", "shown"]
