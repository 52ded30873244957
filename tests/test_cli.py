"""The command line: fast help, exact names, and one line for everything that cannot be run."""

import gc
import os
import re
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from automm_distill.cache import command as cache_command
from automm_distill.cli import flags_without_effect, no_garbage_collection, parse_settings
from automm_distill.errors import UserError
from automm_distill.flag import Benchmark
from automm_distill.losses import TERMS
from automm_distill.presets import PRESETS
from automm_distill.report import command as report_command
from automm_distill.settings import LOSS_WEIGHTS, Settings, identity
from automm_distill.sweep import command as sweep_command
from automm_distill.sweep import grid

from .conftest import make_settings

ROOT = Path(__file__).parent.parent
SCRIPTS = ("glue", "pawsx")
FLAGS = """
    --teacher_model --student_model --seed --precision --max_epochs --max_epoch --time_limit --num_gpu --temperature
    --hard_label_weight --soft_label_weight --softmax_regression_weight --output_feature_loss_weight
    --rkd_distance_loss_weight --rkd_angle_loss_weight --soft_label_loss_type --softmax_regression_loss_type
    --output_feature_loss_type --finetuned_model_cache_folder --save_path --resume --train_nodistill --aug_scale
    --dataset_path --demo --teacher_max_epochs --teacher_learning_rate --teacher_weight_decay --student_learning_rate
    --student_weight_decay --batch_size --per_gpu_batch_size --num_workers --max_train_rows --max_test_rows
    --length_grouping --compile --teacher_outputs --teacher_outputs_precision --output_folder --quiet --verbose
    --temperature_scaling --unlabelled_path --unlabelled_rows --match_steps --student_layers --preset
    --hidden_states_loss_weight --hidden_states_layers
""".split()


def parse(benchmark: Benchmark, *argv: str) -> Settings:
    return parse_settings(benchmark, argv)


def refusal(capsys, benchmark, *argv):
    with pytest.raises(SystemExit) as end:
        parse(benchmark, *argv)
    assert end.value.code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1, error
    return error


@pytest.mark.parametrize("benchmark", SCRIPTS)
def test_help_is_complete_and_shows_defaults(benchmark):
    script = ROOT / f"automm_distillation_{benchmark}.py"
    text = subprocess.run([sys.executable, script, "--help"], capture_output=True, text=True, check=True).stdout
    own = ["--glue_task"] if benchmark == "glue" else ["--pawsx_teacher_tasks", "--pawsx_student_tasks"]
    for flag in FLAGS + own:
        assert re.search(rf"{flag}\b", text), flag
    options = " ".join(text.partition("\ndata:")[2].split())
    assert options.count("[10 epochs]") == 2
    assert "[-1]" in options
    assert "[cross_entropy for classes, mean_square_error for a regression]" in options
    assert "None" not in options


