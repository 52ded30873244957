"""Rows without labels: where they come from, which of them are left out, and what is refused."""

import shutil

import datasets
import pandas as pd
import pytest

from automm_distill.cli import parse_settings
from automm_distill.errors import UserError
from automm_distill.inputs.checkpoints.finding import Checkpoint
from automm_distill.inputs.checkpoints.opening import check_checkpoint
from automm_distill.inputs.rows.row_checks import tell_of_cut_rows
from automm_distill.inputs.rows.splits import Splits, TrainValidation, load_splits
from automm_distill.memory import estimate_peak
from automm_distill.preflight import preflight
from automm_distill.report.runs import load_runs
from automm_distill.result_row import make_row
from automm_distill.tasks import GLUE_TASKS

from .conftest import GERMAN, SENTENCES, make_settings, write_splits
from .runs import leave_run

COLUMNS = ["sentence1", "sentence2"]
NEW = SENTENCES[200:260]  # neither among the training rows of RTE nor among its test rows


def load(folder, *paths, task="rte", **settings) -> Splits:
    places = tuple(map(str, paths))
    return load_splits(make_settings(glue_task=task, unlabelled_path=places, **settings), folder)


def texts(frame):
    return set(frame[COLUMNS].itertuples(index=False, name=None))


def said(caplog):
    return [record.getMessage() for record in caplog.records if "unlabelled" in record.getMessage()]


WAYS = {
    "rows.csv": lambda path: NEW.to_csv(path, index=False),
    "rows.tsv": lambda path: NEW.to_csv(path, index=False, sep="\t"),
    "rows.jsonl.gz": lambda path: NEW.to_json(path, orient="records", lines=True),
    "rows.parquet": lambda path: NEW[COLUMNS[::-1]][::-1].to_parquet(path),  # no labels, another order
    "saved": lambda path: datasets.Dataset.from_pandas(NEW[COLUMNS], preserve_index=False).save_to_disk(path),
}


@pytest.mark.parametrize("name", WAYS)
def test_rows_are_the_same_from_whatever_file(tmp_path, datasets_folder, name):
    """A set: as from two shards of a folder, with labels that the task does not have."""
    shards = tmp_path / "shards"
    (shards / "deeper").mkdir(parents=True)
    NEW[30:].assign(label="unknown").to_csv(shards / "a.csv", index=False)
    NEW[:30].to_parquet(shards / "b.parquet")
    SENTENCES[300:310].to_parquet(shards / "deeper" / "c.parquet")
    (shards / "notes.md").write_text("no rows")
    WAYS[name](tmp_path / name)
    splits, other = load(datasets_folder, tmp_path / name), load(datasets_folder, shards)
    assert list(splits.unlabelled.columns) == ["id", *COLUMNS]
    assert texts(splits.unlabelled) == texts(NEW)
    assert splits.unlabelled["id"].is_unique
    pd.testing.assert_frame_equal(splits.unlabelled, other.unlabelled)
    assert splits.fingerprint == other.fingerprint


def test_known_rows_and_repeats_are_left_out_and_counted(tmp_path, datasets_folder, caplog):
    caplog.set_level("INFO", logger="automm_distill")
    labelled = load(datasets_folder)
    assert labelled.unlabelled is None
    known = [labelled.tests["test"][:5], labelled.student.validation[:4], labelled.student.train[:3]]
    uneven = NEW[:2].assign(sentence1=" " + NEW["sentence1"].str.replace(" ", "  "))
    blank = NEW[:1].assign(sentence2=" ")
    both = pd.concat([*known, NEW[:10], uneven, blank])
    both.iloc[0, both.columns.get_loc("sentence1")] += "\n"
    both.to_json(tmp_path / "rows.jsonl", orient="records", lines=True)
    splits = load(datasets_folder, tmp_path / "rows.jsonl")
    assert said(caplog) == [
        f"--unlabelled_path {tmp_path}/rows.jsonl: dropped 1 of 25 rows without text",
        "10 unlabelled rows; left out: 5 that are test rows, 4 of the hold-out, 3 training rows, 2 repeats",
    ]
    assert {first.strip() for first, _ in texts(splits.unlabelled)} >= set(NEW["sentence1"][2:10])


def test_columns_of_the_archive_and_of_the_models_will_do(tmp_path, datasets_folder):
    NEW.to_parquet(tmp_path / "rows.parquet")  # sentence1 and sentence2, as in MultiNLI's own files
    assert texts(load(datasets_folder, tmp_path / "rows.parquet", task="mnli").unlabelled) == texts(NEW[20:])
    qnli = SENTENCES.rename(columns={"sentence1": "question", "sentence2": "sentence"})
    write_splits(tmp_path / "qnli", {"train": qnli[:120], "validation": qnli[120:180]})
    assert texts(load(tmp_path, tmp_path / "rows.parquet", task="qnli").unlabelled) == texts(NEW)


