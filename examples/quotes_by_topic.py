"""Quotes by topic as CSV files, train.csv and test.csv: the rows of the worked example in docs/own_data.md.

    python examples/quotes_by_topic.py quotes

The quotes are those of Debian's packages fortunes and fortunes-min, which ``apt-get`` downloads and nothing installs.
600 of the training rows keep their topic, the others have an empty field, as texts have that nobody has read.
"""

import random
import subprocess
import sys
from pathlib import Path

import pandas as pd

TOPICS = (
    *("computers", "definitions", "food", "law", "literature"),
    *("politics", "science", "songs-poems", "startrek", "work"),
)
TEST_ROWS, LABELLED_ROWS = 1500, 600


def main() -> None:
    """Write both files to the folder that the command line names."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["apt-get", "download", "fortunes", "fortunes-min"], cwd=folder, check=True)
    for package in folder.glob("fortunes*.deb"):
        subprocess.run(["dpkg-deb", "--extract", package, folder / "packages"], check=True)
    quotes = [
        (quote, topic) for topic in TOPICS for quote in read(folder / "packages/usr/share/games/fortunes" / topic)
    ]
    random.Random(1).shuffle(quotes)
    rows = pd.DataFrame(quotes, columns=["text", "label"]).drop_duplicates("text")
    test, train = rows[:TEST_ROWS], rows[TEST_ROWS:].copy()
    train.loc[train.index[LABELLED_ROWS:], "label"] = None
    train.to_csv(folder / "train.csv", index=False)
    test.to_csv(folder / "test.csv", index=False)


def read(file: Path) -> list[str]:
    """The quotes of a topic: a line with a percent sign stands between them."""
    return [quote.strip() for quote in file.read_text().split("\n%\n") if quote.strip()]


if __name__ == "__main__":
    main()
