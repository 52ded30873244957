"""One file of rows: read as what it says it is, or refused in one line that names the place."""

import bz2
import csv
import gzip
import json
import lzma
from decimal import Decimal

import datasets
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from automm_distill.errors import UserError
from automm_distill.inputs.rows.arrow_files import name_classes
from automm_distill.inputs.rows.row_files import FORMATS, read_file

# Texts that some reader or other is known to change.
TEXTS = [
    *("plain", "a, b; c | d", 'he said "no"', '"yes"', '"', '""', '"a" and "b"', 'ends with "', "it's"),
    *("007", "1e5", "1.0", "nan", "NULL", "None", "NA", "true", "-", "", " two spaces  ", "#", "\\", "C:\\new", "\\N"),
    *("ü, 你好 😀", "a\x85b\u2028c\x0bd\x0ce\x1cf", "\ufeffmark", "<html>", "=1+1", "x" * 200_000),
]
BROKEN = ["one\ntwo", "one\r\ntwo", "one\ttwo", '"one\n\n"two']
ROWS = pd.DataFrame({"sentence": TEXTS, "label": [str(number % 2) for number in range(len(TEXTS))]})
ALL_ROWS = pd.concat([ROWS, pd.DataFrame({"sentence": BROKEN, "label": "1"})], ignore_index=True)


def written(folder, name, content):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def refusal(path, columns=None):
    """The line without the folder."""
    with pytest.raises(UserError) as caught:
        read_file(path, columns)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value).replace(f"{path.parent}/", "")


WRITERS = {
    "rows.csv": lambda rows, path: rows.to_csv(path, index=False),
    "all.csv": lambda rows, path: rows.to_csv(path, index=False, quoting=csv.QUOTE_ALL),
    "crlf.csv": lambda rows, path: rows.to_csv(path, index=False, lineterminator="\r\n"),
    "excel.csv": lambda rows, path: rows.to_csv(path, index=False, sep=";", encoding="utf-8-sig"),
    "tabs.csv": lambda rows, path: rows.to_csv(path, index=False, sep="\t"),
    "index.csv": lambda rows, path: rows.to_csv(path),
    "index_twice.csv": lambda rows, path: rows.assign(**{"Unnamed: 0": 1})[["Unnamed: 0", *rows]].to_csv(path),
    "backslash.csv": lambda rows, path: rows.to_csv(path, index=False, escapechar="\\", doublequote=False),
    "rows.csv.gz": lambda rows, path: rows.to_csv(path, index=False),
    "rows.tsv": lambda rows, path: rows.to_csv(path, index=False, sep="\t"),
    "all.tsv": lambda rows, path: rows.to_csv(path, index=False, sep="\t", quoting=csv.QUOTE_ALL),
    "texts.tsv": lambda rows, path: rows.astype({"label": int}).to_csv(
        path, index=False, sep="\t", quoting=csv.QUOTE_NONNUMERIC
    ),
    "backslash.tsv": lambda rows, path: rows.to_csv(path, index=False, sep="\t", escapechar="\\", doublequote=False),
    "commas.tsv": lambda rows, path: rows.to_csv(path, index=False),
    "excel.txt": lambda rows, path: rows.to_csv(path, index=False, sep="\t", encoding="utf-16"),
    "rows.TSV": lambda rows, path: rows.to_csv(path, index=False, sep="\t"),
    "utf32.csv": lambda rows, path: rows.to_csv(path, index=False, encoding="utf-32"),
    "rows.jsonl": lambda rows, path: rows.to_json(path, orient="records", lines=True),
    "rows.jsonl.gz": lambda rows, path: rows.to_json(path, orient="records", lines=True),
    "lines.json": lambda rows, path: rows.to_json(path, orient="records", lines=True, force_ascii=False),
    "array.jsonl": lambda rows, path: rows.to_json(path, orient="records"),
    "array.json": lambda rows, path: rows.to_json(path, orient="records", indent=2),
    "columns.json": lambda rows, path: rows.to_json(path),
    "rows.json": lambda rows, path: rows.to_json(path, orient="index"),
    "table.json": lambda rows, path: path.write_text(json.dumps({"data": rows.to_dict("records")})),
    "lists.json": lambda rows, path: path.write_text(json.dumps(rows.to_dict("list"))),
    "rows.parquet": lambda rows, path: rows.to_parquet(path),
    "index.parquet": lambda rows, path: rows.sample(frac=1, random_state=1).sort_index().to_parquet(path),
    "stream.arrow": lambda rows, path: write_arrow(rows, path, pa.ipc.new_stream),
    "file.arrow": lambda rows, path: write_arrow(rows, path, pa.ipc.new_file),
}