def test_rest_is_what_max_train_rows_leaves_out(datasets_folder):
    cut = load(datasets_folder, max_train_rows=60)
    splits, other_seed = (load(datasets_folder, "rest", max_train_rows=60, seed=seed) for seed in (123, 4))
    labelled = texts(cut.student.train) | texts(cut.student.validation)
    assert texts(splits.unlabelled) == texts(SENTENCES[:120]) - labelled
    assert "label" not in splits.unlabelled
    assert texts(other_seed.unlabelled) != texts(splits.unlabelled)
    assert splits.fingerprint == other_seed.fingerprint == cut.fingerprint


def test_rest_of_pawsx_is_of_the_students_languages(datasets_folder):
    languages = {"pawsx_teacher_tasks": ("en", "de"), "pawsx_student_tasks": ("de",)}
    settings = make_settings("pawsx", **languages, unlabelled_path=("rest",), max_train_rows=50)
    splits = load_splits(settings, datasets_folder)
    assert texts(splits.unlabelled) == texts(GERMAN[:120]) - texts(splits.student.train)


def test_row_that_was_never_translated_is_none(tmp_path, datasets_folder):
    NEW.assign(sentence2=["NS", *NEW["sentence2"][1:]]).to_parquet(tmp_path / "rows.parquet")
    settings = make_settings(
        "pawsx", **dict.fromkeys(("pawsx_teacher_tasks", "pawsx_student_tasks"), ("de",)),
        unlabelled_path=(str(tmp_path / "rows.parquet"),),
    )  # fmt: skip
    assert texts(load_splits(settings, datasets_folder).unlabelled) == texts(NEW[1:])


def write_mnli(folder):
    rows = SENTENCES.rename(columns={"sentence1": "premise", "sentence2": "hypothesis"})
    rows = rows.assign(label=rows["idx"] % 3)
    tests = {"test_matched": rows[200:220].assign(label=-1), "test_mismatched": rows[220:230].drop(columns="label")}
    write_splits(
        folder / "mnli",
        {"train": rows[:120], "validation_matched": rows[120:160], "validation_mismatched": rows[160:200], **tests},
    )


@pytest.mark.parametrize(("task", "start", "end"), [("mnli", 200, 230), ("mnlim", 200, 220), ("mnlimm", 220, 230)])
def test_test_is_glues_own_test_split(tmp_path, task, start, end):
    write_mnli(tmp_path)
    splits = load(tmp_path, "test", task=task)
    assert texts(splits.unlabelled) == texts(SENTENCES[start:end])
    assert splits.fingerprint != load(tmp_path, task=task).fingerprint


def test_data_folder_without_the_test_split_says_what_to_do(datasets_folder):
    with pytest.raises(
        UserError,
        match=r"^--unlabelled_path test: .*/rte has no split 'test'; put test\.parquet there, or move that folder",
    ):
        load(datasets_folder, "test")


def test_test_rows_of_mrpcs_corpus(tmp_path):
    columns = ["Quality", "#1 ID", "#2 ID", "#1 String", "#2 String"]
    rows = SENTENCES.assign(first=SENTENCES["idx"], second=SENTENCES["idx"] + 1000)
    rows = rows[["label", "first", "second", *COLUMNS]].set_axis(columns, axis=1)
    (tmp_path / "MRPC").mkdir()
    rows[:120].to_csv(tmp_path / "MRPC" / "msr_paraphrase_train.txt", index=False, sep="\t")
    rows[80:120][columns[1:3]].to_csv(tmp_path / "MRPC" / "dev_ids.tsv", index=False, header=False, sep="\t")
    with pytest.raises(UserError, match=r"^--dataset_path: .*msr_paraphrase_test\.txt cannot be read: No such file"):
        load(tmp_path, "test", task="mrpc")
    rows[200:230].to_csv(tmp_path / "MRPC" / "msr_paraphrase_test.txt", index=False, sep="\t")
    assert texts(load(tmp_path, "test", task="mrpc").unlabelled) == texts(SENTENCES[200:230])


