"""Whatever a CSV writer writes is read back as text, with the line that each record begins in."""

import csv
import io
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets.sources.table_file import DELIMITERS, read_table

# Cells that a spreadsheet may hold: delimiters, quotes and line breaks among them, no blanks at their ends.
CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\0\ufeff"), max_size=8).map(str.strip)
RECORDS = st.lists(st.lists(CELLS, min_size=3, max_size=3).filter(any), max_size=8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tables")


@given(RECORDS, st.sampled_from(DELIMITERS), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_what_a_writer_wrote_is_read_with_its_lines(
    folder: Path, records: list[list[str]], delimiter: str, newline: str, bom: bool
) -> None:
    text, lines = io.StringIO(newline=""), list[int]()
    returns = any("\r" in cell for record in records for cell in record)  # which Python's writer forgets to quote
    quoting = csv.QUOTE_ALL if returns else csv.QUOTE_MINIMAL
    writer = csv.writer(text, delimiter=delimiter, lineterminator=newline, quoting=quoting)
    for record in [["path", "label", "note"], *records]:
        lines.append(len(re.findall(r"\r\n|\r|\n", text.getvalue())) + 1)
        writer.writerow(record)
    file = folder / "table.csv"
    file.write_bytes(text.getvalue().encode("utf-8-sig" if bom else "utf-8"))
    table = read_table(file)
    assert table.faults == []
    assert table.header == ("path", "label", "note")
    assert [(line, list(cells)) for line, cells in table.records] == list(zip(lines[1:], records, strict=True))
