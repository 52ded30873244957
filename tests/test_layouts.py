"""Rows are found however people have them on disk: archives, downloads from the hub, save_to_disk, own files."""

import gzip
import os
import shutil
from pathlib import Path

import datasets
import pandas as pd
import pytest

from automm_distill.errors import UserError
from automm_distill.inputs.rows.cleaning import clean
from automm_distill.inputs.rows.raw_rows import read_splits
from automm_distill.inputs.rows.splits import load_splits
from automm_distill.tasks import GLUE_TASKS, Task, pawsx_task

from .conftest import make_settings, write_splits

RTE, STSB, MNLI, MRPC = (GLUE_TASKS[name] for name in ("rte", "stsb", "mnli", "mrpc"))
PAIRS = pd.DataFrame(
    {
        "sentence1": ["a b", 'he said "no"', "ü, 你好"],
        "sentence2": ["c", "d", "e"],
        "label": [0, 1, 1],
        "idx": [4, 5, 6],
    }
)


@pytest.fixture(autouse=True)
def no_hub(monkeypatch):
    """Whatever is not found here must not be looked for elsewhere."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def save(frame: pd.DataFrame, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    match path.suffix:
        case ".parquet":
            frame.to_parquet(path)
        case ".csv":
            frame.to_csv(path, index=False)
        case ".jsonl":
            frame.to_json(path, orient="records", lines=True)
        case ".json":
            frame.to_json(path, orient="records")
        case ".tsv":  # as GLUE writes it: no quoting
            lines = ["\t".join(map(str, row)) for row in [frame.columns, *frame.to_numpy()]]
            path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        case ".gz":
            save(frame, path.with_suffix(""))
            path.write_bytes(gzip.compress(path.with_suffix("").read_bytes()))
            path.with_suffix("").unlink()


def save_to_disk(frame: pd.DataFrame, folder: Path, config: str | None = None, **kwargs: object) -> None:
    rows = datasets.Dataset.from_pandas(frame)
    rows.info.config_name = config
    rows.save_to_disk(folder, **kwargs)


def texts(folder: Path, task: Task = RTE, split: str = "train") -> list[str]:
    return read_splits(folder, task, [split])[split][task.text_columns[0]].tolist()


def write_lines(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_every_layout_and_format_gives_the_same_rows(tmp_path):
    rows = pd.concat([PAIRS] * 10, ignore_index=True).assign(idx=range(30))
    words = rows.assign(label=rows["label"].map(dict(enumerate(RTE.classes))))
    for suffix in ("parquet", "csv", "tsv", "jsonl", "json", "csv.gz"):
        for split in RTE.splits:
            save(rows, tmp_path / suffix / "rte" / f"{split}.{suffix}")
    for archive, hub in (("train", "train"), ("dev", "validation")):
        save(words.rename(columns={"idx": "index"}), tmp_path / "archive" / "RTE" / f"{archive}.tsv")
        save(rows[:16], tmp_path / "hub" / "rte" / f"{hub}-00000-of-00002.parquet")
        save(rows[16:], tmp_path / "hub" / "rte" / f"{hub}-00001-of-00002.parquet")
        save(rows[:16], tmp_path / "converted" / "rte" / hub / "0000.parquet")
        save(rows[16:], tmp_path / "converted" / "rte" / hub / "0001.parquet")
        save(rows, tmp_path / "config" / "rte" / "data" / f"{hub}-00000-of-00001-0123456789abcdef.parquet")
        save(words, tmp_path / "spark" / "rte" / f"{hub}.parquet" / "part-00003-1f0e.snappy.parquet")
        save_to_disk(rows, tmp_path / "saved" / "rte" / hub, num_shards=2)
    reversed_names = datasets.ClassLabel(names=RTE.classes[::-1])
    named = datasets.Dataset.from_pandas(rows.assign(label=1 - rows["label"])).cast_column("label", reversed_names)
    datasets.DatasetDict(train=named, validation=named).save_to_disk(tmp_path / "named" / "rte")
    settings = make_settings(glue_task="rte")
    fingerprints = {path.name: load_splits(settings, path).fingerprint for path in tmp_path.iterdir()}
    assert len(fingerprints) == 13
    assert len(set(fingerprints.values())) == 1, fingerprints


def test_scores_of_an_archive_are_the_hubs(tmp_path):
    """The hub has them in single precision."""
    rows = PAIRS.assign(label=[3.8, 0.2, 5.0])
    hub = clean(rows.astype({"label": "float32"}), STSB, "stsb/train")
    header = "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore"
    lines = [
        f"{row.idx}\tg\tf\t2012\t0\tn\tn\t{row.sentence1}\t{row.sentence2}\t{row.label:.3f}"
        for row in rows.itertuples()
    ]
    write_lines(tmp_path / "STS-B" / "train.tsv", header, *lines)
    archive = clean(read_splits(tmp_path, STSB, ["train"])["train"], STSB, "stsb/train")
    pd.testing.assert_frame_equal(hub, archive, check_exact=True)


@pytest.mark.parametrize(
    ("task", "path", "header", "row", "expected"),
    [
        (
            "cola",
            "CoLA/train.tsv",
            None,
            "gj04\t0\t*\tThey caused him.",
            {"id": "0", "sentence": "They caused him.", "label": 0},
        ),
        (
            "cola",
            "CoLA/train.tsv",
            "",
            "\ngj04\t0\t*\tA line without a row before it.",
            {"id": "0", "sentence": "A line without a row before it.", "label": 0},
        ),
        (
            "cola",
            "cola/train.tsv",
            "sentence\tlabel",
            "They came.\t1",
            {"id": "0", "sentence": "They came.", "label": 1},
        ),
        (
            "sst2",
            "SST-2/train.tsv",
            "sentence\tlabel",
            "good fun \t1",
            {"id": "0", "sentence": "good fun ", "label": 1},
        ),
        (
            "qqp",
            "QQP/train.tsv",
            "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate",
            "7\t1\t2\tWhy?\tHow?\t0",
            {"id": "7", "sentence1": "Why?", "sentence2": "How?", "label": 0},
        ),
        (
            "mrpc",
            "MRPC/train.tsv",
            "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String",
            '1\t11\t12\tHe said " so .\tHe did .',
            {"id": "0", "sentence1": 'He said " so .', "sentence2": "He did .", "label": 1},
        ),
        (
            "mnli",
            "MNLI/train.tsv",
            "index\tpromptID\tpairID\tsentence1\tsentence2\tlabel1\tgold_label",
            "3\t3\t3e\tIt rains.\tIt is wet.\tneutral\tentailment",
            {"id": "3", "sentence1": "It rains.", "sentence2": "It is wet.", "label": 0},
        ),
        (
            "qnli",
            "QNLI/train.tsv",
            "index\tquestion\tsentence\tlabel",
            "5\tWho?\tHe.\tnot_entailment",
            {"id": "5", "sentence1": "Who?", "sentence2": "He.", "label": 1},
        ),
    ],
)
def test_glue_archive_is_read_as_it_unpacks(tmp_path, task, path, header, row, expected):
    write_lines(tmp_path / "glue_data" / path, *filter(None, [header]), row)
    write_lines(tmp_path / "glue_data" / Path(path).parent / "._train.tsv", "\0\5\26\7")  # of a Mac
    rows = read_splits(tmp_path / "glue_data", GLUE_TASKS[task], ["train"])["train"]
    assert clean(rows, GLUE_TASKS[task], "x").to_dict("records") == [expected]


def test_validation_splits_of_the_archives(tmp_path):
    for split in ("matched", "mismatched"):
        save(PAIRS.assign(sentence1=split), tmp_path / "MNLI" / f"dev_{split}.tsv")
    raw = read_splits(tmp_path, MNLI, ["validation_matched", "validation_mismatched"])
    assert {split: rows["sentence1"][0] for split, rows in raw.items()} == {
        "validation_matched": "matched",
        "validation_mismatched": "mismatched",
    }
    for name in ("translated_train", "dev_2k", "test_2k"):
        save(PAIRS.assign(sentence1=name), tmp_path / "x-final" / "de" / f"{name}.tsv")
    for given in (tmp_path, tmp_path / "x-final", tmp_path / "x-final" / "de"):
        raw = read_splits(given, pawsx_task("de"), ["train", "validation", "test"])
        assert [rows["sentence1"][0] for rows in raw.values()] == ["translated_train", "dev_2k", "test_2k"]


def test_mrpc_from_the_files_of_the_corpus(tmp_path):
    rows = [f"{n % 2}\t{n}\t{n + 100}\tfirst {n}\tsecond {n}" for n in range(5)]
    write_lines(tmp_path / "MRPC" / "msr_paraphrase_train.txt", "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String", *rows)
    with pytest.raises(
        UserError, match=r"MRPC has no dev_ids\.tsv, which says which rows of msr_paraphrase_train\.txt"
    ):
        read_splits(tmp_path, MRPC, MRPC.splits)
    write_lines(tmp_path / "MRPC" / "dev_ids.tsv", "1\t101", "3\t103")
    frames = {split: clean(raw, MRPC, split) for split, raw in read_splits(tmp_path, MRPC, MRPC.splits).items()}
    assert frames["validation"]["id"].tolist() == ["1", "3"]
    assert frames["train"]["id"].tolist() == ["0", "2", "4"]
    assert frames["train"].iloc[1].to_dict() == {"id": "2", "sentence1": "first 2", "sentence2": "second 2", "label": 0}
    write_lines(tmp_path / "MRPC" / "dev_ids.tsv", "8\t108")
    with pytest.raises(UserError, match=r"dev_ids\.tsv lists no row of msr_paraphrase_train\.txt"):
        read_splits(tmp_path, MRPC, MRPC.splits)


def test_folder_itself_may_be_given_when_its_name_says_the_task(tmp_path):
    save(PAIRS, tmp_path / "RTE" / "train.tsv")
    (tmp_path / "link").symlink_to(tmp_path / "RTE")
    for given in ("RTE", "link"):
        assert texts(tmp_path / given)[0] == "a b"
    with pytest.raises(
        UserError,
        match=r"RTE holds rows \(train\.tsv\), but its name is not that task's; put those of mrpc into .*RTE/mrpc",
    ):
        read_splits(tmp_path / "RTE", MRPC, ["train"])


def test_own_folder_is_never_filled_from_the_hub(tmp_path):
    save(PAIRS, tmp_path / "mine" / "validation.csv")
    with pytest.raises(UserError, match=r"mine holds rows \(validation\.csv\), but its name is not"):
        read_splits(tmp_path / "mine", RTE, ["train"])
    save(PAIRS, tmp_path / "rte" / "train.csv")
    with pytest.raises(UserError, match=r"split 'validation' is missing"):
        read_splits(tmp_path, RTE, RTE.splits)
    assert [path.name for path in (tmp_path / "rte").iterdir()] == ["train.csv"]


def test_folder_one_level_deeper_must_be_the_only_one(tmp_path):
    save(PAIRS, tmp_path / "glue_data" / "RTE" / "train.tsv")
    (tmp_path / "locale" / "rte").mkdir(parents=True)  # no rows in it
    assert texts(tmp_path)[0] == "a b"
    save(PAIRS, tmp_path / "old" / "rte" / "train.tsv")
    with pytest.raises(UserError, match=r"is it .*glue_data/RTE or .*old/rte\?"):
        read_splits(tmp_path, RTE, ["train"])


def test_which_of_two_is_read_is_said(tmp_path, caplog):
    caplog.set_level("WARNING", logger="automm_distill")
    save(PAIRS.assign(sentence1="tsv"), tmp_path / "rte" / "dev.tsv")
    save(PAIRS.assign(sentence1="csv"), tmp_path / "rte" / "validation.csv")
    save(PAIRS.assign(sentence1="CSV"), tmp_path / "rte" / "Validation.csv")
    assert texts(tmp_path, split="validation")[0] == "CSV"
    assert "'validation' is there more than once: Validation.csv is read, not validation.csv, dev.tsv" in caplog.text
    save(PAIRS, tmp_path / "RTE" / "dev.tsv")
    assert texts(tmp_path, split="validation")[0] == "CSV"
    assert f"{tmp_path / 'rte'} is read, and not {tmp_path / 'RTE'}" in caplog.text


def test_files_that_systems_leave_beside_are_not_seen(tmp_path, caplog):
    save(PAIRS, tmp_path / "rte" / "train.tsv")
    for name in ("._train.tsv", ".DS_Store", ".train.parquet.crc", "README.md", "train.tsv.bak", "original"):
        (tmp_path / "rte" / name).touch()
    assert texts(tmp_path)[0] == "a b"
    assert not caplog.records


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["train-00000-of-00003", "train-00002-of-00003"], r"shard 1 of 3 \(counted from 0\) of .* is missing"),
        (["train-00001-of-00002"], r"shard 0 of 2 .* is missing"),
        (
            ["train-00000-of-00001-0123456789", "train-00000-of-00001-abcdef0123"],
            "shard 0 of 1 .* is there more than once",
        ),
        (["train/0000", "train/0002"], r"shard 1 of 2 .* of 0000\.parquet and 1 more is missing"),
    ],
)
def test_missing_shard_is_one_line(tmp_path, files, message):
    for file in files:
        save(PAIRS, tmp_path / "rte" / f"{file}.parquet")
    with pytest.raises(UserError, match=message):
        read_splits(tmp_path, RTE, ["train"])


def test_shards_keep_their_order_and_must_be_alike(tmp_path):
    for number in range(12):
        save(PAIRS.assign(sentence1=f"s{number}"), tmp_path / "rte" / f"train-{number:05}-of-00012.parquet")
    assert texts(tmp_path)[::3] == [f"s{number}" for number in range(12)]
    save(PAIRS.drop(columns="idx"), tmp_path / "rte" / "train-00003-of-00012.parquet")
    with pytest.raises(UserError, match=r"the shards of 'train' in .* have different columns: .*idx, and .*label$"):
        read_splits(tmp_path, RTE, ["train"])
    save(PAIRS, tmp_path / "mixed" / "rte" / "train" / "0000.parquet")
    save(PAIRS, tmp_path / "mixed" / "rte" / "train" / "0001.csv")
    with pytest.raises(UserError, match=r"train has files in several formats: \.csv, \.parquet"):
        read_splits(tmp_path / "mixed", RTE, ["train"])


def test_links_are_followed_or_named(tmp_path):
    """The hub's cache is made of links; copying it without -L leaves them behind."""
    save(PAIRS, tmp_path / "blobs" / "train.parquet")
    (tmp_path / "blobs" / "train.parquet").rename(tmp_path / "blobs" / "4a5b")
    (tmp_path / "rte").mkdir()
    (tmp_path / "rte" / "train-00000-of-00001.parquet").symlink_to(tmp_path / "blobs" / "4a5b")
    assert texts(tmp_path)[0] == "a b"
    shutil.rmtree(tmp_path / "blobs")
    with pytest.raises(
        UserError, match=r"train-00000-of-00001\.parquet is a link to .*4a5b, which does not exist; copy"
    ):
        read_splits(tmp_path, RTE, ["train"])