@pytest.mark.parametrize("benchmark", SCRIPTS)
def test_parsing_imports_nothing_heavy(benchmark):
    code = (
        f"import sys, automm_distillation_{benchmark}; from automm_distill.cli import parse_settings;"
        f"parse_settings('{benchmark}', []);"
        "print([name for name in ('torch', 'pandas', 'autogluon', 'transformers', 'datasets') if name in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True).strip() == "[]"


def test_published_defaults():
    glue, pawsx = parse("glue"), parse("pawsx")
    for settings in (glue, pawsx):
        assert (settings.seed, settings.temperature, settings.num_gpu) == (123, 5, -1)
        assert [getattr(settings, weight) for weight in LOSS_WEIGHTS] == [0.1, 1, 0, 0.01, 0, 0, 0]
        assert (settings.max_epochs, settings.teacher_max_epochs) == (10, 10)
        assert (settings.batch_size, settings.per_gpu_batch_size, settings.aug_scale) == (128, 32, 0)
        assert (settings.resume, settings.train_nodistill, settings.time_limit) == (False, True, None)
        assert (settings.teacher_learning_rate, settings.teacher_weight_decay) == (1e-4, 1e-3)
    assert glue.tasks[0].name == "qnli"
    assert (glue.teacher_model, glue.student_model) == (
        "google/bert_uncased_L-12_H-768_A-12",
        "google/bert_uncased_L-6_H-768_A-12",
    )
    assert (glue.student_learning_rate, glue.student_weight_decay) == (1e-4, 1e-3)
    assert pawsx.teacher_model == "microsoft/mdeberta-v3-base"
    assert pawsx.student_model == "nreimers/mMiniLMv2-L6-H384-distilled-from-XLMR-Large"
    assert (pawsx.student_learning_rate, pawsx.student_weight_decay) == (2e-4, 2e-3)
    assert [task.config for task in pawsx.tasks] == ["en", "de", "es", "fr", "ja", "ko", "zh"]


def test_aliases():
    settings = parse("glue", "--max_epoch", "3", "--save_path", "models")
    assert (settings.max_epochs, settings.finetuned_model_cache_folder) == (3, "models")


@pytest.mark.parametrize(
    ("argv", "value"),
    [(["--resume"], True), (["--resume", "true"], True), (["--resume", "False"], False), (["--resume", "0"], False)],
)
def test_booleans_are_read_as_words(argv, value):
    assert parse("glue", *argv).resume is value
    assert parse("pawsx", "--train_nodistill", argv[-1] if len(argv) > 1 else "true").train_nodistill is value


def test_languages_have_one_order():
    settings = parse("pawsx", "--pawsx_teacher_tasks", "zh", "en", "zh", "--pawsx_student_tasks", "de")
    assert settings.pawsx_teacher_tasks == ("en", "zh")
    assert [task.config for task in settings.tasks] == ["en", "zh", "de"]


def test_demo_brings_its_own_defaults_but_flags_win():
    settings = parse("pawsx", "--demo")
    assert settings.dataset_path is None
    assert [task.config for task in settings.tasks] == ["en", "de"]
    assert parse("glue", "--demo", "--max_epochs", "2").max_epochs == 2
    assert parse("glue", "--demo").tasks[0].name == "demo"


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["--glue_task", "wnli"], "invalid choice: 'wnli' (choose from 'mnli', 'mnlim', 'mnlimm', 'qqp'"),
        (["--glue_tasks", "rte"], "unrecognized arguments: --glue_tasks rte"),
        (["--hard_label_weight", "-1"], "--hard_label_weight -1.0: needs 0 or more (0 = off)"),
        (["--hard_label_weight"], "argument --hard_label_weight: expected one argument"),
        (["--rkd_angle_loss_weight", "nan"], "--rkd_angle_loss_weight nan: needs a finite number"),
        (["--soft_label_weight", "inf"], "--soft_label_weight inf: needs a finite number"),
        (["--soft_label_weight", "much"], "argument --soft_label_weight: invalid float value: 'much'"),
        (["--temperature", "0"], "--temperature 0.0: needs a number above 0"),
        (["--temperature", "-5"], "--temperature -5.0: needs a number above 0"),
        (["--max_epochs", "0"], "--max_epochs 0: needs 1 or more"),
        (["--teacher_max_epochs", "0"], "--teacher_max_epochs 0: needs 1 or more"),
        (["--time_limit", "0"], "--time_limit 0: needs 1 or more (or leave it out)"),
        (["--max_train_rows", "0"], "--max_train_rows 0: needs 1 or more"),
        (["--seed", "4294967296"], "--seed 4294967296: needs a number from 0 to 4294967295"),
        (["--seed", "-1"], "--seed -1: needs a number from 0 to 4294967295"),
        (["--num_gpu", "-2"], "--num_gpu -2: needs -1 or more (-1 = all, 0 = CPU)"),
        (["--precision", "8"], "argument --precision: invalid choice: '8' (choose from 'auto', '16'"),
        (["--soft_label_loss_type", "kl"], "argument --soft_label_loss_type: invalid choice: 'kl'"),
        (["--output_feature_loss_type", "l1"], "invalid choice: 'l1' (choose from 'mean_square_error', 'mse'"),
        (["--aug_scale", "2"], "--aug_scale 2.0: needs a number from 0 to 1 (a share of words, 0 = off)"),
        (["--teacher_learning_rate", "0"], "--teacher_learning_rate 0.0: needs a number above 0"),
        (["--student_weight_decay", "-1"], "--student_weight_decay -1.0: needs 0 or more"),
        (["--resume", "maybe"], "argument --resume: 'maybe' is neither true nor false"),
        (
            ["--glue_task", "stsb", "--softmax_regression_loss_type", "cross_entropy"],
            "a regression has no classes; use mean_square_error",
        ),
        (["--temperature_scaling", "cubed"], "invalid choice: 'cubed' (choose from 'none', 'squared')"),
        (
            ["--glue_task", "stsb", "--soft_label_loss_type", "cross_entropy"],
            "a regression has no classes; use mean_square_error",
        ),
        (
            [word for name in LOSS_WEIGHTS for word in (f"--{name}", "0")],
            "all loss weights are 0: set at least one of --hard",
        ),
        (["--demo", "--glue_task", "rte"], "--glue_task rte: --demo brings its own task"),
        (["--demo", "--dataset_path", "x"], "--dataset_path x: --demo brings its own rows"),
        (["--unlabelled_path"], "argument --unlabelled_path: expected at least one argument"),
        (
            ["--unlabelled_path", "rest"],
            "--unlabelled_path rest: means the training rows that --max_train_rows leaves out",
        ),
        (["--demo", "--unlabelled_path", "test"], "--unlabelled_path test: models are scored on the test rows of demo"),
        (["--unlabelled_rows", "0"], "--unlabelled_rows 0: needs 1 or more (or leave it out)"),
        (["--match_steps", "perhaps"], "argument --match_steps: 'perhaps' is neither true nor false"),
        (
            ["--unlabelled_path", "a.csv", "--soft_label_weight", "0", "--output_feature_loss_weight", "0"],
            "--unlabelled_path: with --hard_label_weight alone nothing is learnt from rows without a label",
        ),
        (["--student_layers", "0"], "--student_layers 0: needs 1 layer or more"),
        (["--student_layers", "4,2"], "--student_layers 4,2: needs ascending layers, each once, such as 2,4"),
        (["--student_layers", "half"], "--student_layers half: needs a number of layers (3: spread over the depth)"),
        (["--quiet", "--verbose"], "argument --verbose: not allowed with argument --quiet"),
    ],
)
def test_bad_values_are_refused_in_one_line(capsys, argv, line):
    assert line in refusal(capsys, "glue", *argv)


