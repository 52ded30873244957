"""What a folder says of the ``MultiModalPredictor`` that was saved in it, without its network being loaded."""

import json
import pickle
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from automm_distill.errors import UserError

# All that a predictor's outputs depend on: weights, tokenizer, and what makes texts and labels of columns
# (learners/base.py:2174, save).
CLASSES = "classes.json"  # their names, in the order of the labels 0, 1, ..., where this program has saved it
SAVED_FILES = ("model.ckpt", "hf_text/*", "config.yaml", "df_preprocessor.pkl", CLASSES)
UNREADABLE = (
    *(ValueError, KeyError, IndexError, TypeError, AttributeError),
    *(pickle.UnpicklingError, EOFError, ImportError, yaml.YAMLError),
)


@dataclass(frozen=True)
class SavedFacts:
    """``models`` are AutoGluon's names of its networks, ``columns`` those of the frame but for the label's.

    A column that is no text has its type in brackets. ``classes`` are the labels in the order of the logits, or their
    names where these were saved too; none for a regression. ``max_tokens`` is the longest row.
    """

    models: tuple[str, ...]
    problem_type: str
    columns: tuple[str, ...]
    classes: tuple[Any, ...]
    max_tokens: int


def saved_facts(where: str, folder: Path) -> SavedFacts:
    """Read assets.json, config.yaml and df_preprocessor.pkl, as learners/base.py:2174 writes them.

    The pickle holds the order of the classes (learners/base.py:2401), which stands nowhere else.

    :raises UserError: when one of them, or the weights, is not there or not readable.
    """
    for name in ("model.ckpt", "config.yaml", "df_preprocessor.pkl"):
        if not (folder / name).is_file():
            raise UserError(f"{where}: is not whole: it has no {name}")
    if not zipfile.is_zipfile(folder / "model.ckpt"):  # as torch.save writes it; the end of a cut one is missing
        raise UserError(f"{where}: is not whole: its model.ckpt is cut or damaged")
    try:
        assets = json.loads((folder / "assets.json").read_text(encoding="utf-8"))
        models = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))["model"]
        names = tuple(models["names"])
        with (folder / "df_preprocessor.pkl").open("rb") as file:
            generator = pickle.load(file).label_generator
        label = assets["label_column"]
        columns = tuple(
            name if kind == "text" else f"{name} ({kind})"
            for name, kind in assets["column_types"].items()
            if name != label
        )
        regression = assets["problem_type"] == "regression"
        classes = () if regression else tuple(generator.classes_.tolist())
        if (folder / CLASSES).exists():
            written = json.loads((folder / CLASSES).read_text(encoding="utf-8"))
            classes = tuple(written[number] for number in classes)
        longest = int(models["hf_text"]["max_text_len"]) if "hf_text" in models else 0
        if "hf_text" in names and not (folder / "hf_text" / "config.json").is_file():
            raise UserError(f"{where}: is not whole: it has no hf_text/config.json")
        return SavedFacts(names, assets["problem_type"], columns, classes, longest)
    except UNREADABLE as error:
        said = " ".join(str(error).split())  # YAML's say it in several lines
        raise UserError(f"{where}: cannot be read as a MultiModalPredictor ({type(error).__name__}: {said})") from error
