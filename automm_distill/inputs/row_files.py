"""One file of rows -> a frame, with the values as the file has them."""

from pathlib import Path

import pandas as pd

from automm_distill.errors import UserError, first_line

FORMATS = ("parquet", "csv", "tsv", "jsonl")


def read_file(path: Path) -> pd.DataFrame:
    """The rows of ``path``, whose name says its format.

    :raises UserError: when it cannot be read.
    """
    try:
        match path.suffix:
            case ".parquet":
                return pd.read_parquet(path)
            case ".jsonl":
                return pd.read_json(path, lines=True, dtype=False)
            case ".csv":
                return pd.read_csv(path, keep_default_na=False)
            case _:
                # GLUE and PAWS-X are distributed as TSV in which a quotation mark is a character like any other.
                return pd.read_csv(path, sep="\t", quoting=3, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise UserError(f"--dataset_path: {path} cannot be read: {first_line(error)}") from error
