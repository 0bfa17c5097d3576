"""Tables as they stand on the page: chosen columns, as few decimals as tell the rows apart, the best in bold."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pandas as pd

from analysis import wording
from analysis.ladder import BEFORE, FIRST
from analysis.ranking import COLUMNS as RANKING_COLUMNS
from analysis.ranking import STOPPED_COLUMNS
from analysis.schema import FINISHED
from analysis.statistics import half_width
from analysis.store import Records
from analysis.tables import number, reached, rows_of

RANKING_ROWS = 50
CLASS_CELLS = 8
TRIAL_ROWS = 300
TEXT, NUM = "text", "num"


class Cell(NamedTuple):
    """Text with its css class; a softer note below it; the anchor of the page that it leads to, and its own."""

    text: str
    kind: str = TEXT
    note: str = ""
    to: str = ""
    id: str = ""


@dataclass(frozen=True)
class Sheet:
    """A table of the page: heads with their alignment ("text" or "num"), rows of cells, and what follows below them."""

    heads: list[tuple[str, str]]
    rows: list[list[Cell]]
    note: str = ""


def places(values: pd.Series) -> int:
    """Decimals that show four significant digits of the largest value."""
    largest = values.abs().max()
    if pd.isna(largest) or largest == 0:
        return 3
    return min(6, max(0, 3 - math.floor(math.log10(largest))))


def fixed(value: float | None, decimals: int, signed: bool = False) -> str:
    if value is None or pd.isna(value):
        return "–"
    text = f"{value:{'+' if signed else ''}.{decimals}f}"
    return text.replace("-", "−")


def band(row: Mapping[str, Any], decimals: int, low: str = "ci_low", high: str = "ci_high") -> str:
    if pd.isna(row[low]):
        return "–"
    return f"[{fixed(row[low], decimals)}, {fixed(row[high], decimals)}]"


def count(value: int) -> Cell:
    return Cell(str(value), NUM if value else "num faint")


def p_cell(p: float | None) -> Cell:
    return Cell(wording.p_text(p) or "–", NUM)


def texts(row: Mapping[str, Any], *names: str) -> list[Cell]:
    return [Cell(str(row[name])) for name in names]


def verdict_cell(verdict: str, note: str = "") -> Cell:
    return Cell(verdict, f"verdict {verdict.replace(' ', '-')}", note)


def source_cell(reference: Any) -> Cell:
    return Cell(str(reference) if pd.notna(reference) else "", "text faint")


def comparisons(table: pd.DataFrame) -> Sheet:
    """An ablation or effects table: counts of broken runs and the source's figure only where there are any."""
    decimals = places(pd.concat([table["baseline_mean"], table["level_mean"]]))
    broken = bool((table["n_failed"] + table["n_diverged"]).sum())
    sourced = bool(table["reference"].notna().any())
    heads = [("factor", TEXT), ("level", TEXT), ("against", TEXT), ("n", NUM)]
    heads += [("failed", NUM), ("diverged", NUM)] if broken else []
    heads += [("baseline", NUM), ("level", NUM), ("delta", NUM), ("95 % interval", NUM), ("p holm", NUM)]
    heads += [("p perm.", NUM), ("effect", NUM), ("verdict", TEXT)]
    heads += [("theirs", TEXT)] if sourced else []
    rows = []
    for row in rows_of(table):
        cells = [*texts(row, "factor", "level", "baseline_level"), count(row["n_pairs"])]
        cells += [count(row["n_failed"]), count(row["n_diverged"])] if broken else []
        cells += [Cell(fixed(row[name], decimals), NUM) for name in ("baseline_mean", "level_mean")]
        cells += [Cell(fixed(row["delta"], decimals, signed=True), "num strong"), Cell(band(row, decimals), NUM)]
        cells += [p_cell(row["p_holm"]), p_cell(row["p_permutation"])]
        cells += [Cell(fixed(row["effect_size"], 2, signed=True), NUM)]
        cells += [verdict_cell(row["verdict"], wording.unclear(row))]
        cells += [source_cell(row["reference"])] if sourced else []
        rows.append(cells)
    return Sheet(heads, rows)


