"""What stands on the page of a report, section by section; the template only lays it out.

A figure or gallery joins its section by name. A table that has no place of its own gets one by a line of LISTED.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from analysis.figures.gallery import Gallery
from analysis.figures.theme import Figure
from analysis.records.run_records import Records
from analysis.report import html_tables
from analysis.report.html_tables import HtmlTable, capped
from analysis.report.narrative import pareto_in_words, stopped_early
from analysis.tables.confusion import MAXIMUM_CELLS
from analysis.tables.formatting import capitalised
from analysis.tables.gained_and_lost import MAXIMUM_COMPARISONS
from analysis.tables.search.pareto import cell_objectives, measured

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
    "Differences are level − baseline, paired by seed. Intervals are 95 % paired t; p holm is the paired t-test, "
    "corrected by Holm over the rows; p perm. is the sign-flip permutation test; effect is the difference in standard "
    "deviations of the paired differences. Where nothing is clear, two one-sided tests at 5 % say how large a "
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
THEIRS = " “Theirs” is the figure of the study’s source, measured there, not here."


@dataclass(frozen=True)
class Block:
    """A table with its heading, a paragraph before it and one behind."""

    heading: str = ""
    text: str = ""
    table: HtmlTable | None = None
    after: str = ""


LISTED: dict[str, tuple[str, str, str]] = {  # of a table without a sheet of its own: section, heading, text
    "top": (
        "search",
        "The best, and what test says of them",
        "Test rank is the place that test gives among all configurations; gap is how much better validation is than "
        "test.",
    ),
    "importance": (
        "search",
        "Which settings matter",
        "Either importance sums to 1 over the settings: fANOVA’s is, of what settings explain by themselves over the "
        "whole space, the share of this one, and what they explain only together is not in it; PED-ANOVA’s is for "
        "coming among the best. n configurations have the setting, of which fANOVA takes n fanova.",
    ),
    "rungs": (
        "search",
        "Rungs",
        "The epochs after which the trial scheduler stopped trials; the last row is the whole budget.",
    ),
    "path": (
        "ablation",
        "Every candidate of every step",
        "Each factor that was left, turned on beside the steps before; val delta is its change in validation, the "
        "others speak of test data. The step was the one that most seeds finished, of equals the best in validation, "
        "by the seeds and epochs of the time of choosing. Of several candidates the best is also the luckiest.",
    ),
}


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
    trials, anchors = html_tables.trials(records, records.metric)
    made = {name: Section(name) for name in HEADINGS}
    made["ablation"] = _ablation(records, tables, anchors)
    made["search"] = _search(records, tables, notes)
    if "stability" in tables and len(tables["stability"]):
        table = capped(html_tables.stability(tables["stability"]), "stability.csv")
        text = _not_in_stability(records, tables["stability"])
        made["curves"].blocks.append(Block("Roughness and jumps of each cell", text, table))
    if "why" in tables:
        text = CHANGED_POINTS if "share_better" in tables["why"] else CHANGED_CLASSES
        if len(records.comparisons) > MAXIMUM_COMPARISONS:
            text += f" Of the study's first {MAXIMUM_COMPARISONS} comparisons; predictions of others were not read."
        made["why"].blocks.append(Block(text=text, table=capped(html_tables.why(tables["why"]), "why.csv")))
    if "per_class" in tables:
        text = "Test accuracy, mean over seeds; the best of each class in bold. Confusion counts are in confusion.csv."
        if not records.is_search and records.trials["cell"].nunique() > MAXIMUM_CELLS:
            text += f" Of the best {MAXIMUM_CELLS} cells and the baseline; predictions of others were not read."
        made["classes"].blocks.append(Block(text=text, table=html_tables.per_class(tables["per_class"])))
    if trials.rows:
        made["trials"].blocks.append(Block(table=trials))
    for name, (section, heading, text) in LISTED.items():
        if name in tables and len(tables[name]):
            table = capped(html_tables.plain(tables[name]), f"{name}.csv")
            made.setdefault(section, Section(section)).blocks.append(Block(heading, text, table))
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
        blocks.append(Block(metric, table=html_tables.ladder(tables["ladder"], tables["ablation"]), after=after))
    factors = [name for name in tables if name.startswith("factor_")]
    for name in factors:
        table = capped(html_tables.levels(tables[name], anchors), f"{name}.csv")
        after = f"A mean stands with half of its 95 % interval over seeds, the best in bold.{theirs}"
        blocks.append(Block(_question(tables[name]), table=table, after=after if name == factors[-1] else ""))
    compared = [name for name in tables if name.startswith("ablation") and len(tables[name])]
    compared = [name for name in compared if not (name == "ablation" and "ladder" in tables)]
    for name in compared:
        title = metric if name == "ablation" else name.removeprefix("ablation_")
        title = f"Every comparison, {title}" if blocks or len(compared) > 1 else title
        blocks.append(Block(title, table=capped(html_tables.comparisons(tables[name]), f"{name}.csv")))
    text = PAIRED if compared or blocks else ""
    return Section("ablation", text, [*blocks, *_factorial(tables), *_ranking(records, tables)])


def _factorial(tables: Mapping[str, pd.DataFrame]) -> list[Block]:
    blocks = []
    if "effects" in tables:
        text = "Each level against its factor's first, averaged over the other factors within each seed."
        blocks.append(Block("Main effects", text, capped(html_tables.comparisons(tables["effects"]), "effects.csv")))
    if "interactions" in tables and len(tables["interactions"]):
        text = "How much two levels together differ from the sum of their separate effects. Not corrected for the "
        text += "number of rows."
        table = capped(html_tables.interactions(tables["interactions"]), "interactions.csv")
        blocks.append(Block("Interactions", text, table))
    if "anova" in tables and len(tables["anova"]):
        text = (
            "Type II, with the seed as a block, over seeds that finished every cell; partial η² is the share of what "
            "the other sources leave."
        )
        blocks.append(Block("Analysis of variance", text, html_tables.anova(tables["anova"])))
    return blocks


def _search(records: Records, tables: Mapping[str, pd.DataFrame], notes: Sequence[str]) -> Section:
    section = Section("search")
    if not records.is_search:
        return section
    if "pareto" in tables:
        text = pareto_in_words(tables["pareto"], records.objectives, len(cell_objectives(records)))
        left = len(tables["pareto"]) - html_tables.RANKING_ROWS
        text += f" {left} more are in pareto.csv." if left > 0 else ""
        table = html_tables.pareto(tables["pareto"], measured(records)) if len(tables["pareto"]) else None
        section.blocks.append(Block("Pareto front", text, table))
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
    left = len(table) - html_tables.RANKING_ROWS
    text += f" The best {html_tables.RANKING_ROWS}; {left} more are in ranking.csv." if left > 0 else ""
    stopped = stopped_early(records)
    text += f" {stopped}" if stopped else ""
    return [Block("Ranking", text, html_tables.ranking(table, "test" if records.is_search else "validation"))]


def _not_in_stability(records: Records, table: pd.DataFrame) -> str:
    """How many cells with these figures stability.csv does not hold, as of a large search; empty where it holds all."""
    known = records.finished.dropna(subset="val_roughness")["cell"]
    left = len(set(known) - set(table["cell"]))
    return f"The best {len(table)}; {left} more are only in trials.parquet." if left else ""


def _question(table: pd.DataFrame) -> str:
    """What a factor's table answers, as a heading."""
    levels = [str(level) for level in table["level"]]
    listed = f"{', '.join(levels[:-1])} or {levels[-1]}?"
    return f"{table.attrs['factor']}: {listed if len(listed) <= 120 else f'which of {len(levels)} levels?'}"
