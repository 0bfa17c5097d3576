"""The contents of a report's page by section; the template only lays them out.

A figure or gallery names its section. A table stands in the section of its spec.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from analysis.figures.gallery import Gallery
from analysis.figures.theme import Figure
from analysis.records.columns import rows_of
from analysis.records.run_records import Records
from analysis.report.html_tables import RANKING_ROWS, TABLE_ROWS, HtmlTable, More, html_table, per_class, trials_table
from analysis.report.narrative import pareto_in_words, stopped_early
from analysis.statistics.hypothesis_tests import half_width
from analysis.tables.ablation import unclear
from analysis.tables.confusion import MAXIMUM_CELLS
from analysis.tables.formatting import capitalised
from analysis.tables.gained_and_lost import MAXIMUM_COMPARISONS
from analysis.tables.ladder_and_path import BEFORE, FIRST
from analysis.tables.search.pareto import cell_objectives
from analysis.tables.spec import spec_of

HEADINGS = {
    "ablation": "Ablation",
    "search": "Search",
    "curves": "Learning curves",
    "why": "Why",
    "pictures": "Pictures",
    "classes": "Accuracy by class",
    "trials": "Trials",
    "failures": "What did not work",
    "provenance": "Provenance",
}
PAIRED = (
    "Differences are level − baseline, paired by seed. Intervals are 95 % paired t; p (Holm) is the paired t-test, "
    "corrected by Holm over the rows; p (perm.) is the sign-flip permutation test; effect is the difference in "
    "standard deviations of the paired differences. Where nothing is clear, two one-sided tests at 5 % say how large a "
    "difference is ruled out, and the number of seeds is an estimate: enough for a paired t-test at 5 % to find a "
    "difference of the size seen so far four times in five."
)
CHANGED_CLASSES = (
    "Test examples that turned from wrong to right and from right to wrong, mean over pairs of equal seeds; the median "
    "over pairs of McNemar’s exact p, which speaks of these examples, not of other seeds. Then the classes whose "
    "accuracy rose and fell most, and the expected calibration error (15 bins, top label) of baseline and level: 0 "
    "where confidence can be believed."
)
CHANGED_POINTS = (
    "Shares of test examples whose landmarks came closer to the true ones and went farther from them, and how their "
    "error changed, mean over pairs of equal seeds."
)
THEIRS = " The source’s figure was measured there, not here."


@dataclass(frozen=True)
class Block:
    """A table with its heading, a paragraph before it and one after it."""

    heading: str = ""
    text: str = ""
    table: HtmlTable | None = None
    after: str = ""


@dataclass
class Section:
    """A part of the page: figures and galleries, then blocks. `anchor` is its id and the name that figures use."""

    anchor: str
    text: str = ""
    blocks: list[Block] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    galleries: list[Gallery] = field(default_factory=list)

    @property
    def title(self) -> str:
        return HEADINGS.get(self.anchor) or capitalised(self.anchor)

    @property
    def filled(self) -> bool:
        return bool(self.blocks or self.figures or self.galleries)


def sections(
    records: Records,
    tables: Mapping[str, pd.DataFrame],
    figures: Sequence[Figure] = (),
    galleries: Sequence[Gallery] = (),
    notes: Sequence[str] = (),
) -> list[Section]:
    """The sections that have anything to show, in the order of HEADINGS, those of unknown names last.

    `notes` are the sentences before a search's tables.
    """
    trials, anchors = trials_table(records, records.metric)
    made = {name: Section(name) for name in HEADINGS}
    made["ablation"] = _ablation(records, tables, anchors)
    made["search"] = _search(records, tables, notes)
    if "stability" in tables and len(tables["stability"]):
        table = _table("stability", tables["stability"])
        text = _not_in_stability(records, tables["stability"])
        made["curves"].blocks.append(Block("Roughness and jumps of each cell", text, table))
    if "why" in tables:
        text = CHANGED_POINTS if "share_better" in tables["why"] else CHANGED_CLASSES
        if len(records.comparisons) > MAXIMUM_COMPARISONS:
            text += f" Of the study's first {MAXIMUM_COMPARISONS} comparisons; predictions of others were not read."
        made["why"].blocks.append(Block(text=text, table=_table("why", tables["why"])))
    if "per_class" in tables:
        text = "Test accuracy, mean over seeds; the best of each class in bold. Confusion counts are in confusion.csv."
        if not records.is_search and records.trials["cell"].nunique() > MAXIMUM_CELLS:
            text += f" Of the best {MAXIMUM_CELLS} cells and the baseline; predictions of others were not read."
        made["classes"].blocks.append(Block(text=text, table=per_class(tables["per_class"])))
    if trials.rows:
        made["trials"].blocks.append(Block(table=trials))
    for name, made_table in tables.items():
        spec = spec_of(name)
        if spec.section and len(made_table):
            block = Block(spec.heading, spec.text, _table(name, made_table))
            made.setdefault(spec.section, Section(spec.section)).blocks.append(block)
    if not records.is_search:
        made["ablation"].blocks += _ranking(records, tables)
    for figure in figures:
        made.setdefault(figure.section, Section(figure.section)).figures.append(figure)
    for gallery in galleries:
        made.setdefault(gallery.section, Section(gallery.section)).galleries.append(gallery)
    return list(made.values())


def _ablation(records: Records, tables: Mapping[str, pd.DataFrame], anchors: Mapping[str, str]) -> Section:
    if records.is_search:
        return Section("ablation")
    metric = records.metric
    theirs = THEIRS if any(cell.get("reference") for cell in records.study.get("cells", [])) else ""
    blocks: list[Block] = []
    if "ladder" in tables and len(tables["ladder"]):
        after = (
            "A mean stands with half of its 95 % interval over seeds; what a rung gains is paired by seed, with its "
            f"95 % interval below. Every statistic of each step is in ablation.csv.{theirs}"
        )
        blocks.append(Block(metric, table=_ladder(tables["ladder"], tables["ablation"]), after=after))
    factors = [name for name in tables if name.startswith("factor_")]
    for name in factors:
        links = [{"to": anchors.get(cell, "")} for cell in tables[name].attrs["cells"]]
        table = _table(name, tables[name], {"trials": links})
        after = f"A mean stands with half of its 95 % interval over seeds, the best in bold.{theirs}"
        blocks.append(Block(_question(tables[name]), table=table, after=after if name == factors[-1] else ""))
    compared = [name for name in tables if name.startswith("ablation") and len(tables[name])]
    compared = [name for name in compared if not (name == "ablation" and "ladder" in tables)]
    for name in compared:
        title = metric if name == "ablation" else name.removeprefix("ablation_")
        title = f"Every comparison, {title}" if blocks or len(compared) > 1 else title
        blocks.append(Block(title, table=_table(name, tables[name])))
    text = PAIRED if compared or blocks else ""
    return Section("ablation", text, blocks)


def _ladder(table: pd.DataFrame, ablation: pd.DataFrame) -> HtmlTable:
    """The rungs; a note gives the differences that their unclear comparisons rule out."""
    said = {(row["level"], row["baseline_level"]): unclear(row) for row in rows_of(ablation)}
    rungs = list(table["rung"])
    others = {BEFORE: [rungs[0], *rungs], FIRST: [rungs[0]] * len(rungs)}
    notes = {
        f"verdict_{over}": [{"note": said.get(pair, "")} for pair in zip(rungs, found, strict=False)]
        for over, found in others.items()
    }
    return _table("ladder", table.assign(half_width=half_width(table["std"], table["n"])), notes)


def _table(name: str, table: pd.DataFrame, more: More | None = None, rows: int = TABLE_ROWS) -> HtmlTable:
    return html_table(spec_of(name), table, more, f"{name}.csv", rows)


def _search(records: Records, tables: Mapping[str, pd.DataFrame], notes: Sequence[str]) -> Section:
    section = Section("search")
    if not records.is_search:
        return section
    if "pareto" in tables:
        text = pareto_in_words(tables["pareto"], records.objectives, len(cell_objectives(records)))
        table = tables["pareto"]
        made = _table("pareto", table, rows=RANKING_ROWS) if len(table) else None
        section.blocks.append(Block("Pareto front", text, made))
    section.blocks += _ranking(records, tables)
    section.text = " ".join(notes)
    return section


def _ranking(records: Records, tables: Mapping[str, pd.DataFrame]) -> list[Block]:
    table = tables["ranking"]
    if table.empty:
        return []
    if records.is_search:
        text = "By validation; test stands beside it and chooses nothing."
    else:
        text = f"By {records.metric}, mean over the seeds that finished."
    stopped = stopped_early(records)
    text += f" {stopped}" if stopped else ""
    return [Block("Ranking", text, _table("ranking", table, rows=RANKING_ROWS))]


def _not_in_stability(records: Records, table: pd.DataFrame) -> str:
    """How many cells with such values are not in stability.csv, as in a large search; empty where all are."""
    known = records.finished.dropna(subset="val_roughness")["cell"]
    left = len(set(known) - set(table["cell"]))
    return f"The best {len(table)}; {left} more are only in trials.parquet." if left else ""


def _question(table: pd.DataFrame) -> str:
    """The question that a factor's table answers, as its heading."""
    levels = [str(level) for level in table["level"]]
    listed = f"{', '.join(levels[:-1])} or {levels[-1]}?"
    return f"{table.attrs['factor']}: {listed if len(listed) <= 120 else f'which of {len(levels)} levels?'}"