def test_missing_split_says_what_was_looked_for_and_found(tmp_path):
    write_splits(tmp_path / "rte", {"train": PAIRS})
    with pytest.raises(
        UserError, match=r"split 'validation' is missing in .*rte: needs validation or dev.*; found train\.parquet$"
    ):
        read_splits(tmp_path, RTE, RTE.splits)
    for number in range(20):
        (tmp_path / "rte" / f"{number:02}.md").touch()
    with pytest.raises(UserError, match=r"found 00\.md, 01\.md, .*07\.md and 13 more$"):
        read_splits(tmp_path, RTE, RTE.splits)


@pytest.mark.parametrize("given", ["rte/train.csv", "secret"])
def test_folder_that_cannot_be_listed_is_one_line(tmp_path, given):
    save(PAIRS, tmp_path / "rte" / "train.csv")
    (tmp_path / "secret").symlink_to(tmp_path / "rte" / "train.csv")
    with pytest.raises(UserError, match=rf"--dataset_path: .*{given} cannot be read: Not a directory"):
        read_splits(tmp_path / given, RTE, ["train"])


@pytest.mark.parametrize("nested", [True, False])
def test_save_to_disk_folder_is_read(tmp_path, nested):
    folder = tmp_path / "rte" if nested else tmp_path
    rows = datasets.Dataset.from_pandas(PAIRS)
    if not nested:
        rows.info.config_name = "rte"  # as load_dataset("nyu-mll/glue", "rte") sets it
    datasets.DatasetDict(dict.fromkeys(RTE.splits, rows)).save_to_disk(folder)
    assert read_splits(tmp_path, RTE, RTE.splits)["validation"]["idx"].tolist() == [4, 5, 6]


