"""What every step of a run is given."""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from automm_distill import cache
from automm_distill.devices import Device
from automm_distill.evaluation.scores import VALIDATION
from automm_distill.hidden_layers import Pairs
from automm_distill.inputs.checkpoints.finding import Checkpoint
from automm_distill.inputs.rows.splits import Splits, TrainValidation
from automm_distill.layer_choice import student_name
from automm_distill.settings import Settings
from automm_distill.tasks import Task
from automm_distill.teacher_choice import teacher_name
from automm_distill.teachers.kinds import TeacherSource
from automm_distill.versions import TRAINING_FORMAT, library_versions


@dataclass(frozen=True)
class RunContext:
    """A run that is ready to train.

    ``started`` is when, in Unix seconds by the clock of the cache folder's file system. ``entries_in_use`` keeps the
    marks of the cache entries that the run relies on until it is closed. ``hidden_layers`` are the layers whose hidden
    states are compared, in pairs. ``teacher`` is the checkpoint that it is trained from, or the teacher itself, if it
    is finished.
    """

    settings: Settings
    task: Task
    splits: Splits
    teacher: TeacherSource
    student: Checkpoint
    device: Device
    started: float
    hidden_layers: Pairs = ()
    entries_in_use: ExitStack = field(default_factory=ExitStack)

    @property
    def output_folder(self) -> Path:
        """Where results go."""
        return Path(self.settings.output_folder)

    @property
    def cache_folder(self) -> Path:
        """Where teachers, their outputs and baselines are kept."""
        return Path(self.settings.finetuned_model_cache_folder)

    @property
    def eval_sets(self) -> Mapping[str, pd.DataFrame]:
        """The rows that each model is scored on: the test sets, and the hold-out, which settings may be chosen by."""
        return {**self.splits.tests, VALIDATION: self.splits.student.validation}

    @property
    def task_name(self) -> str:
        """For people; for PAWS-X with its languages."""
        if self.settings.benchmark != "pawsx":
            return self.task.name
        teacher, student = ("+".join(languages) for languages in _languages(self.settings))
        return f"pawsx {teacher} -> {student}"

    @property
    def pools_test_sets(self) -> bool:
        """Whether the test sets are one task in several languages, and their union is scored too."""
        return self.settings.benchmark == "pawsx"

    @property
    def identity(self) -> str:
        """The same for two runs that must come out the same on the same device; see :attr:`Settings.identity`."""
        return cache.fingerprint(
            {
                "settings": self.settings.identity,
                "rows": self.rows_fingerprint,
                "checkpoints": [self.teacher.fingerprint, self.student.fingerprint],
                "versions": library_versions(),
                "training_format": TRAINING_FORMAT,
            }
        )

    @property
    def rows_fingerprint(self) -> str:
        """Of all rows that were read; which of them a run trains on follows from its settings, the seed included."""
        return self.splits.fingerprint

    def data(self, role: str) -> TrainValidation:
        """The rows that the teacher, the baseline or the student is fitted on."""
        return self.splits.teacher if role == "teacher" else self.splits.student

    @property
    def distillation_rows(self) -> pd.DataFrame:
        """What the student is distilled on: its training rows and, after them, the unlabelled ones; texts only."""
        frames = (self.splits.student.train, self.splits.unlabelled)
        columns = list(self.task.model_columns)
        return pd.concat([frame[columns] for frame in frames if frame is not None], ignore_index=True)

    def epoch_rows(self, role: str) -> int:
        """Rows in an epoch of a role's fit.

        Where unlabelled rows make the student's epochs longer, the baseline's are as long, unless it is told otherwise:
        it sees its rows more often.
        """
        longer = role == "student" or (role == "baseline" and self.settings.match_steps)
        return len(self.data(role).train) + self.splits.unlabelled_count * longer

    @property
    def trained_roles(self) -> tuple[str, ...]:
        """The models that the run fits, or finds in the cache, in their order."""
        teacher = ("teacher",) if isinstance(self.teacher, Checkpoint) else ()
        return (*teacher, *(("baseline",) if self.settings.train_nodistill else ()), "student")

    def checkpoint(self, role: str) -> Checkpoint:
        """What one of ``trained_roles`` starts from."""
        if role != "teacher":
            return self.student
        assert isinstance(self.teacher, Checkpoint)
        return self.teacher

    def model_name(self, role: str) -> str:
        """What the teacher, the baseline or the student starts from, for people."""
        settings = self.settings
        if role == "teacher":
            return teacher_name(vars(settings))
        model = settings.student_model or (teacher_name(vars(settings)) if role == "baseline" else None)
        return student_name(model, self.student.layers)


def _languages(settings: Settings) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return settings.pawsx_teacher_tasks, settings.pawsx_student_tasks