def test_so_many_are_kept_at_random_by_the_seed(tmp_path, datasets_folder, caplog):
    NEW.to_parquet(tmp_path / "rows.parquet")
    caplog.set_level("WARNING", logger="automm_distill")
    few, again, other = (
        load(datasets_folder, tmp_path / "rows.parquet", unlabelled_rows=20, seed=seed) for seed in (1, 1, 2)
    )
    assert few.unlabelled_count == 20
    pd.testing.assert_frame_equal(few.unlabelled, again.unlabelled)
    assert texts(other.unlabelled) != texts(few.unlabelled)
    assert few.fingerprint == other.fingerprint == load(datasets_folder, tmp_path / "rows.parquet").fingerprint
    assert not caplog.messages
    assert load(datasets_folder, tmp_path / "rows.parquet", unlabelled_rows=70).unlabelled_count == 60
    assert caplog.messages == ["--unlabelled_rows 70: there are 60, all are kept"]


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("rows.csv", None, r"rows\.csv: is neither a file nor a folder, nor one of the words test and rest"),
        ("rows.xlsx", "a", r"rows\.xlsx has none of the suffixes \.parquet, "),
        ("rows.csv", "sentence1,label\na,0\n", r"rows\.csv: column 'sentence2' is missing; found sentence1, label"),
        ("rows.csv", "sentence1,Sentence_2\na,b\n", r"column 'sentence2' is missing; .*; rename 'Sentence_2'\?"),
        ("rows.csv", "", r"rows\.csv is empty"),
        ("rows.csv", "sentence1,sentence2\n", r"rows\.csv has no rows below its header"),
        ("rows.csv", "sentence1,sentence2\na, \n", r"rows\.csv: no row is left with a text \(of 1\)"),
        ("rows.csv", "sentence1,sentence2\na\0,b\n", r"rows\.csv line 2 has a NUL character"),
        ("rows.csv", "sentence1,sentence2\na\n", r"rows\.csv line 2 has 1 field, the header 2"),
        ("rows.jsonl", '{"sentence1": "a", "sentence2": ["b"]}', r"column 'sentence2' is not text: row 0 .* is a list"),
        ("rows.jsonl", '{"sentence1": "a", "sentence2": "b\\u0000"}', r"'sentence2' row 0 .* has a NUL or half of"),
        ("rows.parquet", "PAR", r"rows\.parquet cannot be read as Parquet"),
    ],
)
def test_file_that_cannot_be_used_is_refused_in_one_line(tmp_path, datasets_folder, name, content, line):
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=line) as refusal:
        load(datasets_folder, tmp_path / name)
    assert str(refusal.value).startswith("--unlabelled_path")
    assert "\n" not in str(refusal.value)


def test_folder_without_rows_is_refused_with_what_it_has(tmp_path, datasets_folder):
    (tmp_path / "none" / "train").mkdir(parents=True)
    (tmp_path / "none" / "notes.md").write_text("no rows")
    with pytest.raises(
        UserError, match=r"^--unlabelled_path: .*/none: has no file of rows .*; found notes\.md, train/$"
    ):
        load(datasets_folder, tmp_path / "none")


def test_saved_folder_of_several_splits_is_not_one(tmp_path, datasets_folder):
    rows = datasets.Dataset.from_pandas(NEW[COLUMNS], preserve_index=False)
    datasets.DatasetDict({"train": rows}).save_to_disk(tmp_path / "all")
    with pytest.raises(
        UserError, match=r"^--unlabelled_path: .*/all: is a save_to_disk folder of several splits; name"
    ):
        load(datasets_folder, tmp_path / "all")
    assert load(datasets_folder, tmp_path / "all" / "train").unlabelled_count == 60


def test_empty_shards_do_not_matter_beside_others(tmp_path, datasets_folder):
    NEW.to_csv(tmp_path / "part-1.csv", index=False)
    NEW[:0].to_csv(tmp_path / "part-0.csv", index=False)
    assert load(datasets_folder, tmp_path).unlabelled_count == 60


def test_rows_that_are_all_known_are_refused(tmp_path, datasets_folder):
    SENTENCES[120:180].to_parquet(tmp_path / "rows.parquet")
    with pytest.raises(
        UserError, match=r"^--unlabelled_path: none of 60 rows is left; left out: 60 that are test rows$"
    ):
        load(datasets_folder, tmp_path / "rows.parquet")


def test_rest_of_which_nothing_is_left_out_is_refused(datasets_folder):
    with pytest.raises(UserError, match=r"^--unlabelled_path rest: --max_train_rows 120 leaves out no training row"):
        load(datasets_folder, "rest", max_train_rows=120)


@pytest.fixture
def flags(tmp_path, checkpoints, datasets_folder):
    return {
        "dataset_path": str(datasets_folder),
        "glue_task": "rte",
        "num_gpu": 0,
        "verbosity": "quiet",
        **{f"{role}_model": str(checkpoints / role) for role in ("teacher", "student")},
        "output_folder": str(tmp_path / "results"),
        "finetuned_model_cache_folder": str(tmp_path / "cache"),
    }


