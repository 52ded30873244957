"""Every flag, declared once: its default, help, unit, check and canonical value.

The command line (``cli``), ``docs/flags.md`` (``flag_table``) and the checks below are made from the fields of
:class:`Settings`. Nothing heavy is imported here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from automm_distill.errors import UserError
from automm_distill.export_formats import FORMATS
from automm_distill.flag import Benchmark, Flag, canonical, check_not_empty, check_range, flag, names
from automm_distill.hidden_layers import EVEN
from automm_distill.presets import PRESETS
from automm_distill.tasks import (
    CLASSIFICATION,
    DEMO_LANGUAGES,
    DEMO_TASK,
    GLUE_TASKS,
    OWN_METRICS,
    PAWSX_LANGUAGES,
    REGRESSION,
    Task,
    check_own_metric,
    pawsx_task,
)
from automm_distill.teacher_choice import FIT_FLAGS, PREDICTIONS, PREDICTOR, chosen_flag, is_finished

DATA = "data"
TRAINING = "training (teacher, baseline and student get the same treatment)"
DISTILLATION = "distillation (the student minimises the weighted sum of these losses)"
MACHINE = "machine"
OUTPUT = "cache and output"
EXPORTS = "export (the student as files that need no AutoGluon, see docs/shipping.md)"

# What --unlabelled_path takes besides files and folders.
TEST, REST = "test", "rest"

# Accepted spelling -> the one spelling that results, sweeps and reports compare.
CLASS_LOSSES = {"cross_entropy": "cross_entropy", "mean_square_error": "mean_square_error", "mse": "mean_square_error"}
FEATURE_LOSSES = {
    "mean_square_error": "mean_square_error",
    "mse": "mean_square_error",
    "cosine_distance": "cosine_distance",
    "cosine": "cosine_distance",
}
PRECISIONS = {"auto": "auto", "16": "16", "16-mixed": "16", "bf16": "bf16", "bf16-mixed": "bf16", "32": "32"}


def _weight(term: str, default: float, help: str) -> Any:
    return flag(help, DISTILLATION, default=default, minimum=0, loss_term=term, metavar="W", hint="0 = off")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One field per command-line flag, under the flag's name, each in its canonical form.

    :raises UserError: when a value, or a combination of values, cannot be run; the message names the flag.
    """

    benchmark: Benchmark
    glue_task: str | None = flag(
        "GLUE task; mnli reports both test sets, mnlim and mnlimm one",
        DATA,
        default=None,
        only="glue",
        choices=names(*GLUE_TASKS),
        shown_default="qnli",
    )
    pawsx_teacher_tasks: tuple[str, ...] = flag(
        "languages that the teacher learns from",
        DATA,
        default=(),
        only="pawsx",
        choices=names(*PAWSX_LANGUAGES),
        shown_default="all seven",
        metavar="LANGUAGE",
    )
    pawsx_student_tasks: tuple[str, ...] = flag(
        "languages that baseline and student learn from, and all models are scored on",
        DATA,
        default=(),
        only="pawsx",
        choices=names(*PAWSX_LANGUAGES),
        shown_default="all seven",
        metavar="LANGUAGE",
    )
    train_path: str | None = flag(
        "rows to train on: a file (.parquet, .csv, .tsv, .jsonl and others, docs/inputs.md), a folder of such files or "
        "of splits, or a data set of the Hugging Face hub, owner/name[:config]",
        DATA,
        default=None,
        only="own",
        kind="rows",
        shown_default="none: a GLUE task, as in automm_distillation_glue.py",
        metavar="PATH",
    )
    test_path: str | None = flag(
        "rows that all models are scored on",
        DATA,
        default=None,
        only="own",
        kind="rows",
        shown_default="the test split beside --train_path, else a fifth of its rows, up to 10,000",
        metavar="PATH",
    )
    validation_path: str | None = flag(
        "rows that select checkpoints",
        DATA,
        default=None,
        only="own",
        kind="rows",
        shown_default="the validation split beside --train_path, else a hold-out of the training rows",
        metavar="PATH",
    )
    text_columns: tuple[str, ...] = flag(
        "columns with the texts, in the order in which models read them; of three or more, all but the first are one "
        "text to them",
        DATA,
        default=(),
        only="own",
        kind="columns",
        shown_default="the only column of texts",
        metavar="COLUMN",
    )
    label_column: str = flag("column with the label", DATA, default="label", only="own", metavar="COLUMN")
    problem_type: str | None = flag(
        "what the labels are",
        DATA,
        default=None,
        only="own",
        choices=names(CLASSIFICATION, REGRESSION),
        shown_default="by the labels: words, and up to 20 different whole numbers, are classes",
    )
    metric: str | None = flag(
        "what models are scored, selected and stopped early by: " + ", ".join(OWN_METRICS),
        DATA,
        default=None,
        only="own",
        shown_default="accuracy for classes, rmse for a regression",
        metavar="METRIC",
    )
    dataset_path: str | None = flag(
        "folder with the rows: <config>/<split>.parquet|csv|tsv|jsonl, an unpacked archive, a hub download or a "
        "save_to_disk folder (docs/inputs.md); what is missing is downloaded from the Hugging Face hub and kept there",
        DATA,
        kind="folder",
    )
    max_text_length: int | None = flag(
        "cut rows to so many tokens; how many rows are longer is said before training",
        DATA,
        default=None,
        minimum=8,
        unit="tokens",
        shown_default="as many as the model reads, up to 512",
    )
    demo: bool = flag(
        "run everything on generated rows and tiny models made on the spot, without network", DATA, default=False
    )
    max_train_rows: int | None = flag(
        "for a quick look: keep this many rows of each training split (and of PAWS-X's validation splits)",
        DATA,
        default=None,
        minimum=1,
        hint="or leave it out",
        unit="rows",
        shown_default="all",
    )
    max_test_rows: int | None = flag(
        "for a quick look: keep this many rows of each test set",
        DATA,
        default=None,
        minimum=1,
        hint="or leave it out",
        unit="rows",
        shown_default="all",
    )

    unlabelled_path: tuple[str, ...] = flag(
        "rows without labels, for the student to learn from by the teacher's outputs: files, or folders of files, with "
        "the task's columns; test is GLUE's own test split, rest the training rows that --max_train_rows leaves out",
        DATA,
        default=(),
        kind="paths",
        words=(TEST, REST),
        shown_default="none",
        metavar="PATH",
    )
    unlabelled_rows: int | None = flag(
        "keep this many of the unlabelled rows, at random",
        DATA,
        default=None,
        minimum=1,
        hint="or leave it out",
        unit="rows",
        shown_default="all",
    )

    teacher_model: str | None = flag(
        "checkpoint that becomes the teacher: a name on the Hugging Face hub (owner/name[@revision]) or a local folder",
        TRAINING,
        default=None,
        kind="model",
        metavar="NAME",
    )
    teacher_predictor: str | None = flag(
        "a teacher that is finished, instead of --teacher_model: the folder of a saved MultiModalPredictor, or a "
        "fine-tuned ForSequenceClassification checkpoint, of which the outputs alone are used (docs/teachers.md)",
        TRAINING,
        default=None,
        kind="model",
        shown_default="none",
        metavar="NAME",
    )
    teacher_predictions: str | None = flag(
        "a teacher that is known by its predictions, instead of --teacher_model: a file with class probabilities, "
        "logits or labels of rows, which are found by id or by text (docs/teachers.md)",
        TRAINING,
        default=None,
        kind="file",
        shown_default="none",
        metavar="FILE",
    )
    student_model: str | None = flag(
        "checkpoint of baseline and student; best of the teacher's family; with --student_layers the teacher's, unless "
        "one is given",
        TRAINING,
        kind="model",
        metavar="NAME",
    )
    student_layers: str | None = flag(
        "make baseline and student of some layers only: of --student_model, or if that is not given of the teacher, "
        "the student of the fine-tuned one, the baseline of its checkpoint; 3 takes three spread over the depth, "
        "first:3 the first three; layers themselves are counted from 0 (0,2,4; a single one: 2,)",
        TRAINING,
        default=None,
        kind="layers",
        shown_default="all",
        metavar="LAYERS",
    )
    teacher_max_epochs: int = flag("most epochs of the teacher", TRAINING, default=10, minimum=1, unit="epochs")
    max_epochs: int = flag(
        "most epochs of baseline and student", TRAINING, default=10, minimum=1, unit="epochs", aliases=("max_epoch",)
    )
    teacher_learning_rate: float = flag("peak learning rate of the teacher", TRAINING, default=1e-4, above=0)
    teacher_weight_decay: float = flag("weight decay of the teacher (AdamW)", TRAINING, default=1e-3, minimum=0)
    student_learning_rate: float = flag("peak learning rate of baseline and student", TRAINING, above=0)
    student_weight_decay: float = flag("weight decay of baseline and student (AdamW)", TRAINING, minimum=0)
    batch_size: int = flag(
        "rows per optimizer step, over all devices; a multiple of devices times --per_gpu_batch_size",
        TRAINING,
        default=128,
        minimum=1,
        unit="rows",
    )
    per_gpu_batch_size: int = flag(
        "rows in one forward and backward pass on one device; passes are accumulated up to --batch_size",
        TRAINING,
        default=32,
        minimum=1,
        unit="rows",
    )
    validations_per_epoch: int = flag(
        "how often in an epoch the hold-out is scored, to keep the best weights and to stop after ten scores that are "
        "no better; 1 saves time where there are few training rows",
        TRAINING,
        default=2,
        minimum=1,
    )
    aug_scale: float = flag(
        "largest share of words that text augmentation changes, for all three models; the teacher's outputs are those "
        "of the original text (needs NLTK's WordNet)",
        TRAINING,
        default=0.0,
        minimum=0,
        maximum=1,
        hint="a share of words, 0 = off",
    )
    time_limit: int | None = flag(
        "stop each of the three fits after so many seconds",
        TRAINING,
        default=None,
        minimum=1,
        hint="or leave it out",
        unit="seconds",
        shown_default="no limit",
    )
    train_nodistill: bool = flag(
        "train the baseline; without it there is no gain and no distillation ratio", TRAINING, default=True
    )
    match_steps: bool = flag(
        "train the baseline for as many optimizer steps as the student, whose epochs are longer by the unlabelled "
        "rows; false gives both the same epochs",
        TRAINING,
        default=True,
    )
    seed: int = flag("seed of the hold-out and of all three fits", TRAINING, default=123, minimum=0, maximum=2**32 - 1)

    preset: str = flag(
        "defaults of the flags below: published are AutoGluon's; strong sets "
        + ", ".join(
            f"--{name} {value:g}" if isinstance(value, float) else f"--{name} {value}"
            for name, value in PRESETS["strong"].items()
        )
        + " (docs/students.md); a flag that is given wins",
        DISTILLATION,
        default="published",
        choices=names(*PRESETS),
    )
    temperature: float = flag(
        "divides both logits in the soft label loss; a regression has none", DISTILLATION, default=5.0, above=0
    )
    temperature_scaling: str = flag(
        "multiply the soft label loss by the temperature squared (Hinton et al. 2015) or not (AutoGluon): at 5 that is "
        "25 times the weight",
        DISTILLATION,
        default="none",
        choices=names("none", "squared"),
    )
    hard_label_weight: float = _weight("hard_label", 0.1, "weight of the loss against the true labels")
    soft_label_weight: float = _weight("soft_label", 1.0, "weight of the loss against the teacher's softened outputs")
    softmax_regression_weight: float = _weight(
        "softmax_regression", 0.0, "weight of the teacher's head on the student's feature (Yang et al. 2021)"
    )
    output_feature_loss_weight: float = _weight("output_feature", 0.01, "weight of the distance between features")
    rkd_distance_loss_weight: float = _weight(
        "rkd_distance", 0.0, "weight of relational distances within a batch (Park et al. 2019)"
    )
    rkd_angle_loss_weight: float = _weight(
        "rkd_angle", 0.0, "weight of relational angles within a batch (Park et al. 2019)"
    )
    hidden_states_loss_weight: float = _weight(
        "hidden_states", 0.0, "weight of the distance between normalised hidden states (Sun et al. 2019)"
    )
    hidden_states_layers: str = flag(
        "which layers' hidden states are compared: even spreads the student's over the teacher's depth, last takes the "
        "last of both, 0:1,1:3 pairs the student's layers with the teacher's, counted from 0; compared are the first "
        "tokens, or with --teacher_outputs online all",
        DISTILLATION,
        default=EVEN,
        kind="layer pairs",
        metavar="LAYERS",
    )
    soft_label_loss_type: str | None = flag(
        "form of the soft label loss",
        DISTILLATION,
        default=None,
        choices=CLASS_LOSSES,
        shown_default="cross_entropy for classes, mean_square_error for a regression",
    )
    softmax_regression_loss_type: str = flag(
        "form of the softmax regression loss", DISTILLATION, default="mean_square_error", choices=CLASS_LOSSES
    )
    output_feature_loss_type: str = flag(
        "form of the output feature loss", DISTILLATION, default="mean_square_error", choices=FEATURE_LOSSES
    )

    num_gpu: int = flag(
        "GPUs to use; -1 takes all there are, 0 the CPU", MACHINE, default=-1, minimum=-1, hint="-1 = all, 0 = CPU"
    )
    precision: str = flag(
        "arithmetic of training; 16 and bf16 are mixed precision; auto is bf16 on a device that has instructions for "
        "it, else 16 on a GPU and 32 on a CPU; what the device lacks is replaced, with a warning; finished models "
        "predict in the same precision on a GPU, and in 32 on a CPU",
        MACHINE,
        default="auto",
        choices=PRECISIONS,
    )
    num_workers: int = flag(
        "processes that load training rows; rows are tokenised once, so this pays for text augmentation only",
        MACHINE,
        default=0,
        minimum=0,
        unit="processes",
        changes_result=False,
    )
    length_grouping: bool = flag(
        "make batches of rows of about the same length, which need hardly any padding; false takes rows at random",
        MACHINE,
        default=True,
    )
    compile: bool = flag(
        "on a GPU, compile the networks with torch.compile before training; takes minutes, pays in long fits",
        MACHINE,
        default=False,
    )
    teacher_outputs: str = flag(
        "how the student gets the teacher's outputs: cached computes them once and keeps them on disk, online runs the "
        "teacher in every step",
        MACHINE,
        default="cached",
        choices=names("cached", "online"),
    )
    teacher_outputs_precision: str = flag(
        "number format of the kept outputs; 16 halves their size on disk",
        MACHINE,
        default="32",
        choices=names("32", "16"),
        unit="bits",
    )

    finetuned_model_cache_folder: str = flag(
        "where teachers, their outputs and baselines are kept",
        OUTPUT,
        default="cache",
        kind="folder",
        aliases=("save_path",),
        changes_result=False,
    )
    resume: bool = flag(
        "load teacher and baseline from the cache if the same settings made them from the same data",
        OUTPUT,
        default=False,
        changes_result=False,
    )
    output_folder: str = flag(
        "where students, predictions and results.jsonl go",
        OUTPUT,
        default="results",
        kind="folder",
        changes_result=False,
    )
    validation_log: str | None = flag(
        "write one JSON line for each validation of the student, at once; a file that is there is replaced",
        OUTPUT,
        default=None,
        kind="file",
        changes_result=False,
        shown_default="none",
        metavar="FILE",
    )
    save_teacher_predictions: str | None = flag(
        "write the teacher's predictions for all rows of the run, as --teacher_predictions reads them, to a .parquet, "
        ".csv or .jsonl file; one that an earlier run wrote is replaced",
        OUTPUT,
        default=None,
        kind="file",
        changes_result=False,
        shown_default="none",
        metavar="FILE",
    )
    no_timing: bool = flag(
        "leave out the speed-up, which else takes a tenth of a run or 20 seconds, whichever is more",
        OUTPUT,
        default=False,
        changes_result=False,
    )
    verbosity: str = flag(
        "how much to print",
        OUTPUT,
        default="normal",
        changes_result=False,
        switches={"quiet": "print warnings and the result only", "verbose": "print everything, also the whole summary"},
    )

    export: tuple[str, ...] = flag(
        "leave the student in these forms too, each checked on every test row, in the run's folder export: hf for "
        "transformers, onnx, and onnx-int8 with 8-bit weights",
        EXPORTS,
        default=(),
        choices=names(*FORMATS),
        changes_result=False,
        shown_default="none",
        metavar="FORM",
    )
    export_margin: float = flag(
        "a form whose score is worse by more than this is kept, but not recommended",
        EXPORTS,
        default=1.0,
        minimum=0,
        unit="points, of rmse percent",
        changes_result=False,
    )
    trim_vocabulary: int | None = flag(
        "export only the pieces of the vocabulary that the training, unlabelled and hold-out rows use, single "
        "characters, and this many of the most frequent others",
        EXPORTS,
        default=None,
        minimum=0,
        unit="pieces",
        changes_result=False,
        shown_default="all",
    )

    def __post_init__(self) -> None:
        for name, declared in FLAGS.items():
            value = getattr(self, name)
            if value is not None:
                check_not_empty(name, value)
                check_range(name, declared, value)
                object.__setattr__(self, name, canonical(declared, _FIELD_TYPES[name], value))
        self._check_demo()
        self._check_teacher()
        if self.student_model is None and self.student_layers is None:
            raise UserError("--student_model: needs a checkpoint, unless --student_layers takes layers of the teacher")
        if self.benchmark == "glue" and not self.demo and self.glue_task is None:
            object.__setattr__(self, "glue_task", "qnli")
        if not any(self.loss_weights.values()):
            raise UserError(
                f"all loss weights are 0: set at least one of {', '.join(map('--{}'.format, LOSS_WEIGHTS))}"
            )
        self._check_own()
        self._resolve_losses()
        self._check_hidden_states()
        self._check_unlabelled()
        self._require_enough_rows_to_relate()

    def _check_demo(self) -> None:
        if not self.demo:
            return
        if self.dataset_path is not None:
            raise UserError(f"--dataset_path {self.dataset_path}: --demo brings its own rows; leave one of the two out")
        if self.glue_task is not None:
            raise UserError(f"--glue_task {self.glue_task}: --demo brings its own task; leave one of the two out")
        foreign = sorted({*self.pawsx_teacher_tasks, *self.pawsx_student_tasks} - {*DEMO_LANGUAGES})
        if foreign:
            raise UserError(f"{', '.join(foreign)}: --demo has rows in {', '.join(DEMO_LANGUAGES)} only")

    def _check_own(self) -> None:
        if self.benchmark != "own":
            return
        if self.train_path is None:
            raise UserError("--train_path: needs the rows to train on")
        if self.label_column in self.text_columns:
            raise UserError(f"--text_columns {self.label_column}: is the column with the label (--label_column)")
        if self.metric is not None:
            check_own_metric(self.metric, self.problem_type)

    def _check_teacher(self) -> None:
        if chosen_flag(vars(self)) is None:
            raise UserError("--teacher_model: needs a checkpoint, unless --teacher_predictor or --teacher_predictions")
        if is_finished(vars(self)):  # what it was trained on is not read
            object.__setattr__(self, "pawsx_teacher_tasks", self.pawsx_student_tasks)

    def _check_unlabelled(self) -> None:
        if not self.unlabelled_path:
            return
        own = self.benchmark == "own"  # where rest are the rows without a label, too
        if REST in self.unlabelled_path and self.max_train_rows is None and not own:
            raise UserError(
                f"--unlabelled_path {REST}: means the training rows that --max_train_rows leaves out; give it too"
            )
        if TEST in self.unlabelled_path and (own or not self.tasks[0].unlabelled_splits):
            scored = "" if own else f" of {self.tasks[0].name}"
            raise UserError(f"--unlabelled_path {TEST}: models are scored on the test rows{scored}; name a file")
        if not any(weight for term, weight in self.loss_weights.items() if term != "hard_label"):
            raise UserError(
                "--unlabelled_path: with --hard_label_weight alone nothing is learnt from rows without a label; give "
                "another loss a weight, or leave the rows out"
            )

    def _resolve_losses(self) -> None:
        regression = self.is_regression
        if regression is None:  # until the labels are read
            return
        for name in ("soft_label_loss_type", "softmax_regression_loss_type"):
            if regression and getattr(self, name) == "cross_entropy":
                raise UserError(f"--{name} cross_entropy: a regression has no classes; use mean_square_error")
        if self.soft_label_loss_type is None:
            by_problem = "mean_square_error" if regression else "cross_entropy"
            object.__setattr__(self, "soft_label_loss_type", by_problem)

    def _check_hidden_states(self) -> None:
        if self.hidden_states_loss_weight and self.teacher_outputs == "online" and self.aug_scale:
            raise UserError(
                "--hidden_states_loss_weight compares all tokens with --teacher_outputs online, and --aug_scale "
                "changes those of the student only; use --teacher_outputs cached or --aug_scale 0"
            )

    def _require_enough_rows_to_relate(self) -> None:
        for name, needed, what in (
            ("rkd_distance_loss_weight", 2, "a distance needs two rows"),
            ("rkd_angle_loss_weight", 3, "an angle needs three rows"),
        ):
            if getattr(self, name) and self.per_gpu_batch_size < needed:
                raise UserError(
                    f"--{name} {getattr(self, name):g}: {what} in one pass; "
                    f"--per_gpu_batch_size {self.per_gpu_batch_size} needs to be {needed} or more"
                )

    @property
    def trains_student_head(self) -> bool:
        """Whether a loss reaches the layer that the student predicts by; the others end at its pooled feature."""
        return self.hard_label_weight > 0 or self.soft_label_weight > 0

    @property
    def without_effect(self) -> dict[str, str]:
        """``{flag: why}`` for those that change nothing beside the others."""
        return _without_effect(vars(self), is_regression=bool(self.is_regression))

    @property
    def is_regression(self) -> bool | None:
        """Whether labels are values; None where they have to be read before that is known."""
        if self.benchmark == "own":
            return None if self.problem_type is None else self.problem_type == REGRESSION
        return self.tasks[0].is_regression

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The tasks whose rows are read: one for GLUE and the demo, one per language for PAWS-X; none of own rows."""
        if self.benchmark == "own":
            return ()
        if self.benchmark == "pawsx":
            languages = dict.fromkeys((*self.pawsx_teacher_tasks, *self.pawsx_student_tasks))
            return tuple(pawsx_task(language) for language in languages)
        return (DEMO_TASK,) if self.demo else (GLUE_TASKS[self.glue_task or "qnli"],)

    @property
    def loss_weights(self) -> dict[str, float]:
        """``{loss term: weight}``, all of them."""
        return {term: getattr(self, name) for name, term in LOSS_WEIGHTS.items()}

    @property
    def identity(self) -> dict[str, Any]:
        """The settings that can change a run's result; two runs with the same ones, rows and checkpoints are the same.

        See :func:`identity`.
        """
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return identity(values, is_regression=bool(self.is_regression))


def identity(values: Mapping[str, Any], *, is_regression: bool) -> dict[str, Any]:
    """Of settings by name, as a row of ``results.jsonl`` keeps them, those that can change a run's result.

    Where data and checkpoints lie, and on which device the run was, is not part of it; nor is what a loss without
    weight, or a regression, does not use, nor what is said of unlabelled rows where there are none. The layers of a
    student are a part of its checkpoint; that it is None stays, since a student that is made of the fine-tuned teacher
    is known by no checkpoint. Names that this version does not know stay.
    """
    unused = {name for name, declared in FLAGS.items() if not declared.changes_result}
    unused.update(("dataset_path", "teacher_model", "student_layers", "num_gpu", "precision", "preset"))
    unused.update(("train_path", "test_path", "validation_path", "text_columns", "label_column"))
    unused.update((PREDICTOR, PREDICTIONS))
    # As in rows of before there were these.
    unused.update(name for name in ("hidden_states_loss_weight", *_SINCE_0_7) if not values.get(name))
    if values["student_model"] is not None:
        unused.add("student_model")
    unused.update(_without_effect(values, is_regression=is_regression))
    unlabelled = values.get("unlabelled_path")
    kinds = sorted({each if each in (TEST, REST) else "files" for each in unlabelled or ()})
    known = {name: value for name, value in values.items() if name not in (*unused, "unlabelled_path")}
    return known | ({"unlabelled_path": tuple(kinds)} if kinds else {})


def _without_effect(values: Mapping[str, Any], *, is_regression: bool) -> dict[str, str]:
    reasons = {}
    for weight, used in _USED_BY_LOSS.items():
        if values.get(weight) == 0:
            reasons.update(dict.fromkeys(used, f"--{weight} is 0"))
    if is_regression:
        reasons.update(dict.fromkeys(("temperature", "temperature_scaling"), "a regression has no temperature"))
    if is_finished(values):
        reasons.update(dict.fromkeys(FIT_FLAGS, f"the teacher of --{chosen_flag(values)} is finished"))
    if values.get(PREDICTIONS) is not None:
        reasons["teacher_outputs_precision"] = f"--{PREDICTIONS} brings the outputs"
    elif values.get("teacher_outputs") == "online":
        reasons["teacher_outputs_precision"] = "--teacher_outputs online keeps none"
    if not values.get("export"):
        reasons.update(dict.fromkeys(("export_margin", "trim_vocabulary"), "--export is not given"))
    if not values.get("unlabelled_path"):
        reasons.update(dict.fromkeys(("unlabelled_rows", "match_steps"), "--unlabelled_path is not given"))
    return reasons


_SINCE_0_7 = ("problem_type", "metric", "max_text_length")
FLAGS: dict[str, Flag] = {item.name: item.metadata["flag"] for item in fields(Settings) if "flag" in item.metadata}
_FIELD_TYPES = {item.name: item.type for item in fields(Settings)}
LOSS_WEIGHTS: dict[str, str] = {name: declared.loss_term for name, declared in FLAGS.items() if declared.loss_term}
_USED_BY_LOSS = {
    "soft_label_weight": ("temperature", "temperature_scaling", "soft_label_loss_type"),
    "softmax_regression_weight": ("softmax_regression_loss_type",),
    "output_feature_loss_weight": ("output_feature_loss_type",),
    "hidden_states_loss_weight": ("hidden_states_layers",),
}


def flags_of(benchmark: Benchmark) -> dict[str, Flag]:
    """The flags of one script, in the order of its ``--help``."""
    return {name: declared for name, declared in FLAGS.items() if declared.only in (None, benchmark)}
