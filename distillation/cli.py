"""The command line that both scripts share: flags in, exit status out."""

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from .errors import TrainingFailed, UserError
from .settings import (
    CLASS_LOSSES,
    FEATURE_LOSSES,
    PRECISIONS,
    TEACHER_OUTPUTS,
    TEACHER_OUTPUTS_PRECISIONS,
    TEMPERATURE_SCALINGS,
    Settings,
)
from .tasks import DEMO_LANGUAGES, PAWSX_LANGUAGES

DEFAULTS: dict[str, Any] = dict(
    demo=False,
    max_train_rows=None,
    max_test_rows=None,
    teacher_max_epochs=10,
    max_epochs=10,
    teacher_learning_rate=1e-4,
    teacher_weight_decay=1e-3,
    batch_size=128,
    per_gpu_batch_size=32,
    aug_scale=0.0,
    time_limit=None,
    train_nodistill=True,
    seed=123,
    temperature=5.0,
    temperature_scaling="none",
    hard_label_weight=0.1,
    soft_label_weight=1.0,
    softmax_regression_weight=0.0,
    output_feature_loss_weight=0.01,
    rkd_distance_loss_weight=0.0,
    rkd_angle_loss_weight=0.0,
    soft_label_loss_type=None,
    softmax_regression_loss_type="mse",
    output_feature_loss_type="mean_square_error",
    num_gpu=-1,
    precision="auto",
    num_workers=0,
    length_grouping=True,
    compile=False,
    teacher_outputs="cached",
    teacher_outputs_precision="32",
    finetuned_model_cache_folder="cache",
    resume=False,
    output_folder="results",
    verbosity="normal",
)

# What --demo puts in place of the defaults: checkpoints of its own, and a schedule for networks that start from noise.
DEMO_DEFAULTS: dict[str, Any] = dict(
    dataset_path=None,
    teacher_model="demo-teacher",
    student_model="demo-student",
    teacher_learning_rate=2e-3,
    student_learning_rate=2e-3,
    batch_size=32,
    max_epochs=8,
    teacher_max_epochs=12,
    pawsx_teacher_tasks=DEMO_LANGUAGES,
    pawsx_student_tasks=DEMO_LANGUAGES,
    output_folder="results/demo",
)


