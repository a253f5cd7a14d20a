"""paretonas: multi-objective neural architecture search whose winners leave as plain PyTorch."""

from .errors import ParetonasError
from .search import Study, create_study, load_model, load_study
from .spaces import (
    Architecture,
    Block,
    Candidate,
    ConvSpace,
    DataSpec,
    Head,
    MLPSpace,
    Options,
    Range,
    Training,
    TrainingSpace,
    build,
)

__all__ = [
    "Architecture",
    "Block",
    "Candidate",
    "ConvSpace",
    "DataSpec",
    "Head",
    "MLPSpace",
    "Options",
    "ParetonasError",
    "Range",
    "Study",
    "Training",
    "TrainingSpace",
    "build",
    "create_study",
    "load_model",
    "load_study",
]