def test_test_rows_of_pawsx_are_not_learnt_from(capsys):
    error = refusal(capsys, "pawsx", "--unlabelled_path", "test")
    assert "--unlabelled_path test: models are scored on the test rows of pawsx; name a file" in error


def test_path_that_is_called_like_a_word_is_one():
    assert parse("glue", "--unlabelled_path", "./test", "test", "a//b/").unlabelled_path == ("./test", "a/b", "test")


@pytest.mark.parametrize("role", ["teacher", "student"])
def test_unknown_language_is_refused_with_the_known_ones(capsys, role):
    error = refusal(capsys, "pawsx", f"--pawsx_{role}_tasks", "en", "xx")
    assert "invalid choice: 'xx' (choose from 'en', 'de', 'es', 'fr', 'ja', 'ko', 'zh')" in error


def test_demo_languages_are_those_that_can_be_generated(capsys):
    assert "--demo has rows in en, de" in refusal(capsys, "pawsx", "--demo", "--pawsx_student_tasks", "en", "fr")


SAME_RUNS = [
    ("glue", [], ["--glue_task", "qnli"]),
    ("glue", ["--output_feature_loss_type", "mse"], ["--output_feature_loss_type", "mean_square_error"]),
    ("glue", ["--output_feature_loss_type", "cosine"], ["--output_feature_loss_type", "cosine_distance"]),
    ("glue", [], ["--soft_label_loss_type", "cross_entropy"]),
    ("glue", ["--glue_task", "stsb"], ["--glue_task", "stsb", "--soft_label_loss_type", "mse"]),
    ("glue", ["--precision", "16"], ["--precision", "16-mixed"]),
    ("glue", ["--precision", "bf16-mixed"], ["--precision", "bf16"]),
    ("glue", ["--dataset_path", "./data//glue/"], ["--dataset_path", "data/glue"]),
    ("glue", ["--save_path", "cache/"], []),
    ("glue", ["--output_folder", "./results"], []),
    ("glue", ["--temperature", "5"], []),
    ("glue", ["--rkd_angle_loss_weight", "-0"], []),
    ("glue", ["--unlabelled_path", "b", "./a.csv", "b/"], ["--unlabelled_path", "a.csv", "b"]),
    ("pawsx", ["--pawsx_student_tasks", *"zh ko ja fr es de en".split()], []),
    ("glue", ["--student_layers", " 0, 2 ,04"], ["--student_layers", "0,2,4"]),
]