def test_save_to_disk_folder_of_another_configuration_is_refused(tmp_path):
    for split in RTE.splits:
        save_to_disk(PAIRS, tmp_path / split, config="rte")
    with pytest.raises(UserError, match=r"holds the configuration 'rte', not 'mrpc'; put those of mrpc into .*mrpc"):
        read_splits(tmp_path, MRPC, ["train"])


@pytest.mark.parametrize(
    "damage", ["state.json", "dataset_info.json", "data-00000-of-00001.arrow", "cut off", "[]", "no files"]
)
def test_broken_save_to_disk_folder_is_one_line(tmp_path, damage):
    folder = tmp_path / "rte" / "train"
    save_to_disk(PAIRS, folder)
    match damage:
        case "cut off":
            path = folder / "data-00000-of-00001.arrow"
            path.write_bytes(path.read_bytes()[:100])
        case "[]":
            (folder / "dataset_info.json").write_text("[]")
        case "no files":
            state = (folder / "state.json").read_text().replace('"filename": "data-00000-of-00001.arrow"', "")
            (folder / "state.json").write_text(state)
        case _:
            (folder / damage).unlink()
    with pytest.raises(
        UserError, match=r"--dataset_path: .*rte/train is not a whole save_to_disk folder: .*; save it again"
    ):
        read_splits(tmp_path, RTE, ["train"])


