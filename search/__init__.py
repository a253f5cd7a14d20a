"""What to try, trying it, showing it, handing it out."""

from .load_model import load_model
from .study import Study, create_study, load_study

__all__ = ["Study", "create_study", "load_model", "load_study"]