@pytest.mark.parametrize(("benchmark", "argv", "other"), SAME_RUNS)
def test_equal_settings_have_one_form(benchmark, argv, other):
    assert parse(benchmark, *argv) == parse(benchmark, *other)


def test_local_checkpoint_has_one_spelling(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "models" / "small").mkdir(parents=True)
    assert parse("glue", "--student_model", "./models//small/").student_model == "models/small"
    assert parse("glue", "--student_model", "~/models/small").student_model == str(tmp_path / "models" / "small")
    assert parse("glue", "--student_model", "google/bert-tiny").student_model == "google/bert-tiny"


@pytest.mark.parametrize(
    ("argv", "other"),
    [
        (["--resume"], []),
        (["--quiet"], []),
        (["--num_workers", "4"], []),
        (["--output_folder", "elsewhere"], []),
        (["--dataset_path", "elsewhere"], []),  # the rows count, not where they are
        (["--glue_task", "stsb", "--temperature", "2"], ["--glue_task", "stsb"]),
        (
            ["--output_feature_loss_weight", "0", "--output_feature_loss_type", "cosine"],
            ["--output_feature_loss_weight", "0"],
        ),
        (["--soft_label_weight", "0", "--temperature", "2"], ["--soft_label_weight", "0"]),
        (["--teacher_outputs", "online", "--teacher_outputs_precision", "16"], ["--teacher_outputs", "online"]),
        (["--unlabelled_path", "a.csv"], ["--unlabelled_path", "b"]),  # the rows count, not where they are
        (["--unlabelled_rows", "5", "--match_steps", "false"], []),
        (["--student_layers", "3"], ["--student_layers", "0,2,4"]),  # the checkpoint that they lead to counts
    ],
)
def test_what_cannot_change_a_result_is_not_part_of_its_identity(argv, other):
    assert parse("glue", *argv).identity == parse("glue", *other).identity


@pytest.mark.parametrize(
    "argv",
    [
        ["--seed", "1"],
        ["--temperature", "2"],
        ["--max_epochs", "3"],
        ["--per_gpu_batch_size", "16"],
        ["--length_grouping", "false"],
        ["--output_feature_loss_type", "cosine"],
        ["--glue_task", "rte"],
        ["--teacher_outputs_precision", "16"],
        ["--unlabelled_path", "test"],
        ["--unlabelled_path", "a.csv"],
        ["--student_layers", "3"],  # of the fine-tuned teacher, which no checkpoint tells
    ],
)
def test_what_can_change_a_result_is_part_of_its_identity(argv):
    assert parse("glue", *argv).identity != parse("glue").identity