def write_arrow(rows, path, new):
    table = pa.Table.from_pandas(rows)
    with new(str(path), table.schema) as writer:
        writer.write_table(table)


@pytest.mark.parametrize("name", WRITERS)
def test_what_was_written_is_what_is_read(tmp_path, name):
    WRITERS[name](ALL_ROWS, tmp_path / name)
    rows = read_file(tmp_path / name)
    assert list(rows) == ["sentence", "label"]
    assert rows["sentence"].tolist() == ALL_ROWS["sentence"].tolist()
    assert rows["label"].astype(str).tolist() == ALL_ROWS["label"].tolist()


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_tsv_as_glue_writes_it(tmp_path, ending, encoding):
    lines = ["\t".join(row) for row in [list(ROWS), *ROWS.to_numpy()]]
    path = written(tmp_path, "train.tsv", (ending.join(lines) + ending).encode(encoding))
    assert read_file(path).equals(ROWS)


@pytest.mark.parametrize(
    ("cells", "texts", "said"),
    [
        # As GLUE has them: unbalanced, in the middle, a whole quotation among other texts.
        (['"The Sound" is a film', '"', "plain"], None, "part of the texts"),
        (['"I love it"', "plain"], None, "part of the texts"),
        (['""', "plain"], None, "part of the texts"),
        (['"a ""b"" c"', 'd "e"'], None, "part of the texts"),
        (['5" disk', "plain"], None, ""),
        (["plain", "other"], None, ""),
        # As pandas, R and Excel have them.
        (['"a ""b"" c"', "plain"], ['a "b" c', "plain"], "enclosed"),
        (['"good film"', '"bad film"'], ["good film", "bad film"], "enclosed"),
        (['"one\ntwo"', "plain"], ["one\ntwo", "plain"], "enclosed"),
        (['"one\ttwo"', "plain"], ["one\ttwo", "plain"], "enclosed"),
        (['"he said \\"no\\""', '"plain"'], ['he said "no"', "plain"], '\\"'),
        (['he said \\"no\\"', "plain"], ['he said "no"', "plain"], '\\"'),
    ],
)
def test_what_quotation_marks_are_in_a_tsv_is_found_out_and_said(tmp_path, caplog, cells, texts, said):
    caplog.set_level("INFO", logger="automm_distill")
    content = "\n".join(["sentence\tlabel", *(f"{cell}\t1" for cell in cells)])
    rows = read_file(written(tmp_path, "train.tsv", content))
    assert rows["sentence"].tolist() == (texts or cells)
    assert (said in caplog.text) if said else not caplog.text


def test_rows_of_a_tsv_with_unbalanced_marks_are_not_joined(tmp_path):
    path = written(tmp_path, "train.tsv", 's\tt\tlabel\n"Hello\tx\t0\nyes"\ty\t1\n')
    assert read_file(path)["s"].tolist() == ['"Hello', 'yes"']


def test_marks_in_the_middle_of_texts_of_a_csv_are_text(tmp_path, caplog):
    caplog.set_level("INFO", logger="automm_distill")
    path = written(tmp_path, "train.csv", 's,label\n5" disk,1\nhe said "no",0\n')
    assert read_file(path)["s"].tolist() == ['5" disk', 'he said "no"']
    assert "quotation marks are part of the texts" in caplog.text


