"""Names of strangers in every form of a report: each reads as it is, and nothing in it is markup."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from rich.console import Console

from analysis.console import console_table
from analysis.records.study_json import RecordError
from analysis.report.build import contents_of, make_report
from analysis.report.exports import FORMULA, write_table
from core.text import UNSEEN, name_fault, visible
from tests.analysis import runs

pytestmark = pytest.mark.usefixtures("undrawn")

HOSTILE = [
    *("[/conv1]", "[conv1]", "[bold]red[/bold]", ":smile:", "<script>alert(1)</script>", "&amp;&lt;", "</script><b>"),
    *("=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "-1", "+0.5", "＝1", "'=1", '"quoted", twice', "a|b", "`code`"),
    *("$x$", "50%", "__init__", "_a_", "*b*", "**c**", "~~d~~", "\\", "\\\\[1ex]", "\\input{x}", "{", "}", "{{ 7*7 }}"),
    *("[text](http://x.y)", "![i](x)", "http://x.y", "www.x.y", "<http://x.y>", "#1", "---", "a--b", "<!--", "]]>"),
    *("👨‍👩‍👧‍👦" * 20, "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "Ärger", "שלום", "漢字" * 40, "x" * 3000, "a\u0301" * 30, "\ue000", "\U0001fffe"),
]
REFUSED = [
    *("a\x00", "\x07", "\x1b[2J", "\x1b]52;c;AA\x07", "a\x7f", "a\x9bm", "a\u2028b", "a\u2029b", "\u202ea", "\u2066a"),
    *("\ufffe", "\uffff", "\udcff", "\ud800", "a\tb", "a\nb", "a\rb"),
]
ENCODABLE = [name for name in REFUSED if not "\ud800" <= name[0] <= "\udfff"]  # what a log in UTF-8 can hold
TOGETHER = [" ".join(HOSTILE[at : at + 10]) for at in range(0, len(HOSTILE), 10)]
NAMES = st.text(min_size=1, max_size=9).filter(lambda text: not name_fault(text) and text == " ".join(text.split()))
MARKS = st.text("[]()<>&|`$%_\\{}*~=+-@'\"#!:/^ax1 ", min_size=1, max_size=20).map(str.strip).filter(bool)
LATEX = re.compile(r"\\(?:text[a-z]+\{|[a-z]+\{\}|[&%$#_{}])|\\[a-z]+|\$[^$]*\$")


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_that_can_be_shown_is_allowed(name: str) -> None:
    assert name_fault(name) is None
    assert visible(name) == name


@pytest.mark.parametrize("name", REFUSED)
def test_a_name_that_acts_is_refused_and_an_old_one_is_shown_by_its_number(name: str) -> None:
    assert "U+" in (name_fault(name) or "")
    assert not UNSEEN.search(visible(name))
    visible(name).encode()


@given(st.lists(NAMES | MARKS, min_size=2, max_size=2, unique_by=str.casefold))
@settings(max_examples=60)
@example(HOSTILE)
def test_a_table_reads_as_it_is_in_every_form(names: list[str]) -> None:
    import tempfile

    table = pd.DataFrame({"cell": names, "mean": [0.5 - i / 1000 for i in range(len(names))], "best": False})
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for safe in (False, True):
            write_table(table, folder, "t", safe)
            read = pd.read_csv(folder / "t.csv", keep_default_na=False, dtype={"cell": str})
            dangerous = [safe and FORMULA.match(name) is not None for name in names]
            assert list(read["cell"]) == [
                f"'{name}" if bad else name for name, bad in zip(names, dangerous, strict=True)
            ]
            assert list(read["mean"]) == list(table["mean"])
        markdown, latex = ((folder / f"t.{suffix}").read_text(encoding="utf-8") for suffix in ("md", "tex"))
        assert list(pd.read_parquet(folder / "t.parquet")["cell"]) == names
    assert [row[0] for row in markdown_rows(markdown)] == [" ".join(name.split()) for name in names]
    rows = latex.split("\\midrule\n")[1].split("\\bottomrule")[0].removeprefix("\\endhead\n").splitlines()
    assert len(rows) == len(names)
    for row in rows:
        assert not row.startswith(("[", "*"))
        assert len(LATEX.sub("", row.removesuffix(r" \\")).split("&")) == 2
        left = LATEX.sub("", row.removesuffix(r" \\")).replace("{}", "").replace("}", "")
        assert not set(left.replace("&", "", 1)) & set("\\{$%#_^~&"), row


def markdown_rows(text: str) -> list[list[str]]:
    """The cells of a table's body, as a reader of Markdown shows them; another element than text is an error."""
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text)
    cells = [token for token in tokens if token.type == "inline"]
    for cell in cells:
        kinds = {child.type for child in cell.children or ()} - {"text", "text_special", "strong_open", "strong_close"}
        assert not kinds, (cell.content, kinds)
    width = sum(token.type == "th_open" for token in tokens)
    shown = ["".join(child.content for child in cell.children or ()) for cell in cells]
    return [shown[at : at + width] for at in range(width, len(shown), width)]