@pytest.mark.parametrize(
    "argv", [["--unlabelled_rows", "5"], ["--match_steps", "false"], ["--unlabelled_path", "b", "test"]]
)
def test_identity_has_what_is_done_with_unlabelled_rows(argv):
    assert (
        parse("glue", "--unlabelled_path", "a.csv", *argv).identity
        != parse("glue", "--unlabelled_path", "a.csv").identity
    )


def test_preset_sets_what_is_not_given(capsys):
    strong, published = parse("glue", "--preset", "strong"), parse("glue")
    changed = {name: getattr(strong, name) for name in PRESETS["strong"]}
    assert changed == PRESETS["strong"]
    assert {name for name in asdict(strong) if getattr(strong, name) != getattr(published, name)} == {
        "preset",
        *(name for name, value in PRESETS["strong"].items() if value != getattr(published, name)),
    }
    mine = parse("glue", "--temperature", "3", "--preset", "strong", "--hidden_states_loss_weight", "0")
    assert (mine.temperature, mine.hidden_states_loss_weight) == (3, 0), "a flag that is given wins"
    flags = [word for name, value in PRESETS["strong"].items() for word in (f"--{name}", str(value))]
    assert parse("glue", *flags).identity == strong.identity, "what it sets counts, not its name"


def test_identity_is_that_of_earlier_versions_without_their_new_flags():
    settings = parse("glue")
    names = {"unlabelled_path", "unlabelled_rows", "match_steps", "student_layers", "preset"}
    names |= {"hidden_states_loss_weight", "hidden_states_layers"}
    earlier = {name: value for name, value in asdict(settings).items() if name not in names}
    assert settings.identity == identity(earlier, is_regression=False)
    assert not names & set(settings.identity)


@pytest.mark.parametrize(
    ("argv", "lines"),
    [
        (["--temperature", "2"], []),
        (["--soft_label_weight", "0"], []),  # the flags that it makes idle were not given
        (
            ["--soft_label_weight", "0", "--temperature", "2"],
            ["--temperature: has no effect, since --soft_label_weight is 0"],
        ),
        (
            ["--softmax_regression_loss_type", "mse"],
            ["--softmax_regression_loss_type: has no effect, since --softmax_regression_weight is 0"],
        ),
        (
            ["--glue_task", "stsb", "--temperature", "2"],
            ["--temperature: has no effect, since a regression has no temperature"],
        ),
        (
            ["--teacher_outputs", "online", "--teacher_outputs_precision", "16"],
            ["--teacher_outputs_precision: has no effect, since --teacher_outputs online keeps none"],
        ),
    ],
)
def test_flags_that_were_given_and_change_nothing_are_named(argv, lines):
    assert flags_without_effect(parse("glue", *argv), argv) == lines


@pytest.mark.parametrize(
    ("flag", "rows", "message"),
    [
        (
            "--rkd_distance_loss_weight",
            1,
            "a distance needs two rows in one pass; --per_gpu_batch_size 1 needs to be 2",
        ),
        ("--rkd_angle_loss_weight", 1, "an angle needs three rows in one pass; --per_gpu_batch_size 1 needs to be 3"),
        ("--rkd_angle_loss_weight", 2, "an angle needs three rows in one pass; --per_gpu_batch_size 2 needs to be 3"),
    ],
)
def test_relations_need_as_many_rows_in_a_pass(flag, rows, message, capsys):
    with pytest.raises(SystemExit):
        parse("glue", flag, "0.5", "--per_gpu_batch_size", str(rows))
    assert f"{flag} 0.5: {message} or more" in capsys.readouterr().err
    parse("glue", flag, "0.5", "--per_gpu_batch_size", "3")


def test_demo_leaves_no_trace_in_the_next_command_line():
    before = parse("glue")
    parse("glue", "--demo")
    assert parse("glue") == before