@pytest.mark.parametrize("text", [r"a \"quoted\" C:\dir", "C:\\dir"])
def test_backslashes_of_a_tsv_are_text_where_some_escape_nothing(tmp_path, text):
    rows = pd.DataFrame({"s": [text, "plain"], "label": ["1", "0"]})
    path = written(tmp_path, "train.tsv", "\n".join("\t".join(row) for row in [list(rows), *rows.to_numpy()]))
    assert read_file(path).equals(rows)


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("a.tsv", "i\ts\tt\tlabel\n1\ta\tb\t0\t1\n", "a.tsv line 2 has 5 fields, the header 4"),
        ("a.tsv", 's\tlabel\n"a"b\t0\n\nc\n', "a.tsv line 4 has 1 field, the header 2"),
        ("a.tsv", 's\tlabel\n"a\nb"\t0\n"c ""d"""\n', "a.tsv line 4 has 1 field, the header 2"),
        ("a.tsv", 's\tlabel\n"a\t0\nb\t1\t2\n', "a.tsv line 3 has 3 fields, the header 2"),
        ("a.csv", "s,label\na fine film, well acted,1\n", "a.csv line 2 has 3 fields, the header 2"),
        ("a.csv", 's,label\n"a\nb",1\nc\n', "a.csv line 4 has 1 field, the header 2"),
        (
            "a.csv",
            's,label\nx,1\n"a,1\nb,0\n',
            "a.csv line 3 has a quotation mark that opens a field and is never closed",
        ),
        (
            "a.csv",
            's,label\n"a,1\n"b",0\n',
            "a.csv line 2 has a quotation mark that opens a field and closes within it",
        ),
        ("a.csv", 's,label\n"a"b,1\n', "a.csv line 2 has a quotation mark that opens a field and closes within it"),
        ("a.csv", 's,label\n1, "a"\n', "a.csv line 2 has a quotation mark that neither encloses a field nor"),
        ("a.csv", 's,label\n"a \\"b\\"",1\n"C:\\dir",1\n', "a.csv line 3 has a backslash before 'd'"),
        ("a.csv", 's,label\n"a \\"b\\"",1\n5" disk,0\n', "a.csv line 3 has a quotation mark that neither"),
        ("a.csv", "s;label\na;1;2\n", "a.csv line 2 has 3 fields, the header 2"),
        ("a.csv", "s,label,s\na,1,b\n", "the header of a.csv has the name 's' twice"),
        ("a.csv", "s,,label\na,b,1\n", "the header of a.csv has no name for column 2"),
        ("a.csv", "s,label\n", "a.csv has no rows below its header"),
        ("a.csv", "\n  \n", "a.csv has no rows"),
        ("a.tsv", "", "a.tsv is empty"),
        ("a.tsv", b"\xef\xbb\xbf", "a.tsv has no rows"),
        ("a.json", "", "a.json is empty"),
        ("a.parquet", b"", "a.parquet is empty"),
        ("a.jsonl", "\n\n", "a.jsonl is empty"),
        (
            "a.csv",
            "s,label\nx,1\r\ncaf\u00e9,1\n".encode("latin-1"),
            "a.csv line 3: byte 0xe9 is not UTF-8; convert it",
        ),
        ("a.csv", b"\xef\xbb\xbfs,label\n\x93x\x94,1\n", "a.csv line 2: byte 0x93 is not UTF-8; convert it"),
        ("a.jsonl", b'{"s": "\xed\xa0\xbd", "label": 1}\n', "a.jsonl line 1: byte 0xed is not UTF-8; convert it"),
        ("a.txt", "s\tlabel\n".encode("utf-16") + b"x", "a.txt line 2: byte 0x78 is not UTF-16; save it again"),
        (
            "a.tsv",
            "s\tlabel\na\tb\n".encode("utf-16-le"),
            "a.tsv line 1 has a NUL character: the file is damaged, or UTF-16",
        ),
        ("a.tsv", "s\tlabel\na\0b\t1\n", "a.tsv line 2 has a NUL character"),
        ("a.jsonl", '{"a": 1}\n{"a": 2\n', "a.jsonl line 2 is not JSON: Expecting ',' delimiter (column"),
        ("a.jsonl", '{"a": 1}\n\n[1, 2]\n', "a.jsonl line 3 is not an object: [1, 2]"),
        ("a.jsonl", "[1]\n[2]\n", "a.jsonl line 1 is not an object: [1]"),
        ("a.jsonl", '{"a": 1}\n{"a": 1, "a": 2}\n', "a.jsonl line 2 cannot be read: the key 'a' stands twice"),
        ("a.jsonl", '{"a": 1}\n{"a": NaN}\n', "a.jsonl line 2 cannot be read: NaN is not JSON; write null"),
        ("a.jsonl", "[" * 100_000, "a.jsonl cannot be read: maximum recursion depth exceeded"),
        ("a.json", '[\n{"a": 1},\n{"a": 2,}\n]', "a.json line 3 is not JSON"),
        ("a.json", '[{"a": 1}, 2]', "a.json row 2 is not an object: 2"),
        ("a.json", '[["s", "label"], ["a", 1]]', "a.json row 1 is not an object: ['s', 'label']"),
        ("a.json", "[]", "a.json has no rows"),
        ("a.json", "{}", "a.json has no rows"),
        ("a.json", '{"a": [1, 2], "b": [1]}', "a.json has columns of different rows: 2 in 'a', 1 in 'b'"),
        ("a.csv.gz", gzip.compress(b"s,label\n" * 9, mtime=0)[:-9], "a.csv.gz cannot be read: Compressed file ended"),
        (
            "a.csv.gz",
            gzip.compress(b"s,label\na,1\n", mtime=0)[:-8] + b"12345678",
            "a.csv.gz cannot be read: CRC check failed",
        ),
        (
            "a.csv",
            "version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
            "a.csv is a git-lfs pointer, not the file",
        ),
        ("a.parquet", "version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a.parquet is a git-lfs pointer"),
        ("a.parquet", "\n<!DOCTYPE html>\n<html></html>", "a.parquet is a web page, not rows"),
        ("a.jsonl", "<html><body>Log in</body></html>", "a.jsonl is a web page, not rows"),
        ("a.tsv", "<?xml version='1.0'?><Error/>", "a.tsv is XML, not rows"),
        ("a.csv", b"PK\x03\x04\0\0", "a.csv is a ZIP archive or an Excel workbook"),
        ("a.csv", b"\xd0\xcf\x11\xe0\0", "a.csv is an Excel workbook"),
        ("a.parquet", b"PAR1 and no more", "a.parquet cannot be read as Parquet: "),
        ("a.arrow", b"ARROW1 and no more", "a.arrow cannot be read as Arrow: "),
        ("a.xlsx", b"PK\x03\x04", "a.xlsx has none of the suffixes .parquet, .arrow, .csv"),
    ],
)
def test_what_cannot_be_read_is_one_line_that_names_the_place(tmp_path, name, content, line):
    assert refusal(written(tmp_path, name, content)).startswith(line)