class Page(HTMLParser):
    """The tags of a page, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: object) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def run_of(folder: Path, names: list[str]) -> Path:
    """A run whose levels, cells, classes, question and errors are of these names."""
    cells = {"baseline": {"loss": "ce"}, **{f"loss={name}": {"loss": name} for name in names}}
    rows = [runs.comparison("loss", name, "ce", f"loss={name}", "baseline") for name in names]
    made = runs.study(cells, question=" ".join(names)) | {
        "cells": [runs.cell(cell, levels) for cell, levels in cells.items()],
        "comparisons": rows,
        "data": {"classes": names},
    }
    outcomes = {cell: [0.5, 0.6, 0.7] for cell in cells}
    events: list[dict[str, object]] = []
    for cell, values in outcomes.items():
        for seed, value in enumerate(values):
            events += runs.trial(cell, seed, value)
    events[-1] = runs.end(f"loss={names[-1]}", 2, "failed", error="\n".join(names))
    return runs.write(folder, made, events)


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> tuple[Page, Page]:
    """The page of plain names, and that of hostile ones."""
    from tests.conftest import empty_figures

    with empty_figures():
        plain = [f"n{i}" for i in range(len(TOGETHER))]
        reports = [make_report(contents_of(run_of(tmp_path_factory.mktemp("p"), names))) for names in (plain, TOGETHER)]
    assert [report.undrawn for report in reports] == [{}, {}]
    first, second = (Page(report.index.read_text(encoding="utf-8")) for report in reports)
    return first, second


def test_a_page_shows_every_name_and_has_no_tag_more(pages: tuple[Page, Page]) -> None:
    plain, hostile = pages
    assert hostile.tags == plain.tags
    for name in HOSTILE:
        assert name in hostile.text


def test_an_old_run_whose_names_act_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"study\.json: .*control characters") as refused:
        contents_of(run_of(tmp_path, ["".join(ENCODABLE)]))
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u202e\ufffe]", str(refused.value))


@pytest.mark.parametrize("names", [HOSTILE, ENCODABLE])
def test_a_terminal_shows_names_and_obeys_none(names: list[str]) -> None:
    from engine.cli.display import console

    table = pd.DataFrame({"rank": range(1, len(names) + 1), "cell": names, "n": 3, "metric": "m", "mean": 0.5})
    plain = Console(width=9000, markup=console()._markup, emoji=console()._emoji, highlight=False)
    with plain.capture() as captured:
        plain.print(console_table("ranking", table.assign(std=0.1, ci_low=0.4, ci_high=0.6)))
    for name in names:
        assert visible(name) in captured.get() or set(name) & {"\t", "\n"}  # which a table lays out
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", captured.get())
