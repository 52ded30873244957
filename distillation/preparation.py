"""Everything that can be wrong with what the user asked for, found before torch trains anything."""

import logging
import time
from dataclasses import dataclass
from pathlib import Path

from . import demo, results, screen, store
from .checkpoints import Checkpoint, find_checkpoint
from .data import Splits, load_splits
from .devices import Device, choose_device
from .errors import UserError
from .settings import Settings
from .tasks import Task

OUTPUT_BYTES = 4096  # of the teacher's outputs for one row: a feature of width 1024 in single precision

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prepared:
    """A run that is ready to train; ``started`` is when, in Unix seconds."""

    settings: Settings
    task: Task
    splits: Splits
    teacher: Checkpoint
    student: Checkpoint
    device: Device
    started: float


def prepare(settings: Settings) -> Prepared:
    """Check folders, rows, checkpoints, augmentation data and device; nothing is trained yet.

    :raises UserError: for whatever the user has to mend first.
    """
    started = time.time()
    output, cache = Path(settings.output_folder), Path(settings.finetuned_model_cache_folder)
    results.require_writable(output, "--output_folder")
    results.require_writable(cache, "--finetuned_model_cache_folder")
    results.require_appendable(output)
    for folder in (output, cache):
        swept = store.sweep(folder)
        if swept:
            log.info("%s: removed %d unfinished folder(s) of killed runs", folder, swept)
    if settings.demo:
        screen.quieten_libraries(settings.verbosity)
        data_folder, teacher_name, student_name = demo.prepare(settings, cache)
    else:
        assert settings.dataset_path is not None  # only --demo does without
        data_folder, teacher_name, student_name = (
            Path(settings.dataset_path),
            settings.teacher_model,
            settings.student_model,
        )
    splits = load_splits(settings, data_folder)
    teacher = find_checkpoint("--teacher_model", teacher_name)
    student = find_checkpoint("--student_model", student_name)
    device = choose_device(settings.num_gpu, settings.precision)
    _require_whole_batches(settings, device)
    if settings.aug_scale > 0:
        _require_augmentation_data()
    # A fit keeps its last and its three best checkpoints until the finished model is there too.
    results.require_room(output, "--output_folder", 5 * student.bytes)
    outputs = OUTPUT_BYTES * len(splits.student.train) if settings.teacher_outputs == "cached" else 0
    results.require_room(cache, "--finetuned_model_cache_folder", 5 * max(teacher.bytes, student.bytes) + outputs)
    return Prepared(settings, settings.tasks[0], splits, teacher, student, device, started)


def _require_whole_batches(settings: Settings, device: Device) -> None:
    """AutoGluon 1.6.3 rounds the accumulated passes down (learners/base.py:1037), and with them the batch."""
    rows = settings.per_gpu_batch_size * max(1, device.num_gpus)
    if settings.batch_size % rows:
        raise UserError(
            f"--batch_size {settings.batch_size}: needs a multiple of {rows} "
            f"(--per_gpu_batch_size {settings.per_gpu_batch_size} on {max(1, device.num_gpus)} device(s))"
        )


def _require_augmentation_data() -> None:
    """Refuse ``--aug_scale`` without the NLTK data that it needs.

    Without them AutoGluon silently trains on the neighbouring row instead (data/dataset.py:107).

    :raises UserError: naming what is missing.
    """
    import nltk

    def is_there(resource: str) -> bool:
        try:
            return bool(nltk.data.find(resource))
        except LookupError:
            return False

    for resource in ("corpora/wordnet", "corpora/omw-1.4", "taggers/averaged_perceptron_tagger_eng"):
        if not is_there(resource) and not is_there(f"{resource}.zip"):  # NLTK reads either
            name = resource.partition("/")[2]
            raise UserError(
                f"--aug_scale: augmentation needs NLTK's {name}, which is not on this machine; "
                f"get it with python -m nltk.downloader {name}, or use --aug_scale 0"
            )
