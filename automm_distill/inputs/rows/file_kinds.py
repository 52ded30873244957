"""Files that are not what their name says: told by their first bytes, before a reader makes nonsense of them."""

from collections.abc import Sequence
from pathlib import Path

from automm_distill.errors import RowFileError

HEAD = 512  # bytes that `refuse_other_kinds` needs

# How files begin that often lie where rows should be, what they are, and what to do.
_OTHER_KINDS = {
    b"version https://git-lfs": "is a git-lfs pointer, not the file itself: fetch it with git lfs pull",
    b"<!doctype html": "is a web page, not rows: download the file itself",
    b"<html": "is a web page, not rows: download the file itself",
    b"<?xml": "is XML, not rows (often a server's answer that there is no such file): download the file itself",
    b"pk\x03\x04": "is a ZIP archive or an Excel workbook: unpack it, or save the sheet as CSV",
    b"\xd0\xcf\x11\xe0": "is an Excel workbook: save the sheet as CSV",
}


# Of text files only: what begins like this has a reader, or could be unpacked for one.
_NOT_TEXT = {
    b"PAR1": "is a Parquet file: give it the suffix .parquet",
    b"ARROW1": "is an Arrow file: give it the suffix .arrow",
    b"BZh": "is compressed by bzip2: unpack it, or use gzip",
    b"\xfd7zXZ\x00": "is compressed by xz: unpack it, or use gzip",
    b"\x28\xb5\x2f\xfd": "is compressed by zstd: unpack it, or use gzip",
}


def refuse_binary(path: Path, head: bytes) -> None:
    """Refuse a text file that is a binary one.

    :raises RowFileError: that says which.
    """
    for magic, what in _NOT_TEXT.items():
        if head.startswith(magic):
            raise RowFileError(f"{path} {what}")


def refuse_other_kinds(path: Path, head: bytes) -> None:
    """Refuse what no reader of rows can read.

    :param head: the first :data:`HEAD` bytes of ``path``, decompressed.
    :raises RowFileError: when the file is empty, or one of the kinds above.
    """
    if not head:
        raise RowFileError(f"{path} is empty")
    beginning = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    for magic, what in _OTHER_KINDS.items():
        if beginning.startswith(magic):
            raise RowFileError(f"{path} {what}")


def unusable_text(values: Sequence[str]) -> int | None:
    """The position of the first text that no tokenizer can read: with a NUL, or with half of a surrogate pair."""
    if _is_usable("".join(values)):
        return None
    return next(position for position, value in enumerate(values) if not _is_usable(value))


def _is_usable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text
