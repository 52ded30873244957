"""Everything that can be wrong with what the user asked for, found before anything is trained."""

import json
import logging
import shutil
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from automm_distill import cache, hidden_layers, logs
from automm_distill.devices import Device, choose_device
from automm_distill.errors import UserError
from automm_distill.evaluation.verdict import warn_about_test_sets
from automm_distill.export.requirements import require_exportable
from automm_distill.folders import require_writable
from automm_distill.inputs import demo
from automm_distill.inputs.checkpoints import layers
from automm_distill.inputs.checkpoints.finding import Checkpoint, find_checkpoint
from automm_distill.inputs.checkpoints.opening import check_checkpoint, load_tokenizer
from automm_distill.inputs.rows import own_task, row_checks
from automm_distill.inputs.rows.splits import Splits, load_splits
from automm_distill.results import RESULTS
from automm_distill.run_context import RunContext
from automm_distill.settings import Settings
from automm_distill.tasks import Task
from automm_distill.teacher_choice import is_saved_predictor, require_outputs_suffice, teacher_name
from automm_distill.teachers import saving
from automm_distill.teachers.classifier import open_classifier
from automm_distill.teachers.kinds import TeacherSource
from automm_distill.teachers.prediction_file import open_file
from automm_distill.teachers.saved_predictor import SavedPredictor, open_predictor, pretrained_checkpoint

RUN_LOCKS = ".20*.lock"  # beside the folders of runs, whose names begin with the date
OUTPUT_BYTES = 4096  # of the teacher's outputs for one row: a feature of width 1024 in single precision
TOKEN_BYTES = 1024  # of the tokens of one row: 200, with 5 bytes each
SAMPLE_ROWS = 200  # that each tokenizer is tried on

log = logging.getLogger(__name__)


def preflight(
    settings: Settings,
    *,
    load: Callable[[Settings, Path], Splits] = load_splits,
    find: Callable[[str, str], Checkpoint] = find_checkpoint,
    check: Callable[[str, str, Path, tuple[str, ...], int | None], int] = check_checkpoint,
    cut: Callable[[str, Checkpoint, tuple[int, ...], Path], Checkpoint] = layers.cut,
) -> RunContext:
    """Check folders, rows, checkpoints, augmentation data and device; nothing is trained yet.

    :param load: with ``find``, ``check`` and ``cut`` what a sweep, whose runs share rows and checkpoints, calls
        instead, to read each once.
    :raises UserError: for whatever the user has to mend first.
    """
    output_folder, cache_folder = Path(settings.output_folder), Path(settings.finetuned_model_cache_folder)
    _require_places(settings, output_folder, cache_folder)
    require_outputs_suffice(vars(settings))
    started = cache.file_system_time(cache_folder)
    removed = cache.remove_unfinished(output_folder, disposable_locks=RUN_LOCKS) + cache.remove_unfinished(cache_folder)
    if removed:
        log.info("removed %d unfinished folder(s) of killed runs", removed)
    if settings.demo:
        logs.quieten_libraries(settings.verbosity)
        data_folder, teacher_model, student_model = demo.prepare(settings, cache_folder)
    else:
        assert settings.dataset_path is not None  # only --demo does without
        data_folder = Path(settings.dataset_path)
        teacher_model, student_model = settings.teacher_model, settings.student_model
    splits = load(settings, data_folder)
    task = splits.task
    if settings.benchmark == "own":
        settings = own_task.resolved(settings, task)
    if settings.save_teacher_predictions is not None:
        saving.require_place(Path(settings.save_teacher_predictions), task)
    teacher, splits = _find_teacher(settings, teacher_model, splits, find)
    base = _find_student(settings, student_model, teacher, find)
    device = choose_device(settings.num_gpu, settings.precision)
    _require_whole_batches(settings, device)
    if settings.aug_scale > 0:
        _require_augmentation_data()
    logs.quieten_libraries(settings.verbosity)
    texts = [_some_texts(pd.concat([data.train, splits.unlabelled]), task) for data in (splits.teacher, splits.student)]
    limit = settings.max_text_length
    if isinstance(teacher, Checkpoint):
        read = check("--teacher_model", str(teacher_model), teacher.path, texts[0], limit)
        teacher = replace(teacher, max_tokens=read)
    if base is None:
        assert isinstance(teacher, Checkpoint)  # of others a student's checkpoint is not the teacher's
        student = teacher
    else:
        read = check(base.flag, base.name, base.checkpoint.path, texts[1], limit)
        student = replace(base.checkpoint, max_tokens=read)
    _tell_of_limit(limit, {"teacher": teacher, "student": student})
    if settings.export:
        require_exportable(
            "--export", settings.export, load_tokenizer(student.path), trims=settings.trim_vocabulary is not None
        )
    with ExitStack() as in_use:
        if settings.student_layers is not None:  # of what was opened: a broken checkpoint has had its own message
            whole, name = student, settings.student_model or teacher_name(vars(settings))
            chosen = layers.choose(settings.student_layers, name, whole)
            in_use.enter_context(cache.in_use(layers.entry(whole, chosen, cache_folder)))
            student = cut(name, whole, chosen, cache_folder)
        compared = _compared_layers(settings, teacher, student, texts[1])
        context = RunContext(settings, task, splits, teacher, student, device, started, hidden_layers=compared)
        _require_room_for(context)
        _warn_of_what_says_little(context)
        context.entries_in_use.push(in_use.pop_all())
    return context


