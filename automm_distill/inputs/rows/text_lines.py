"""The lines of a text file: decompressed, decoded, and split where a line ends and nowhere else."""

import codecs
import gzip
import io
import re
import zlib
from collections.abc import Iterator
from pathlib import Path

from automm_distill.errors import RowFileError, first_line
from automm_distill.inputs.rows.file_kinds import HEAD, refuse_binary, refuse_other_kinds

_GZIP = b"\x1f\x8b"
# UTF-32's mark begins with UTF-16's, so it is asked for first.
_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def lines(path: Path) -> Iterator[str]:
    r"""The lines of ``path`` with their endings, which are ``\n``, ``\r\n`` or ``\r``.

    Other characters that Unicode counts as line breaks (U+0085, U+2028, form feeds and the like) are part of the text.
    The bytes tell whether the file is compressed and which encoding it has: UTF-8, or UTF-16 and UTF-32 with their
    mark at the beginning. A mark is not part of the text.

    :raises RowFileError: when the file cannot be read, is not text, has a NUL or another encoding.
    """
    try:
        yield from _decoded(path)
    except (OSError, EOFError, zlib.error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else first_line(error)
        raise RowFileError(f"{path} cannot be read: {reason}") from error


def _decoded(path: Path) -> Iterator[str]:
    with _opened(path) as file:
        head = file.peek(HEAD)[:HEAD]
        refuse_other_kinds(path, head)
        refuse_binary(path, head)
        encoding = next((name for mark, name in _MARKS.items() if head.startswith(mark)), "utf-8-sig")
        with io.TextIOWrapper(file, encoding=encoding, newline="") as text:
            try:
                for number, line in enumerate(text, 1):
                    if "\0" in line:
                        raise RowFileError(
                            f"{path} line {number} has a NUL character: the file is damaged, or UTF-16 "
                            f"without its mark (then: iconv -f UTF-16LE -t UTF-8)"
                        )
                    yield line
            except UnicodeDecodeError as error:
                raise RowFileError(f"{path} {_undecodable(path, encoding)}") from error


def _opened(path: Path) -> io.BufferedReader | gzip.GzipFile:
    file = path.open("rb")
    if not file.peek(len(_GZIP)).startswith(_GZIP):
        return file
    file.close()
    return gzip.open(path)


def _undecodable(path: Path, encoding: str) -> str:
    """Where ``path`` is not in ``encoding``, and what to do. Reads it all: a decoder of a stream knows no position."""
    with _opened(path) as file:
        content = file.read()
    name = encoding.removesuffix("-sig").upper()
    try:
        content.decode(encoding)
    except UnicodeDecodeError as error:
        line = len(re.findall(r"\r\n|\r|\n", error.object[: error.start].decode(encoding, errors="ignore"))) + 1
        remedy = "convert it, for example with iconv -f WINDOWS-1252 -t UTF-8" if name == "UTF-8" else "save it again"
        return f"line {line}: byte 0x{error.object[error.start]:02x} is not {name}; {remedy}"
    return "changed while it was read"