@pytest.mark.parametrize("benchmark", SCRIPTS)
@pytest.mark.parametrize("demo", [[], ["--demo"]])
def test_layers_are_the_teachers_unless_a_student_is_given(benchmark, demo):
    given = parse(benchmark, *demo, "--student_model", "bert")
    assert (given.student_model, given.student_layers) == ("bert", None)
    assert parse(benchmark, *demo).student_layers == ("1" if demo else None)
    assert bool(parse(benchmark, *demo).student_model) == (not demo), "the demo's is made of its teacher"
    assert parse(benchmark, *demo, "--student_layers", "2").student_model is None
    assert parse(benchmark, *demo, "--student_layers", "2", "--student_model", "bert").student_model == "bert"


def test_student_needs_a_checkpoint_or_layers():
    with pytest.raises(UserError, match="--student_model: needs a checkpoint, unless --student_layers takes layers of"):
        make_settings(student_model=None)


def test_every_weight_belongs_to_one_loss():
    assert tuple(LOSS_WEIGHTS.values()) == TERMS
    assert make_settings(rkd_angle_loss_weight=3.0).loss_weights["rkd_angle"] == 3.0


PATH_FLAGS = ("dataset_path", "output_folder", "finetuned_model_cache_folder", "teacher_model", "student_model")


@pytest.mark.parametrize("flag", PATH_FLAGS)
def test_tilde_is_the_home_folder_in_every_path(flag, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "x").mkdir()
    for argv in ([f"--{flag}=~/x"], [f"--{flag}", "~/x"]):
        assert getattr(parse("glue", *argv), flag) == str(tmp_path / "x")


def test_tilde_is_the_home_folder_in_the_other_commands_too(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    home = Path(tmp_path)
    report = report_command.make_parser().parse_args(["~/r", "--output_folder=~/report"])
    assert (report.results, report.output_folder) == ([home / "r"], home / "report")
    cache = cache_command.get_parser().parse_args(["list", "--save_path=~/c", "--results", "~/r"])
    assert (cache.finetuned_model_cache_folder, cache.results) == (home / "c", [home / "r"])
    assert sweep_command.make_parser(None).parse_args(["glue", "--file=~/s.yaml"]).file == home / "s.yaml"


def test_tilde_of_nobody_is_refused(capsys):
    error = refusal(capsys, "glue", "--output_folder", "~nobody-here/x")
    assert "~nobody-here/x: there is no user nobody-here; a folder here with that name is ./~nobody-here/x" in error
    settings = parse("glue", "--output_folder", "./~nobody-here/x")
    assert replace(settings, seed=1).output_folder == "./~nobody-here/x", "also the second time"


def test_path_that_is_not_in_utf8_is_refused(capsys):
    assert "r\\xe9s: the name is not in UTF-8" in refusal(capsys, "glue", "--output_folder", "r\udce9s")


def test_path_in_a_grid_is_one_value(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    points = {"dataset_path": ["~/my data [v2]", "-rows"], "pawsx_student_tasks": ["en de", "de"]}
    trials = grid.plan("pawsx", points, [1], [])
    assert {trial.settings.dataset_path for trial in trials} == {str(tmp_path / "my data [v2]"), "-rows"}
    assert {trial.settings.pawsx_student_tasks for trial in trials} == {("en", "de"), ("de",)}


def test_name_of_a_trial_is_short_enough_for_a_file():
    (trial,) = grid.plan("glue", {"dataset_path": ["/data/" + "ü" * 200]}, [1], [])
    assert len(f"{trial.name}.log".encode()) <= 255


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_help_fits_the_terminal(columns):
    script = ROOT / "automm_distillation_glue.py"
    environment = {**os.environ, "COLUMNS": str(columns)}
    text = subprocess.run([sys.executable, script, "--help"], capture_output=True, text=True, env=environment).stdout
    assert max(len(line) for line in text.splitlines() if line.startswith(" ") and "--" not in line) <= min(
        columns, 120
    )


def test_garbage_is_collected_again_once_the_libraries_are_imported():
    enabled = []

    def fail():
        with no_garbage_collection():
            enabled.append(gc.isenabled())
            raise ValueError("a mistake")

    with pytest.raises(ValueError, match="a mistake"):
        fail()
    assert [*enabled, gc.isenabled()] == [False, True]