def interactions(table: pd.DataFrame) -> Sheet:
    decimals = places(table["interaction"])
    heads = [("factor", TEXT), ("level", TEXT), ("with", TEXT), ("level", TEXT), ("n", NUM)]
    heads += [("interaction", NUM), ("95 % interval", NUM), ("p", NUM)]
    rows = [
        [
            *texts(row, "factor_a", "level_a", "factor_b", "level_b"),
            count(row["n_pairs"]),
            Cell(fixed(row["interaction"], decimals, signed=True), "num strong"),
            Cell(band(row, decimals), NUM),
            p_cell(row["p_value"]),
        ]
        for row in rows_of(table)
    ]
    return Sheet(heads, rows)


def anova(table: pd.DataFrame) -> Sheet:
    heads = [("source", TEXT), ("df", NUM), ("sum of squares", NUM), ("mean square", NUM), ("F", NUM), ("p", NUM)]
    heads += [("partial η²", NUM)]
    rows = [
        [
            Cell(row["source"]),
            Cell(str(row["df"]), NUM),
            *(Cell(number(row[name], 3) or "–", NUM) for name in ("sum_sq", "mean_sq", "f")),
            p_cell(row["p_value"]),
            Cell(fixed(row["eta_sq_partial"], 2), "num strong"),
        ]
        for row in rows_of(table)
    ]
    return Sheet(heads, rows)


def ladder(table: pd.DataFrame, ablation: pd.DataFrame) -> Sheet:
    """A row a rung: its mean, what it gained over the rung before and over the first, the source's figure."""
    notes = {(row["level"], row["baseline_level"]): wording.unclear(row) for row in rows_of(ablation)}
    rungs = list(table["rung"])
    decimals = places(table["mean"])
    broken = bool((table["n_failed"] + table["n_diverged"]).sum())
    sourced = bool(table["reference"].notna().any())
    half = half_width(table["std"], table["n"])
    heads = [("rung", TEXT), ("n", NUM), *([("failed", NUM), ("diverged", NUM)] if broken else []), ("mean", NUM)]
    for over in ("the rung before", "the first"):
        heads += [(f"over {over}", NUM), ("95 % interval", NUM), ("p holm", NUM), ("verdict", TEXT)]
    heads += [("theirs", TEXT)] if sourced else []
    rows = []
    for place, (row, width) in enumerate(zip(rows_of(table), half, strict=True)):
        cells = [Cell(row["rung"]), count(row["n"])]
        cells += [count(row["n_failed"]), count(row["n_diverged"])] if broken else []
        cells += [Cell(plus_minus(row["mean"], width, decimals), NUM)]
        for over, other in ((BEFORE, rungs[max(0, place - 1)]), (FIRST, rungs[0])):
            cells += [Cell(fixed(row[f"delta_{over}"], decimals, signed=True), "num strong")]
            cells += [Cell(band(row, decimals, f"ci_low_{over}", f"ci_high_{over}"), NUM)]
            verdict = row[f"verdict_{over}"]
            cells.append(p_cell(row[f"p_holm_{over}"]))
            cells += [verdict_cell(verdict if pd.notna(verdict) else "", notes.get((row["rung"], other), ""))]
        cells += [source_cell(row["reference"])] if sourced else []
        rows.append(cells)
    return Sheet(heads, rows)


def levels(table: pd.DataFrame, anchors: Mapping[str, str]) -> Sheet:
    """The levels of one factor; `anchors` of the page lead to the trials of a cell."""
    decimals = places(table["mean"])
    broken = bool((table["n_failed"] + table["n_diverged"]).sum())
    sourced = bool(table["reference"].notna().any())
    heads = [("level", TEXT), ("mean", NUM), ("n", NUM), *([("failed", NUM), ("diverged", NUM)] if broken else [])]
    heads += [("difference", NUM), ("95 % interval", NUM), ("p holm", NUM), ("verdict", TEXT)]
    heads += [("theirs", TEXT)] if sourced else []
    heads += [("trials", TEXT)]
    rows = []
    for row, cell in zip(rows_of(table), table.attrs["cells"], strict=True):
        mean = Cell(plus_minus(row["mean"], row["half_width"], decimals), "num best" if row["best"] else NUM)
        cells = [Cell(row["level"], note="baseline" if row["is_baseline"] else ""), mean, count(row["n"])]
        cells += [count(row["n_failed"]), count(row["n_diverged"])] if broken else []
        cells += [Cell(fixed(row["delta"], decimals, signed=True), "num strong"), Cell(band(row, decimals), NUM)]
        cells += [p_cell(row["p_holm"]), verdict_cell(row["verdict"] if pd.notna(row["verdict"]) else "")]
        cells += [source_cell(row["reference"])] if sourced else []
        several = len(str(row["trials"]).split())
        cells += [Cell(f"{several} trial{'' if several == 1 else 's'}", "text nowrap", to=anchors.get(cell, ""))]
        rows.append(cells)
    return Sheet(heads, rows)


