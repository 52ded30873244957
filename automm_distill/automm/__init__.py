"""The only door to AutoGluon: fit, load, predict, and single forward passes of ``MultiModalPredictor``.

Written against autogluon.multimodal 1.6.3; paths such as learners/base.py:280 are relative to that package. Each use
of something private says in which file it lives and why it is needed; tests/test_automm.py fails when one of them
moves.
"""

from automm_distill.automm.batches import LengthGroupedSampler
from automm_distill.automm.fit_options import FitOptions, distillation_spec, fit_options
from automm_distill.automm.fitted_parts import FittedParts, RowForm, fitted_parts, row_form
from automm_distill.automm.fitting import WEIGHT_FILES, fit
from automm_distill.automm.outputs_teacher import OutputsTeacher, as_predictions
from automm_distill.automm.predictor import Predictor, load, load_finished
from automm_distill.automm.saved import SAVED_FILES, saved_facts
from automm_distill.automm.teacher import Teacher
from automm_distill.automm.timed_network import TimedNetwork

__all__ = [
    "SAVED_FILES",
    "WEIGHT_FILES",
    "FitOptions",
    "FittedParts",
    "LengthGroupedSampler",
    "OutputsTeacher",
    "Predictor",
    "RowForm",
    "Teacher",
    "TimedNetwork",
    "as_predictions",
    "distillation_spec",
    "fit",
    "fit_options",
    "fitted_parts",
    "load",
    "load_finished",
    "row_form",
    "saved_facts",
]