def _tell_of_limit(limit: int | None, models: Mapping[str, TeacherSource]) -> None:
    for role, checkpoint in models.items():
        if limit is not None and isinstance(checkpoint, Checkpoint) and checkpoint.max_tokens < limit:
            log.warning("--max_text_length %d: the %s reads up to %d tokens", limit, role, checkpoint.max_tokens)


class _Base(NamedTuple):
    """What baseline and student start from, with the flag and the name that led there."""

    flag: str
    name: str
    checkpoint: Checkpoint


def _require_places(settings: Settings, output_folder: Path, cache_folder: Path) -> None:
    """Refuse folders and files that cannot be written, or that hold something else."""
    require_writable(output_folder, "--output_folder")
    require_writable(cache_folder, "--finetuned_model_cache_folder")
    _require_appendable(output_folder / RESULTS, "--output_folder")
    if settings.validation_log is not None:
        _require_validation_log(Path(settings.validation_log))


def _find_teacher(
    settings: Settings, model: str | None, splits: Splits, find: Callable[[str, str], Checkpoint]
) -> tuple[TeacherSource, Splits]:
    """The teacher, and the rows: a file of predictions may lack some of the unlabelled ones.

    :param model: the checkpoint that is to be trained; None for a teacher that is finished.
    """
    task = splits.task
    if model is not None:
        return find("--teacher_model", model), splits
    if settings.teacher_predictions is not None:
        languages = max(1, len(settings.pawsx_student_tasks))
        return open_file(Path(settings.teacher_predictions), task, splits, languages=languages)
    assert settings.teacher_predictor is not None
    if is_saved_predictor(settings.teacher_predictor):
        return open_predictor(Path(settings.teacher_predictor), task), splits
    return open_classifier(settings.teacher_predictor, task), splits


def _find_student(
    settings: Settings,
    student_model: str | None,
    teacher: TeacherSource,
    find: Callable[[str, str], Checkpoint],
) -> _Base | None:
    """The checkpoint of baseline and student; None for that of the teacher."""
    if student_model is not None:
        return _Base("--student_model", student_model, find("--student_model", student_model))
    if isinstance(teacher, SavedPredictor):
        return _Base("--teacher_predictor", *pretrained_checkpoint(teacher, str(settings.student_layers)))
    return None


def _require_room_for(context: RunContext) -> None:
    """Refuse disks without the room for all that a run leaves there."""
    teacher, student = context.teacher.bytes, context.student.bytes
    read = len(context.splits.student.train) + context.splits.unlabelled_count
    cached = context.settings.teacher_outputs == "cached"
    outputs = OUTPUT_BYTES * read * (1 + len(context.hidden_layers)) if cached else 0
    tokens = TOKEN_BYTES * (len(context.splits.teacher.train) + read)
    # A fit keeps its last and its three best checkpoints until the finished model is there too.
    _require_room(context.output_folder, "--output_folder", 5 * student)
    needed = 5 * max(teacher, student) + outputs + tokens
    _require_room(context.cache_folder, "--finetuned_model_cache_folder", needed)