@pytest.mark.parametrize("name", ["train.parquet", "train.csv", "train.jsonl"])
def test_folder_or_missing_file_in_place_of_a_file_is_one_line(tmp_path, name):
    assert "No such file or directory" in refusal(tmp_path / name)
    (tmp_path / name).mkdir()
    assert "Is a directory" in refusal(tmp_path / name)


def test_file_without_a_header(tmp_path):
    path = written(tmp_path, "train.tsv", 'a\t1\t*\t"It, he\nb\t0\t\tsaid"\n')
    assert read_file(path, ["source", "label", "mark", "sentence"]).to_dict("list") == {
        "source": ["a", "b"],
        "label": ["1", "0"],
        "mark": ["*", ""],
        "sentence": ['"It, he', 'said"'],
    }
    assert refusal(path, ["label", "sentence"]) == "train.tsv line 1 has 4 fields, not 2 (label, sentence)"


def test_separator_is_found_in_the_header_and_said(tmp_path, caplog):
    caplog.set_level("INFO", logger="automm_distill")
    assert read_file(written(tmp_path, "a.csv", "s;label\na,b;1\n"))["s"].tolist() == ["a,b"]
    assert "a.csv: fields are separated by semicolons, not commas" in caplog.text
    caplog.clear()
    assert read_file(written(tmp_path, "b.csv", "s\na\n"))["s"].tolist() == ["a"]
    assert not caplog.text


def test_names_lose_their_spaces_and_columns_without_name_and_content_are_dropped(tmp_path):
    rows = read_file(written(tmp_path, "a.csv", ", s, label,\n0, a ,1,\n1,b,0,\n"))
    assert rows.to_dict("list") == {"s": [" a ", "b"], "label": ["1", "0"]}


QQP = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n"


def test_lines_that_end_early_in_the_archive_of_qqp_are_dropped_and_said(tmp_path, caplog):
    caplog.set_level("INFO", logger="automm_distill")
    row = '1\t2\t3\t"Why" is it?\tWhat is "it"?\t0\n'
    path = written(tmp_path, "train.tsv", QQP + row * 150 + "5\t6\t7\tWhat\n" + row * 150)
    assert len(read_file(path)) == 300
    assert "1 of 302 lines end early and are dropped, first line 152" in caplog.text
    assert refusal(written(tmp_path, "dev.tsv", QQP + row * 50 + "5\t6\t7\tWhat\n")).startswith(
        "dev.tsv line 52 has 4 fi"
    )
    longer = written(tmp_path, "test.tsv", QQP + row * 200 + "1\t2\t3\t4\t5\t6\t7\n")
    assert refusal(longer) == "test.tsv line 202 has 7 fields, the header 6"