def test_half_a_save_to_disk_folder_is_one_line(tmp_path):
    write_lines(tmp_path / "rte" / "dataset_dict.json", '{"splits": ["train", "validation"]')
    with pytest.raises(UserError, match=r"split 'train' is missing in .*rte: .*; found dataset_dict\.json$"):
        read_splits(tmp_path, RTE, ["train"])


def test_folder_of_a_split_with_two_files_of_it_is_not_read_twice(tmp_path, caplog):
    for name in ("validation.csv", "dev.csv"):
        write_lines(tmp_path / "rte" / "validation" / name, "sentence1,sentence2,label", f"{name},b,0")
    write_lines(tmp_path / "rte" / "train.csv", "sentence1,sentence2,label", "a,b,0")
    rows = read_splits(tmp_path, RTE, RTE.splits)
    assert rows["validation"]["sentence1"].tolist() == ["validation.csv"]
    assert "split 'validation' is there more than once: validation.csv is read, not dev.csv" in caplog.text


def test_part_without_rows_is_no_hindrance(tmp_path):
    """As Spark writes its first one."""
    for part, rows in (("part-00000.csv", []), ("part-00001.csv", ["a,b,0"])):
        write_lines(tmp_path / "rte" / "train" / part, "sentence1,sentence2,label", *rows)
    assert len(read_splits(tmp_path, RTE, ["train"])["train"]) == 1
    write_lines(tmp_path / "rte" / "train" / "part-00001.csv", "sentence1,sentence2,label")
    with pytest.raises(UserError, match=r"part-00000\.csv has no rows below its header"):
        read_splits(tmp_path, RTE, ["train"])


def test_saved_data_set_is_read_as_a_file_of_it_would_be(tmp_path):
    """Long ids beside a missing one, and texts that are stored as bytes."""
    rows = datasets.Dataset.from_dict({"idx": [2**60 + 1, None], "sentence1": [b"a", b"b"], "label": [0, 1]})
    rows.save_to_disk(tmp_path / "rte" / "train")
    frame = read_splits(tmp_path, RTE, ["train"])["train"]
    assert frame["idx"].tolist() == [2**60 + 1, None]
    assert frame["sentence1"].tolist() == ["a", "b"]


@pytest.mark.skipif(os.getuid() == 0, reason="root reads everything")
def test_folder_that_may_not_be_entered_is_one_line(tmp_path):
    write_lines(tmp_path / "rte" / "train.csv", "sentence1,sentence2,label", "a,b,0")
    (tmp_path / "rte").chmod(0o400)
    with pytest.raises(UserError, match=r"--dataset_path: .*rte.* cannot be read: Permission denied"):
        read_splits(tmp_path, RTE, ["train"])


def test_path_that_is_too_long_is_one_line(tmp_path):
    with pytest.raises(UserError, match="cannot be read: File name too long"):
        read_splits(tmp_path / ("x" * 300), RTE, ["train"])
