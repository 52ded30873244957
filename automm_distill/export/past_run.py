"""A run that is over, found again by its folder: its row, its rows, and its models."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from automm_distill import automm, cache
from automm_distill.automm import Predictor
from automm_distill.devices import Device
from automm_distill.errors import UserError
from automm_distill.export.source import Source
from automm_distill.inputs import demo
from automm_distill.inputs.rows import own_sources
from automm_distill.inputs.rows.splits import Splits, load_splits
from automm_distill.results import RESULTS, read_rows
from automm_distill.settings import Settings
from automm_distill.tasks import Task
from automm_distill.teachers.saved_predictor import open_predictor


@dataclass(frozen=True)
class PastRun:
    """A run's ``folder``, its ``row`` in results.jsonl, and the settings that it had."""

    folder: Path
    row: dict[str, Any]
    settings: Settings


def find_run(folder: Path, dataset_path: str | None) -> PastRun:
    """The run whose folder this is.

    :param dataset_path: where its rows lie now; None for where they were.
    :raises UserError: when there is none, or a version of this program made it whose settings are no longer known.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; needs that of a run, as the run printed it (results/<run>)")
    folder = folder.resolve()
    rows, _ = read_rows(folder.parent / RESULTS)
    row = next((row for row in rows if row["run"] == folder.name), None)
    if row is None:
        raise UserError(f"{folder}: {folder.parent / RESULTS} has no run of that name; needs the folder of a run")
    if "fingerprint" not in row["rows"]:
        raise UserError(
            f"{folder}: made by version {row.get('version', 'of old')} of this program, which did not keep what tells "
            "its rows; run it again"
        )
    known = {field.name for field in fields(Settings)}
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in row["settings"].items()
    }
    if dataset_path is not None:
        values["dataset_path"] = dataset_path
        values |= own_sources.moved(values, Path(dataset_path))
    return PastRun(folder, row, Settings(**{name: value for name, value in values.items() if name in known}))


@contextmanager
def opened(run: PastRun, role: str, *, with_teacher: bool) -> Iterator[Source]:
    """One of the run's models, with its rows; those of the cache stay there meanwhile.

    :param with_teacher: the teacher beside it, if it is still there.
    :raises UserError: when the rows are others, or the model is gone.
    """
    splits = _splits(run)
    with ExitStack() as in_use:
        models: dict[str, Predictor] = {}
        for name in dict.fromkeys([*(["teacher"] if with_teacher else []), role]):
            try:
                path = _path(run, name)
                if not (path / automm.WEIGHT_FILES[0]).is_file():
                    raise cache.NotAvailable(f"no {automm.WEIGHT_FILES[0]} in {path}")
                if _is_cached(run, name):
                    in_use.enter_context(_in_use(path))
                models[name] = _load(path, name, run, splits.task)
            except cache.NotAvailable as error:
                if name == role:
                    raise UserError(f"{run.folder}: its {role} is not available ({error})") from error
        yield Source(role, models, splits.task, splits, pool=run.settings.benchmark == "pawsx")


def _path(run: PastRun, role: str) -> Path:
    """Where the run said that the model is; a student, where the run's folder is now."""
    if role == "student":
        return run.folder / "student"
    if role not in run.row["training"]:
        raise UserError(f"{run.folder}: this run has no {role}")
    if role == "teacher" and "teacher" not in run.row["size"]:
        raise cache.NotAvailable("of the teacher there are only its outputs")
    return Path(run.row["training"][role]["path"])


def _load(path: Path, role: str, run: PastRun, task: Task) -> Predictor:

    def load(folder: Path, _: Mapping[str, Any]) -> Predictor:
        return automm.load(folder, task, verbosity="quiet")

    if role == "teacher" and not _is_cached(run, role):
        saved = open_predictor(path, task)
        if saved.fingerprint != run.row["teacher"]["fingerprint"]:
            raise cache.NotAvailable(f"{path} has changed since")
        device = Device(0, "32", "CPU", 1)
        return automm.load_finished(path, task, device, columns=saved.columns, classes=saved.classes, verbosity="quiet")
    return cache.load_now(path, load) if _is_cached(run, role) else load(path, {})


def _is_cached(run: PastRun, role: str) -> bool:
    """Whether the model is an entry of the cache: no student is, nor a teacher that was finished before."""
    return "from_cache" in run.row["training"].get(role, {})


@contextmanager
def _in_use(path: Path) -> Iterator[None]:
    """:func:`cache.in_use`, for an entry whose folder may be another user's.

    :raises NotAvailable: when nothing can be written there.
    """
    with ExitStack() as marks:
        try:
            marks.enter_context(cache.in_use(path))
        except OSError as error:
            raise cache.NotAvailable(f"{path.parent} cannot be written to: {error.strerror}") from error
        yield


def _splits(run: PastRun) -> Splits:
    """The rows of the run.

    :raises UserError: when they have changed since.
    """
    settings = run.settings
    if settings.demo:
        data, _, _ = demo.prepare(settings, Path(run.row["paths"]["cache"]))
    else:
        assert settings.dataset_path is not None  # only --demo does without
        data = Path(settings.dataset_path)
    try:
        splits = load_splits(settings, data)
    except UserError as error:
        raise UserError(f"{error}; if the rows of the run lie elsewhere now, give --dataset_path") from error
    if splits.fingerprint != run.row["rows"]["fingerprint"]:
        raise UserError(
            f"--dataset_path {data}: its rows are not those of the run, which the export would be checked on"
        )
    return splits