def test_line_breaks_in_a_quoted_file_of_qqp_are_read(tmp_path):
    path = written(tmp_path, "train.tsv", QQP + '1\t2\t3\t"Why is\n""it""?"\tWhat?\t0\n')
    assert read_file(path)["question1"].tolist() == ['Why is\n"it"?']


def test_json_keeps_types_and_what_is_missing(tmp_path):
    content = '{"s": "007", "label": 1, "id": 9007199254740993}\n{"s": 7, "label": 0, "n": [1], "id": null}\n'
    rows = read_file(written(tmp_path, "a.jsonl", content))
    assert list(rows) == ["s", "label", "id", "n"]
    assert rows["s"].tolist() == ["007", 7]
    assert rows["label"].dtype == "int64"
    assert rows["id"].tolist() == [9007199254740993, None]
    assert rows["n"].tolist() == [None, [1]]


def test_one_line_is_one_row(tmp_path):
    assert read_file(written(tmp_path, "a.jsonl", '{"s": "a", "label": 1}')).to_dict("list") == {
        "s": ["a"],
        "label": [1],
    }


def write_table(path, **columns):
    pq.write_table(pa.table(columns), path)
    return path


@pytest.mark.parametrize(
    "texts",
    [
        pa.array(["a", None, "ü"], pa.large_string()),
        pa.array(["a", None, "ü"], pa.string_view()),
        pa.array(["a", None, "ü"]).dictionary_encode(),
        pa.array([b"a", None, "ü".encode()]),
        pa.array([b"a", None, "ü".encode()], pa.large_binary()),
    ],
)
def test_texts_of_parquet_are_texts_however_they_are_stored(tmp_path, texts):
    assert read_file(write_table(tmp_path / "a.parquet", s=texts))["s"].tolist() == ["a", None, "ü"]


def test_numbers_of_parquet_are_numbers_however_they_are_stored(tmp_path):
    path = write_table(
        tmp_path / "a.parquet",
        small=pa.array([1, -1, None], pa.int8()),
        long=pa.array([9007199254740993, None, 1]),
        score=pa.array([Decimal("4.5"), None, Decimal("0.0")]),
        whole=pa.array([Decimal(1), Decimal(0), Decimal(-1)]),
        truth=pa.array([True, False, True]),
    )
    rows = read_file(path)
    assert rows["small"].tolist() == [1, -1, None]
    assert rows["long"].tolist() == [9007199254740993, None, 1]
    assert rows["score"].fillna(-1).tolist() == [4.5, -1, 0]
    assert rows["whole"].tolist() == [1, 0, -1]
    assert rows["truth"].tolist() == [True, False, True]


def test_index_of_pandas_in_parquet(tmp_path):
    rows = pd.DataFrame({"idx": [5, 7], "s": ["a", "b"]})
    rows.set_index("idx").to_parquet(tmp_path / "named.parquet")
    assert sorted(read_file(tmp_path / "named.parquet")) == ["idx", "s"]
    rows[rows["idx"] > 5].to_parquet(tmp_path / "unnamed.parquet")
    assert list(read_file(tmp_path / "unnamed.parquet")) == ["idx", "s"]


def test_folder_named_as_a_partition_adds_no_column(tmp_path):
    (tmp_path / "label=1").mkdir()
    assert list(read_file(write_table(tmp_path / "label=1" / "a.parquet", s=["a"]))) == ["s"]


def test_damage_in_parquet_is_one_line(tmp_path):
    path = write_table(tmp_path / "a.parquet", s=["some text"] * 1000)
    path.write_bytes(path.read_bytes()[:-30])
    assert refusal(path).startswith("a.parquet cannot be read as Parquet: ")
    invalid = pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\1\0\0\0"), pa.py_buffer(b"\xe9")])
    assert "Invalid UTF8" in refusal(write_table(tmp_path / "b.parquet", s=invalid))
    assert refusal(write_table(tmp_path / "e.parquet", s=pa.array([], pa.string()))) == "e.parquet has no rows"
    pq.write_table(pa.table([["a"], ["b"]], names=["s", "s"]), tmp_path / "f.parquet")
    assert refusal(tmp_path / "f.parquet").endswith("it has two columns 's'")


