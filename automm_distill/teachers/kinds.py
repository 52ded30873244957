"""What a run's teacher can be."""

from typing import Any

from automm_distill.inputs.checkpoints.finding import Checkpoint
from automm_distill.teachers.classifier import Classifier
from automm_distill.teachers.prediction_file import PredictionFile
from automm_distill.teachers.saved_predictor import SavedPredictor

# A checkpoint is fine-tuned by the run; the others are finished. All have ``path``, ``fingerprint`` and ``bytes``.
TeacherSource = Checkpoint | SavedPredictor | Classifier | PredictionFile


def why_no_network(source: TeacherSource) -> str | None:
    """Why the teacher cannot be run, timed or exported; None if it can."""
    if isinstance(source, PredictionFile):
        return "the teacher is a file of predictions"
    if isinstance(source, Classifier):
        return "of the teacher only its outputs are used"
    return None


def about(source: TeacherSource) -> dict[str, Any]:
    """What a result row says of a teacher that is finished, under ``teacher``; nothing of another."""
    return {} if isinstance(source, Checkpoint) else {"teacher": source.about}