def trials(records: Records, metric: str) -> tuple[Sheet, dict[str, str]]:
    """The trials of the first cells, whole cells only, and the anchor of each cell's first row."""
    heads = [("cell", TEXT), ("trial", TEXT), ("seed", NUM), ("status", TEXT), ("epochs", NUM), ("selected", NUM)]
    heads += [(metric, NUM), ("seconds", NUM)]
    table = records.trials
    values = table[metric] if metric in table else pd.Series(float("nan"), index=table.index)
    decimals = places(values)
    anchors: dict[str, str] = {}
    rows: list[list[Cell]] = []
    for place, cell in enumerate(records.cells):
        own = records.rows(cell)
        if len(rows) + len(own) > TRIAL_ROWS:
            break
        anchors[cell] = f"trials-{place}"
        if records.resolve(cell) != cell:
            rows.append([Cell(cell, id=anchors[cell]), Cell("", note=f"the trials of {records.resolve(cell)}")])
            continue
        for first, row in enumerate(rows_of(own.assign(value=values.loc[own.index]))):
            name = "" if first else cell
            rows.append(
                [
                    Cell(name, id="" if first else anchors[cell]),
                    Cell(row["trial"], "text mono"),
                    Cell(str(row["seed"]), NUM),
                    Cell(row["status"], "text" if row["status"] == FINISHED else "text warn"),
                    Cell(str(row["epochs"]), NUM),
                    Cell("–" if pd.isna(row["selected_epoch"]) else str(row["selected_epoch"]), NUM),
                    Cell(fixed(row["value"], decimals), NUM),
                    Cell(fixed(row["seconds"], 1), NUM),
                ]
            )
    left = len(records.cells) - len(anchors)
    return Sheet(heads, rows, f"The trials of {left} more cells are in trials.parquet." if left else ""), anchors


def why(table: pd.DataFrame) -> Sheet:
    """What changed on the test examples: of classifiers right and wrong ones, of landmarks their errors."""
    points, ladder = "share_better" in table, set(table["factor"]) == {"ladder"}
    named = ("level", "baseline_level") if ladder else ("factor", "level", "baseline_level")
    heads = [("against" if name == "baseline_level" else name, TEXT) for name in named]
    heads += [("n", NUM), ("examples", NUM)]
    if points:
        heads += [("better", NUM), ("worse", NUM), ("mean change, px", NUM), ("median change, px", NUM)]
    else:
        heads += [("gained", NUM), ("lost", NUM), ("McNemar p", NUM), ("most gained", TEXT), ("most lost", TEXT)]
        heads += [("ECE", TEXT)]
    rows = []
    for row in rows_of(table):
        cells = [*texts(row, *named), count(row["n_pairs"]), count(row["examples"])]
        if points:
            cells += [Cell(f"{row[name]:.0%}".replace("%", " %"), NUM) for name in ("share_better", "share_worse")]
            cells += [Cell(fixed(row[name], 2, signed=True), NUM) for name in ("delta_px", "delta_px_median")]
        else:
            cells += [Cell(f"{row[name]:.3g}", "num strong") for name in ("gained", "lost")]
            cells += [p_cell(row["p_mcnemar"]), *(_class(row, side) for side in ("gain", "loss"))]
            ece = f"{fixed(row['ece_baseline'], 3)} → {fixed(row['ece_level'], 3)}"
            cells += [Cell(ece if pd.notna(row["ece_baseline"]) else "–", "text nowrap")]
        rows.append(cells)
    return Sheet(heads, rows)


