"""What to try, trying it, showing it, handing it out."""

from .compress import compress
from .compressed import Compressed, restore
from .creation import create_study
from .delivery.load_model import load_model
from .doctor import Finding, doctor
from .study import Study, load_study

__all__ = [
    "Compressed",
    "Finding",
    "Study",
    "compress",
    "create_study",
    "doctor",
    "load_model",
    "load_study",
    "restore",
]
