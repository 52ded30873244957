"""One file of rows -> a frame, with the values as the file has them."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from automm_distill.errors import UserError, first_line

# Suffixes of files that can be read; of two files for the same rows the first is preferred.
FORMATS = (".parquet", ".csv", ".tsv", ".txt", ".jsonl", ".json", ".csv.gz", ".tsv.gz", ".txt.gz", ".jsonl.gz")


def name_classes(labels: pd.Series, names: Sequence[str]) -> pd.Series:
    """Numbers of classes -> their names; other numbers, such as -1, stay."""
    return labels.map(lambda label: names[label] if 0 <= label < len(names) else label)


def read_file(path: Path, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """The rows of ``path``, whose name says its format.

    :param columns: names of the columns of a CSV or TSV file without a header line.
    :raises UserError: when it cannot be read.
    """
    given = {"names": list(columns)} if columns else {}
    try:
        match Path(path.name.lower().removesuffix(".gz")).suffix:
            case ".parquet":
                return pd.read_parquet(path)
            case ".jsonl":
                return pd.read_json(path, lines=True, dtype=False)
            case ".json":
                return pd.read_json(path, dtype=False)
            case ".csv":
                return pd.read_csv(path, keep_default_na=False, dtype=str, **given)
            case _:
                # GLUE and PAWS-X are distributed as TSV in which a quotation mark is a character like any other.
                return pd.read_csv(
                    path, sep="\t", quoting=3, keep_default_na=False, dtype=str, encoding="utf-8-sig", **given
                )
    except (OSError, ValueError) as error:
        raise UserError(f"--dataset_path: {path} cannot be read: {first_line(error)}") from error