def _compared_layers(
    settings: Settings, source: TeacherSource, student: Checkpoint, texts: tuple[str, ...]
) -> hidden_layers.Pairs:
    """The pairs of layers whose hidden states are compared.

    :raises UserError: when a layer is not there, or all tokens are to be compared and the models read others.
    """
    if not settings.hidden_states_loss_weight:
        return ()
    where = "--hidden_states_loss_weight"
    name = teacher_name(vars(settings))
    if isinstance(source, SavedPredictor):
        teacher, teacher_layers = source.network, layers.count_configured(where, name, source.network)
    else:
        assert isinstance(source, Checkpoint)  # of others there are outputs alone
        teacher, teacher_layers = source, layers.count(where, name, source)
    counts = layers.count(where, settings.student_model or name, student), teacher_layers
    pairs = hidden_layers.resolve(settings.hidden_states_layers, *counts)
    if settings.teacher_outputs == "online":
        read = [load_tokenizer(each.path)(list(texts))["input_ids"] for each in (teacher, student)]
        if read[0] != read[1] or teacher.max_tokens != student.max_tokens:
            raise UserError(
                f"{where}: with --teacher_outputs online the states of all tokens are compared, and teacher and "
                "student have different tokenizers; use --teacher_outputs cached, which compares the first tokens"
            )
    return pairs


def _warn_of_what_says_little(context: RunContext) -> None:
    """Say what can be trained, but will not tell much."""
    row_checks.warn_about_rows(context.splits, context.task)
    read = {"student": context.student}
    if isinstance(context.teacher, Checkpoint):
        read = {"teacher": context.teacher, **read}
    row_checks.tell_of_cut_rows(context.splits, context.task, read)
    warn_about_test_sets(context.task, context.splits.tests)
    if not context.settings.trains_student_head:
        log.warning(
            "--hard_label_weight and --soft_label_weight are 0: no other loss trains the layer that the student "
            "predicts by, and its answers will be chance"
        )


def _some_texts(frame: pd.DataFrame, task: Task) -> tuple[str, ...]:
    """The texts of some rows from all over ``frame``: it may hold one language after the other."""
    rows = np.unique(np.linspace(0, len(frame) - 1, SAMPLE_ROWS, dtype=int))
    return tuple(frame.iloc[rows][list(task.model_columns)].to_numpy().ravel())


def _require_validation_log(path: Path) -> None:
    """Refuse a file that the student's validations would replace, unless it is such a log."""
    require_writable(path.parent, "--validation_log")
    _require_appendable(path, "--validation_log")
    if path.exists() and (lines := path.read_bytes().splitlines()):
        try:
            ours = {"epoch", "step", "score"} <= json.loads(lines[0]).keys()
        except (ValueError, AttributeError):
            ours = False
        if not ours:
            raise UserError(f"--validation_log {path}: is there, and is no log of validations; name another file")


def _require_appendable(path: Path, flag: str) -> None:
    """Refuse a file that no line can be added to, before there is one to lose."""
    if not path.exists():
        return
    try:
        with path.open("ab"):
            pass
    except OSError as error:
        raise UserError(f"{flag}: {path} cannot be written to: {error.strerror}") from error


def _require_room(folder: Path, flag: str, needed: int) -> None:
    """Refuse a folder on a disk with fewer than ``needed`` bytes free."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise UserError(
            f"{flag} {folder}: {free / 1e9:.1f} GB free on that disk, about {needed / 1e9:.1f} GB are needed"
        )


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
    """
    import nltk

    def nltk_has(resource: str) -> bool:
        try:
            return bool(nltk.data.find(resource))
        except LookupError:
            return False

    for resource in ("corpora/wordnet", "corpora/omw-1.4", "taggers/averaged_perceptron_tagger_eng"):
        if not nltk_has(resource) and not nltk_has(f"{resource}.zip"):  # NLTK reads either
            name = resource.partition("/")[2]
            raise UserError(
                f"--aug_scale: augmentation needs NLTK's {name}, which is not on this machine; "
                f"get it with python -m nltk.downloader {name}, or use --aug_scale 0"
            )
