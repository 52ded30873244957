"""MRPC from the files of the corpus itself, which has no validation split; its test split is GLUE's.

GLUE took as its validation rows those of ``msr_paraphrase_train.txt`` that ``dev_ids.tsv``, which comes with GLUE,
lists by the numbers of their two sentences.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from automm_distill.errors import RowFileError
from automm_distill.inputs.rows.row_files import read_file

ROWS, TEST_ROWS, VALIDATION_IDS = "msr_paraphrase_train.txt", "msr_paraphrase_test.txt", "dev_ids.tsv"
_SENTENCE_IDS = ["#1 ID", "#2 ID"]


def is_original(folder: Path) -> bool:
    """Whether ``folder`` has the corpus' own files."""
    return (folder / ROWS).is_file()


def read_original(folder: Path, splits: Sequence[str]) -> dict[str, pd.DataFrame]:
    """The named splits as GLUE has them; ``train`` and ``validation`` with the hub's ``idx``: the number in the file.

    :raises RowFileError: when a file is missing, or is not what its name says.
    """
    by_split = _train_and_validation(folder) if set(splits) - {"test"} else {}
    if "test" in splits:
        by_split["test"] = read_file(folder / TEST_ROWS)
    return {split: by_split[split] for split in splits}


def _train_and_validation(folder: Path) -> dict[str, pd.DataFrame]:
    if not (folder / VALIDATION_IDS).is_file():
        raise RowFileError(
            f"{folder} has no {VALIDATION_IDS}, which says which rows of {ROWS} are for validation; "
            f"get it with GLUE's archive of MRPC, or give train.tsv and dev.tsv"
        )
    rows = read_file(folder / ROWS)
    missing = [column for column in _SENTENCE_IDS if column not in rows]
    if missing:
        raise RowFileError(f"{folder / ROWS} has no column {missing[0]!r}")
    rows["idx"] = np.arange(len(rows))
    validation_ids = read_file(folder / VALIDATION_IDS, columns=_SENTENCE_IDS)
    is_validation = pd.MultiIndex.from_frame(rows[_SENTENCE_IDS]).isin(pd.MultiIndex.from_frame(validation_ids))
    if not is_validation.any():
        raise RowFileError(f"{folder / VALIDATION_IDS} lists no row of {ROWS}")
    return {"train": rows[~is_validation], "validation": rows[is_validation]}