def test_columns_that_nobody_reads_are_no_hindrance(tmp_path):
    """Bytes that are no text, which the cleaner refuses where a text should be; a decimal too long for an integer."""
    digits = pa.array([Decimal(10) ** 30], pa.decimal128(38, 0))
    frame = read_file(write_table(tmp_path / "a.parquet", s=["a"], embedding=[b"\xe9\0"], digits=digits))
    assert frame.to_dict("records") == [{"s": "a", "embedding": b"\xe9\0", "digits": 1e30}]


def test_excels_own_text_files_are_read_without_the_marks(tmp_path, caplog):
    """Excel encloses the cells with a comma. GLUE does not, so that a text may be one quotation."""
    caplog.set_level("INFO", logger="automm_distill")
    (tmp_path / "a.txt").write_text('s\tlabel\n"well, it came"\t0\nit came\t1\n', encoding="utf-16")
    assert read_file(tmp_path / "a.txt")["s"].tolist() == ["well, it came", "it came"]
    assert "enclosed in quotation marks" in caplog.text
    (tmp_path / "b.tsv").write_text('s\tlabel\n"well, it came"\t0\nno, it came\t1\n')
    assert read_file(tmp_path / "b.tsv")["s"].tolist() == ['"well, it came"', "no, it came"]


@pytest.mark.parametrize(
    ("head", "what"),
    [
        (b"PAR1\x15", "is a Parquet file: give it the suffix .parquet"),
        (b"ARROW1\0\0", "is an Arrow file: give it the suffix .arrow"),
        (bz2.compress(b"a,b"), "is compressed by bzip2: unpack it, or use gzip"),
        (lzma.compress(b"a,b"), "is compressed by xz: unpack it, or use gzip"),
        (b"\x28\xb5\x2f\xfd\x20", "is compressed by zstd: unpack it, or use gzip"),
    ],
)
def test_binary_file_with_the_name_of_a_text_file_is_called_what_it_is(tmp_path, head, what):
    (tmp_path / "a.csv").write_bytes(head)
    assert refusal(tmp_path / "a.csv") == f"a.csv {what}"


def test_class_names_of_a_data_set_are_used(tmp_path):
    features = datasets.Features(
        {"s": datasets.Value("string"), "label": datasets.ClassLabel(names=["not_entailment", "entailment"])}
    )
    rows = datasets.Dataset.from_dict({"s": ["a", "b", "c"], "label": [0, 1, -1]}, features=features)
    rows.to_parquet(tmp_path / "a.parquet")
    assert read_file(tmp_path / "a.parquet")["label"].tolist() == ["not_entailment", "entailment", None]
    assert list(read_file(tmp_path / "a.parquet")) == ["s", "label"]
    rows.save_to_disk(tmp_path / "saved")
    (arrow,) = (tmp_path / "saved").glob("*.arrow")
    assert read_file(arrow)["label"].tolist() == ["not_entailment", "entailment", None]


@pytest.mark.parametrize(
    "metadata", [b"{", b"[]", b'{"info": null}', b'{"info": {"features": {"label": {"num_classes": 2}}}}']
)
def test_foreign_metadata_is_no_hindrance(tmp_path, metadata):
    table = pa.table({"label": [0, 1]}).replace_schema_metadata({b"huggingface": metadata})
    pq.write_table(table, tmp_path / "a.parquet")
    assert read_file(tmp_path / "a.parquet")["label"].tolist() == [0, 1]


def test_name_classes():
    labels = pd.Series([1, 0, -1, None, 2.0, 7], index=range(3, 9), name="label")
    named = name_classes(labels, ["no", "yes", "0"])
    assert named.tolist() == ["yes", "no", None, None, "0", 7.0]
    assert named.index.equals(labels.index)


def test_formats_in_order_of_preference():
    assert FORMATS[:5] == (".parquet", ".arrow", ".csv", ".tsv", ".txt")
    assert {".csv.gz", ".tsv.gz", ".txt.gz", ".jsonl.gz", ".json.gz"} < set(FORMATS)
