"""Tables of text from .csv, .tsv and .parquet files, each record with the line that it begins in.

Nothing is guessed of values: `01`, `NA` and `1.0` stay the text that they are.
"""

import csv
import io
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets.base import DataError

SUFFIXES = (".csv", ".tsv", ".parquet")
DELIMITERS = ",;\t|"
_SEP = re.compile(r"sep=(.)\r?\n?")  # the first line, by which Excel is told the delimiter


@dataclass(frozen=True)
class TextTable:
    """A table whose cells are text without blanks at their ends; "" for a cell without a value."""

    file: Path
    header: tuple[str, ...]
    records: Sequence[tuple[int, Sequence[str]]]
    """(line it begins in, or row of a Parquet file, from 1; cells); no blank lines"""
    faults: Sequence[str] = ()

    def where(self, line: int) -> str:
        """How faults name a record."""
        return f"{self.file}: row {line}" if self.file.suffix.lower() == ".parquet" else f"{self.file}:{line}"


def read_table(file: Path) -> TextTable:
    """The table of a file; its records with as many cells as the header has, the others as faults.

    Raises DataError where the file is no table at all.
    """
    try:
        if file.suffix.lower() == ".parquet":
            return _parquet(file)
        return _delimited(file, file.read_bytes())
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror or error})") from None


def _delimited(file: Path, content: bytes) -> TextTable:
    text = _decoded(file, content)
    named = _SEP.match(text)
    delimiter = named[1] if named else "\t" if file.suffix.lower() == ".tsv" else _delimiter(text)
    records, faults = list[tuple[int, list[str]]](), list[str]()
    try:
        for line, cells in _records(text[named.end() if named else 0 :], delimiter):
            records.append((line + bool(named), cells))
    except DataError as error:
        faults += [f"{file}:{fault}" for fault in error.faults]
    (first, header), *records = records or [(1, [])]
    if not header:
        raise DataError(faults or f"{file}: holds nothing; its first line names the columns")
    faults += [
        f"{file}:{line}: {len(cells)} columns, where the header (line {first}) has {len(header)}"
        for line, cells in records
        if len(cells) != len(header)
    ]
    return TextTable(file, tuple(header), [each for each in records if len(each[1]) == len(header)], faults)


def _decoded(file: Path, content: bytes) -> str:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
            raise DataError(f"{file}: is UTF-16; save it as UTF-8") from None
        line = content[: error.start].count(b"\n") + 1
        wrong = f"byte 0x{content[error.start]:02X} is no UTF-8 (Latin-1 or Windows-1252, perhaps)"
        raise DataError(f"{file}:{line}: {wrong}; save the table as UTF-8") from None
    if "\0" in text:
        raise DataError(
            f"{file}:{text[: text.index(chr(0))].count(chr(10)) + 1}: holds a NUL character; is it a table?"
        )
    return text


def _delimiter(text: str) -> str:
    """Of the usual delimiters the one that splits the header into most columns."""

    def columns(delimiter: str) -> int:
        try:
            return len(next(_records(text, delimiter), (1, []))[1])
        except DataError:
            return 0

    return max(DELIMITERS, key=columns)


def _records(text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """(line it begins in, cells) of each record that is not blank; a quoted cell may hold line breaks."""
    reader, begins = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True), 1
    try:
        for cells in reader:
            stripped = [cell.strip() for cell in cells]
            if any(stripped):
                yield begins, stripped
            begins = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{begins}: cannot be read ({error}); is a quote opened here and not closed?") from None


def _parquet(file: Path) -> TextTable:
    """Columns of text, numbers, truth values and dates; others are left out."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        stored = parquet.ParquetFile(file)
        names = [field.name for field in stored.schema_arrow if not (_is_odd(field.type, pa))]
        table = stored.read(columns=names)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{file}: cannot be read as Parquet ({str(error).splitlines()[0]})") from None
    columns = [[_as_text(value) for value in column.to_pylist()] for column in table.columns]
    records = [(row, cells) for row, cells in enumerate(zip(*columns, strict=True), 1) if any(cells)]
    return TextTable(file, tuple(map(str.strip, table.column_names)), records)


def _is_odd(kind: Any, pa: Any) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _as_text(value: Any) -> str:
    """A Parquet value as text; a whole float as the whole number, as pandas makes floats of numbers with gaps."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()