class Parser(argparse.ArgumentParser):
    """argparse without the usage block in front of every error: one line says what is wrong."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}\n")


def parse_bool(text: str) -> bool:
    """``true``/``false`` and their usual spellings; ``type=bool`` would take "false" for true."""
    if text.lower() in ("true", "1", "yes", "on"):
        return True
    if text.lower() in ("false", "0", "no", "off"):
        return False
    raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")


def make_parser(description: str, add_task_flags: Callable[[Any], None], **script_defaults: Any) -> Parser:
    """The parser of one script: its own task flags in front, then the shared groups.

    :param add_task_flags: adds the flags that only this script has to the first argument group.
    :param script_defaults: defaults that differ between the scripts (data, checkpoints, learning rates).
    """
    parser = Parser(
        usage="%(prog)s [flags]",
        description=description,
        formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=36, width=120),
        allow_abbrev=False,
    )
    data = parser.add_argument_group("data")
    add_task_flags(data)
    _add_data_flags(data)
    _add_training_flags(parser.add_argument_group("training (teacher, baseline and student get the same treatment)"))
    _add_distillation_flags(parser.add_argument_group("distillation (the student's loss is the weighted sum)"))
    _add_machine_flags(parser.add_argument_group("machine"))
    _add_output_flags(parser.add_argument_group("cache and output"))
    parser.set_defaults(**(DEFAULTS | script_defaults))
    return parser


def parse_settings(parser: argparse.ArgumentParser, benchmark: str, argv: Sequence[str] | None) -> Settings:
    """argv -> checked settings; a bad value ends the program with one line and status 2."""
    args = parser.parse_args(argv)
    if args.demo:
        parser.set_defaults(**{name: value for name, value in DEMO_DEFAULTS.items() if name in vars(args)})
        args = parser.parse_args(argv)
    values = vars(args)
    for name, value in values.items():
        if isinstance(value, list):  # languages, in one order, so that "de en" and "en de" are the same run
            values[name] = tuple(sorted(set(value), key=PAWSX_LANGUAGES.index))
    try:
        return Settings(benchmark=benchmark, **values)
    except UserError as error:
        parser.error(str(error))


def run_script(parser: argparse.ArgumentParser, benchmark: str, argv: Sequence[str] | None = None) -> int:
    """The whole life of a script: parse, run, and say in one line what went wrong.

    :return: the exit status: 0 done, 1 training failed, 2 the user's mistake, 130 interrupted.
    """
    settings = parse_settings(parser, benchmark, argv)
    # Nothing heavy before this line, so that --help and a bad flag answer at once; torch only once the rows are there.
    from . import screen
    from .preparation import prepare

    screen.set_up(settings.verbosity)
    try:
        prepared = prepare(settings)
        from .experiment import run

        run(prepared)
    except UserError as error:
        print(f"{parser.prog}: error: {error}", file=sys.stderr)
        return 2
    except TrainingFailed as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, SystemExit) as end:
        # Lightning turns Ctrl-C during a fit or a prediction into exit(1).
        if isinstance(end, SystemExit) and not isinstance(end.__context__, KeyboardInterrupt):
            raise
        print(f"{parser.prog}: interrupted; finished models stay in the cache (--resume)", file=sys.stderr)
        return 130
    return 0


def flag(group: Any, *names: str, help: str, unit: str, off: str | None = None, **options: Any) -> None:
    """Add a flag whose help line ends in its default, unit and "off" value."""
    default = options.pop("shown_default", "%(default)s")
    if "choices" not in options and "metavar" not in options and "action" not in options:
        options["metavar"] = "N" if options.get("type") is int else "X"
    ending = f"[default: {default}; unit: {unit}; off: {off or 'none'}]"
    group.add_argument(*names, help=f"{help} {ending}", **options)


def _add_data_flags(group: Any) -> None:
    flag(
        group,
        "--dataset_path",
        metavar="DIR",
        help="folder with <config>/<split>.parquet|csv|tsv|jsonl or a save_to_disk folder; what is not there is "
        "downloaded from the Hugging Face hub and kept there",
        unit="folder",
    )
    flag(
        group,
        "--demo",
        action="store_true",
        help="run the whole flow on generated rows and tiny models made on the spot, without network",
        unit="switch",
        off="leave it out",
    )
    flag(
        group,
        "--max_train_rows",
        type=int,
        metavar="N",
        help="for a quick look: keep N rows of each training (and PAWS-X validation) split",
        shown_default="all rows",
        unit="rows",
        off="leave it out",
    )
    flag(
        group,
        "--max_test_rows",
        type=int,
        metavar="N",
        help="for a quick look: keep N rows of each test set",
        shown_default="all rows",
        unit="rows",
        off="leave it out",
    )


def _add_training_flags(group: Any) -> None:
    def number(name: str, help: str, unit: str, off: str | None = None, type: Callable = float, **more: Any) -> None:
        flag(group, name, *more.pop("aliases", ()), type=type, help=help, unit=unit, off=off, **more)

    checkpoint = "hub name or local folder"
    flag(group, "--teacher_model", metavar="NAME", help="checkpoint that becomes the teacher", unit=checkpoint)
    flag(
        group, "--student_model", metavar="NAME", help="checkpoint of the baseline and of the student", unit=checkpoint
    )
    number("--teacher_max_epochs", "longest training of the teacher", "epochs", type=int)
    number("--max_epochs", "longest training of baseline and student", "epochs", type=int, aliases=("--max_epoch",))
    number("--teacher_learning_rate", "peak learning rate of the teacher", "per step")
    number("--teacher_weight_decay", "weight decay of the teacher (AdamW)", "per step", off="0")
    number("--student_learning_rate", "peak learning rate of baseline and student", "per step")
    number("--student_weight_decay", "weight decay of baseline and student (AdamW)", "per step", off="0")
    number("--batch_size", "rows behind one optimizer step, over all devices and accumulated passes", "rows", type=int)
    number("--per_gpu_batch_size", "rows in one forward and backward pass on one device", "rows", type=int)
    number(
        "--aug_scale",
        "largest share of words that text augmentation changes, for all three models; what teaches is clean text",
        "share",
        "0",
    )
    number(
        "--time_limit",
        "stop each of the three fits after this long",
        "seconds",
        "leave it out",
        type=int,
        shown_default="no limit",
    )
    flag(
        group,
        "--train_nodistill",
        nargs="?",
        const=True,
        type=parse_bool,
        metavar="BOOL",
        help="train the baseline; without it there is no distillation ratio",
        unit="true/false",
        off="false",
    )
    number("--seed", "seed of the hold-out and of all three fits", "integer", type=int)


def _add_distillation_flags(group: Any) -> None:
    def weight(name: str, help: str) -> None:
        flag(group, name, type=float, metavar="W", help=help, unit="factor", off="0")

    flag(group, "--temperature", type=float, help="divides both logits in the soft label loss", unit="factor", off="1")
    flag(
        group,
        "--temperature_scaling",
        choices=TEMPERATURE_SCALINGS,
        help="multiply the soft label loss by the temperature squared (Hinton et al. 2015) or not (AutoGluon): "
        "at 5 that is 25 times the weight; a regression has no temperature",
        unit="name",
        off="none",
    )
    weight("--hard_label_weight", "weight of the loss against the true labels")
    weight("--soft_label_weight", "weight of the loss against the teacher's softened outputs")
    weight("--softmax_regression_weight", "weight of the teacher's head on the student's feature (Yang et al. 2021)")
    weight("--output_feature_loss_weight", "weight of the distance between pooled features")
    weight("--rkd_distance_loss_weight", "weight of relational distances within a batch (Park et al. 2019)")
    weight("--rkd_angle_loss_weight", "weight of relational angles within a batch (Park et al. 2019)")
    flag(
        group,
        "--soft_label_loss_type",
        choices=CLASS_LOSSES,
        shown_default="cross_entropy for classes, mse for a regression",
        help="form of the soft label loss",
        unit="name",
    )
    flag(
        group,
        "--softmax_regression_loss_type",
        choices=CLASS_LOSSES,
        help="form of the softmax regression loss",
        unit="name",
    )
    flag(
        group, "--output_feature_loss_type", choices=FEATURE_LOSSES, help="form of the output feature loss", unit="name"
    )


def _add_machine_flags(group: Any) -> None:
    flag(group, "--num_gpu", type=int, help="GPUs to use; -1 is all there are", unit="GPUs", off="0 (CPU)")
    flag(
        group,
        "--precision",
        choices=PRECISIONS,
        help="arithmetic of training and prediction; auto is bf16 on a GPU that has it, 16 on another, 32 on a CPU; "
        "what the device lacks falls back to 32, and says so",
        unit="bits",
        off="32",
    )
    flag(
        group,
        "--num_workers",
        type=int,
        help="processes that load training rows; rows are tokenised once, so they pay for text augmentation only",
        unit="processes",
        off="0 (none)",
    )
    flag(
        group,
        "--length_grouping",
        nargs="?",
        const=True,
        type=parse_bool,
        metavar="BOOL",
        help="make batches of rows of about the same length, which need hardly any padding",
        unit="true/false",
        off="false (rows in random order)",
    )
    flag(
        group,
        "--compile",
        action="store_true",
        help="compile the networks with torch.compile before training; takes minutes, pays in long fits on a GPU",
        unit="switch",
        off="leave it out",
    )
    flag(
        group,
        "--teacher_outputs",
        choices=TEACHER_OUTPUTS,
        help="compute the teacher's outputs once and keep them in the cache, or let it read every batch anew",
        unit="name",
        off="online",
    )
    flag(
        group,
        "--teacher_outputs_precision",
        choices=TEACHER_OUTPUTS_PRECISIONS,
        help="number format of the kept outputs; 16 takes half the room on disk",
        unit="bits",
    )


def _add_output_flags(group: Any) -> None:
    flag(
        group,
        "--finetuned_model_cache_folder",
        "--save_path",
        metavar="DIR",
        help="where finished teachers, their outputs and baselines are kept",
        unit="folder",
    )
    flag(
        group,
        "--resume",
        nargs="?",
        const=True,
        type=parse_bool,
        metavar="BOOL",
        help="load teacher and baseline from the cache when they were trained with the same settings on the same data",
        unit="true/false",
        off="false",
    )
    flag(
        group, "--output_folder", metavar="DIR", help="where students, predictions and results.jsonl go", unit="folder"
    )
    volume = group.add_mutually_exclusive_group()
    for name, meaning in (
        ("quiet", "print warnings and the result only"),
        ("verbose", "let all libraries print what they want"),
    ):
        flag(
            volume,
            f"--{name}",
            dest="verbosity",
            action="store_const",
            const=name,
            shown_default="normal",
            help=meaning,
            unit="switch",
            off="leave it out",
        )