def test_run_is_another_one_with_other_unlabelled_rows(tmp_path, flags):
    """But neither by another name of the file, nor without such rows by what is said of them."""
    for name, rows in (("one", NEW), ("same", NEW[::-1]), ("fewer", NEW[1:])):
        rows.to_parquet(tmp_path / f"{name}.parquet")

    def identity(*names, **changes):
        paths = tuple(str(tmp_path / f"{name}.parquet") for name in names)
        return preflight(make_settings(**flags, unlabelled_path=paths, **changes)).identity

    assert identity("one") == identity("same") == identity("one", "fewer")
    assert len({identity(), identity("one"), identity("fewer"), identity("one", unlabelled_rows=9)}) == 4
    assert identity(unlabelled_rows=9, match_steps=False) == identity()


def test_texts_and_number_of_unlabelled_rows_are_known_before_training(tmp_path, flags):
    odd = NEW[:30].assign(sentence1="a text that no training row has")
    odd.to_parquet(tmp_path / "rows.parquet")
    tried = {}

    def check(flag, name, path, texts, limit):
        tried[flag] = texts
        return check_checkpoint(flag, name, path, texts, limit)

    context = preflight(make_settings(**flags, unlabelled_path=(str(tmp_path / "rows.parquet"),)), check=check)
    for flag in ("--teacher_model", "--student_model"):
        assert odd["sentence1"].iloc[0] in tried[flag]
    row = make_row(context, tmp_path, {}, {"scores": {}})
    assert row["rows"]["student"] == {"train": 96, "validation": 24, "unlabelled": context.splits.unlabelled_count}


def test_room_on_disk_and_in_memory_is_that_of_unlabelled_rows_too(tmp_path, flags, monkeypatch):
    long = NEW.assign(sentence1=NEW["sentence1"] + " the pilot" * 40)
    long.to_parquet(tmp_path / "rows.parquet")
    flags["student_model"] = flags["teacher_model"]  # the peak is in the student's fit, beside the teacher
    without = make_settings(**flags)
    settings = make_settings(**flags, unlabelled_path=(str(tmp_path / "rows.parquet"),))
    assert estimate_peak(preflight(settings), on_gpu=False) > estimate_peak(preflight(without), on_gpu=False)
    # The teacher's outputs for 96 training rows fit on the disk, those for 60 more do not.
    monkeypatch.setattr("automm_distill.preflight.OUTPUT_BYTES", shutil.disk_usage(tmp_path).free // 126)
    preflight(without)
    with pytest.raises(UserError, match=r"^--finetuned_model_cache_folder .* GB free on that disk"):
        preflight(settings)


def test_unlabelled_rows_that_a_model_cuts_are_counted(checkpoints, caplog):
    caplog.set_level("INFO", logger="automm_distill")
    data = TrainValidation(SENTENCES[:10], SENTENCES[10:20])
    long = NEW.assign(sentence1=[*NEW["sentence1"][:45], *["the pilot " * 40] * 15])
    splits = Splits(GLUE_TASKS["rte"], data, data, {"test": NEW}, "", long)
    model = Checkpoint(checkpoints / "student", "", 1, max_tokens=64)
    tell_of_cut_rows(splits, GLUE_TASKS["rte"], {"student": model})
    assert caplog.messages == [
        "25 % of the unlabelled rows are longer than the 64 tokens that the student reads, and are cut"
    ]


def test_demo_has_a_rest_too(tmp_path):
    folders = ["--output_folder", f"{tmp_path}/results", "--save_path", f"{tmp_path}/cache", "--quiet"]
    settings = parse_settings("glue", ["--demo", "--unlabelled_path", "rest", "--max_train_rows", "500", *folders])
    assert preflight(settings).splits.unlabelled_count == 2500


def test_seeds_are_averaged_over_the_same_unlabelled_rows_only(tmp_path):
    """How many are left may differ by a few with the hold-out, and says nothing."""
    for name, seed, kept, asked in (("a", 1, 50, None), ("b", 2, 49, None), ("c", 1, 20, 20), ("d", 1, None, None)):
        rest = {"unlabelled_path": ("rest",), "unlabelled_rows": asked, "max_train_rows": 100} if kept else {}
        student = {"train": 380, "validation": 20} | ({"unlabelled": kept} if kept else {})
        rows = {"fingerprint": "f", "student": student, "test": {"test": 400}}
        leave_run(tmp_path, make_settings(seed=seed, **rest), name, rows=rows)
    (runs,) = load_runs([tmp_path]).tasks
    names = sorted(sorted(run.row["run"] for run in group.runs) for group in runs.groups)
    assert names == [["a", "b"], ["c"], ["d"]]
    assert {"unlabelled_path", "unlabelled_rows"} & set(runs.columns)