def _class(row: Mapping[str, Any], side: str) -> Cell:
    if pd.isna(row[f"class_{side}"]):
        return Cell("–")
    return Cell(f"{row[f'class_{side}']} ({fixed(row[f'class_{side}_delta'], 2, signed=True)})", "text nowrap")


def plus_minus(mean: float | None, half: float | None, decimals: int) -> str:
    """A mean with half of its 95 % interval, as far as there are any."""
    return fixed(mean, decimals) + (f" ± {fixed(half, decimals)}" if half is not None and pd.notna(half) else "")


def ranking(table: pd.DataFrame, beside: str) -> Sheet:
    """The best rows, with the split that was not ranked by beside, and the settings of each."""
    table = table.head(RANKING_ROWS)
    decimals = places(table["mean"] if table["mean"].notna().any() else table.get("stopped_mean", table["mean"]))
    settings = [str(name) for name in table if name not in (*RANKING_COLUMNS, *STOPPED_COLUMNS)]
    broken = bool((table["n_failed"] + table["n_diverged"]).sum())
    stopped = "n_stopped" in table
    heads = [("", NUM), ("cell", TEXT), ("n", NUM)]
    heads += [("failed", NUM), ("diverged", NUM)] if broken else []
    heads += [("stopped", NUM)] if stopped else []
    heads += [("mean", NUM), ("95 % interval", NUM), ("std", NUM), (beside, NUM)]
    heads += [(name, TEXT) for name in settings]
    other = "test_mean" if beside == "test" else "val_mean"
    rows = []
    for row in rows_of(table):
        best = "num best" if row["rank"] == 1 and pd.notna(row["mean"]) else NUM
        cells = [Cell(str(row["rank"]), "num faint"), Cell(row["cell"]), count(row["n"])]
        cells += [count(row["n_failed"]), count(row["n_diverged"])] if broken else []
        cells += [count(row["n_stopped"])] if stopped else []
        mean = Cell(fixed(row["mean"], decimals), best)
        if stopped and pd.isna(row["mean"]) and pd.notna(row["stopped_mean"]):
            mean = Cell(reached(row, fixed(row["stopped_mean"], decimals)), "num faint")
        cells += [mean, Cell(band(row, decimals), NUM)]
        cells += [Cell(fixed(row[name], decimals), NUM) for name in ("std", other)]
        cells += [Cell(wording.setting(row[name])) for name in settings]
        rows.append(cells)
    return Sheet(heads, rows)


def pareto(table: pd.DataFrame, metrics: Sequence[str]) -> Sheet:
    """The front: cell, number of runs, mean of each metric, varied settings."""
    table = table.head(RANKING_ROWS)
    settings = [str(name) for name in table if name not in ("cell", "n", *metrics)]
    heads = [("cell", TEXT), ("n", NUM), *((name, NUM) for name in metrics), *((name, TEXT) for name in settings)]
    decimals = {name: places(table[name]) for name in metrics}
    rows = [
        [Cell(row["cell"]), count(row["n"])]
        + [Cell(fixed(row[name], decimals[name]), NUM) for name in metrics]
        + [Cell(wording.setting(row[name])) for name in settings]
        for row in rows_of(table)
    ]
    return Sheet(heads, rows)


def per_class(table: pd.DataFrame) -> Sheet:
    """Accuracy of every class in the best cells, a row a class."""
    cells = list(table["cell"].unique())[:CLASS_CELLS]
    accuracy = {(row["cell"], row["class"]): row["accuracy"] for row in rows_of(table)}
    examples = table.drop_duplicates("class")[["class", "examples"]]
    heads = [("class", TEXT), ("examples", NUM), *((cell, NUM) for cell in cells)]
    rows = []
    for name, size in examples.itertuples(index=False):
        values = [accuracy.get((cell, name)) for cell in cells]
        best = max((value for value in values if value is not None), default=None)
        marked = [Cell(fixed(value, 3), "num best" if value == best and len(cells) > 1 else NUM) for value in values]
        rows.append([Cell(str(name)), Cell(str(size), "num faint"), *marked])
    return Sheet(heads, rows)
