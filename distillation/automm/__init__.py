"""The only door to AutoGluon: fit, load, predict, and single forward passes of ``MultiModalPredictor``.

Written against autogluon.multimodal 1.6.3. Each use of something private says which file it lives in and why it is
needed; tests/test_automm.py fails when one of them moves.
"""

from .configuration import distiller_hyperparameters, hyperparameters, loss_recipe, versions
from .fitting import fit
from .predictor import Predictor, load
from .teaching import Teacher

__all__ = [
    "Predictor",
    "Teacher",
    "distiller_hyperparameters",
    "fit",
    "hyperparameters",
    "load",
    "loss_recipe",
    "versions",
]
