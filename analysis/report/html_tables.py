"""Tables as they stand on the page: chosen columns, as few decimals as tell the rows apart, the best in bold."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from analysis.records.columns import rows_of
from analysis.records.run_records import Records
from analysis.records.schema import FINISHED
from analysis.report.narrative import unclear
from analysis.report.table_cells import (
    NUM,
    TEXT,
    Cell,
    Sheet,
    band,
    band_cell,
    count,
    fixed,
    known,
    num,
    p_cell,
    places,
    plus_minus,
    setting_cell,
    source_cell,
    texts,
    verdict_cell,
)
from analysis.statistics.hypothesis_tests import half_width
from analysis.tables.ablation import MANY_BASELINES
from analysis.tables.formatting import number, reached, setting_text
from analysis.tables.ladder_and_path import BEFORE, FIRST
from analysis.tables.ranking import COLUMNS as RANKING_COLUMNS
from analysis.tables.ranking import STOPPED_COLUMNS

RANKING_ROWS = 50
CLASS_CELLS = 8
TRIAL_ROWS = 300


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
        cells += [num(row[name], decimals) for name in ("baseline_mean", "level_mean")]
        cells += [num(row["delta"], decimals, "num strong", signed=True), band_cell(row, decimals)]
        cells += [p_cell(row["p_holm"]), p_cell(row["p_permutation"])]
        cells += [num(row["effect_size"], 2, signed=True)]
        cells += [verdict_cell(row["verdict"], unclear(row))]
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
            num(row["interaction"], decimals, "num strong", signed=True),
            band_cell(row, decimals),
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
            Cell(str(row["df"]), NUM, value=known(row["df"])),
            *(Cell(number(row[name], 3) or "–", NUM, value=known(row[name])) for name in ("sum_sq", "mean_sq", "f")),
            p_cell(row["p_value"]),
            num(row["eta_sq_partial"], 2, "num strong"),
        ]
        for row in rows_of(table)
    ]
    return Sheet(heads, rows)


def ladder(table: pd.DataFrame, ablation: pd.DataFrame) -> Sheet:
    """A row a rung: its mean, what it gained over the rung before and over the first, the source's figure."""
    notes = {(row["level"], row["baseline_level"]): unclear(row) for row in rows_of(ablation)}
    rungs = list(table["rung"])
    decimals = places(table["mean"])
    broken = bool((table["n_failed"] + table["n_diverged"]).sum())
    sourced = bool(table["reference"].notna().any())
    half = half_width(table["std"], table["n"])
    heads = [("rung", TEXT), ("n", NUM), *([("failed", NUM), ("diverged", NUM)] if broken else []), ("mean", NUM)]
    for over in ("the rung before", "the first"):
        heads += [(f"over {over}", NUM), ("p holm", NUM), ("verdict", TEXT)]
    heads += [("theirs", TEXT)] if sourced else []
    rows = []
    for place, (row, width) in enumerate(zip(rows_of(table), half, strict=True)):
        cells = [Cell(row["rung"]), count(row["n"])]
        cells += [count(row["n_failed"]), count(row["n_diverged"])] if broken else []
        cells += [Cell(plus_minus(row["mean"], width, decimals), NUM, value=known(row["mean"]))]
        for over, other in ((BEFORE, rungs[max(0, place - 1)]), (FIRST, rungs[0])):
            gain = num(row[f"delta_{over}"], decimals, "num strong", signed=True)
            cells.append(gain._replace(note=band(row, decimals, f"ci_low_{over}", f"ci_high_{over}").strip("–")))
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
        text, kind = plus_minus(row["mean"], row["half_width"], decimals), "num best" if row["best"] else NUM
        mean = Cell(text, kind, value=known(row["mean"]))
        cells = [Cell(row["level"], note="baseline" if row["is_baseline"] else ""), mean, count(row["n"])]
        cells += [count(row["n_failed"]), count(row["n_diverged"])] if broken else []
        cells += [num(row["delta"], decimals, "num strong", signed=True), band_cell(row, decimals)]
        cells += [p_cell(row["p_holm"]), verdict_cell(row["verdict"] if pd.notna(row["verdict"]) else "")]
        cells += [source_cell(row["reference"])] if sourced else []
        several = len(str(row["trials"]).split())
        trials = f"{several} trial{'' if several == 1 else 's'}"
        cells += [Cell(trials, "text nowrap", to=anchors.get(cell, ""), value=several)]
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
            rows.append(
                [
                    Cell(cell, "text repeat" if first else TEXT, id="" if first else anchors[cell]),
                    Cell(row["trial"], "text mono"),
                    num(row["seed"], 0),
                    Cell(row["status"], "text" if row["status"] == FINISHED else "text warn"),
                    num(row["epochs"], 0),
                    num(row["selected_epoch"], 0),
                    num(row["value"], decimals),
                    num(row["seconds"], 1),
                ]
            )
    left = len(records.cells) - len(anchors)
    return Sheet(heads, rows, f"The trials of {left} more cells are in trials.parquet." if left else ""), anchors


def why(table: pd.DataFrame) -> Sheet:
    """What changed on the test examples: of classifiers right and wrong ones, of landmarks their errors."""
    points, ladder = "share_better" in table, set(table["factor"]) <= MANY_BASELINES
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
            for name in ("share_better", "share_worse"):
                cells.append(Cell(f"{row[name]:.0%}".replace("%", " %"), NUM, value=known(row[name])))
            cells += [num(row[name], 2, signed=True) for name in ("delta_px", "delta_px_median")]
        else:
            cells += [Cell(f"{row[name]:.3g}", "num strong", value=known(row[name])) for name in ("gained", "lost")]
            cells += [p_cell(row["p_mcnemar"]), *(_class(row, side) for side in ("gain", "loss"))]
            ece = f"{fixed(row['ece_baseline'], 3)} → {fixed(row['ece_level'], 3)}"
            cells += [Cell(ece if pd.notna(row["ece_baseline"]) else "–", "text nowrap")]
        rows.append(cells)
    return Sheet(heads, rows)


def _class(row: Mapping[str, Any], side: str) -> Cell:
    if pd.isna(row[f"class_{side}"]):
        return Cell("–")
    return Cell(f"{row[f'class_{side}']} ({fixed(row[f'class_{side}_delta'], 2, signed=True)})", "text nowrap")


def ranking(table: pd.DataFrame, beside: str) -> Sheet:
    """The best rows, with the split that was not ranked by beside, and the settings of each."""
    table = table.head(RANKING_ROWS)
    decimals = places(table["mean"] if table["mean"].notna().any() else table.get("stopped_mean", table["mean"]))
    settings = [str(name) for name in table if name not in (*RANKING_COLUMNS, *STOPPED_COLUMNS)]
    broken = bool((table["n_failed"] + table["n_diverged"]).sum())
    stopped = "n_stopped" in table
    heads = [("rank", NUM), ("cell", TEXT), ("n", NUM)]
    heads += [("failed", NUM), ("diverged", NUM)] if broken else []
    heads += [("stopped", NUM)] if stopped else []
    heads += [("mean", NUM), ("95 % interval", NUM), ("std", NUM), (beside, NUM)]
    heads += [(name, TEXT) for name in settings]
    other = "test_mean" if beside == "test" else "val_mean"
    rows = []
    for row in rows_of(table):
        best = "num best" if row["rank"] == 1 and pd.notna(row["mean"]) else NUM
        cells = [num(row["rank"], 0, "num faint"), Cell(row["cell"]), count(row["n"])]
        cells += [count(row["n_failed"]), count(row["n_diverged"])] if broken else []
        cells += [count(row["n_stopped"])] if stopped else []
        mean = num(row["mean"], decimals, best)
        if stopped and pd.isna(row["mean"]) and pd.notna(row["stopped_mean"]):
            mean = Cell(reached(row, fixed(row["stopped_mean"], decimals)), "num faint", value=row["stopped_mean"])
        cells += [mean, band_cell(row, decimals)]
        cells += [num(row[name], decimals) for name in ("std", other)]
        cells += [setting_cell(row[name]) for name in settings]
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
        + [num(row[name], decimals[name]) for name in metrics]
        + [setting_cell(row[name]) for name in settings]
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
        marked = [num(value, 3, "num best" if value == best and len(cells) > 1 else NUM) for value in values]
        rows.append([Cell(str(name)), num(size, 0, "num faint"), *marked])
    return Sheet(heads, rows)


def stability(table: pd.DataFrame) -> Sheet:
    heads = [("cell", TEXT), ("n", NUM)]
    for name in ("roughness", "jumps"):
        heads += [(name, NUM), ("std", NUM), ("95 % interval", NUM)]
    rows = []
    for row in rows_of(table):
        cells = [Cell(row["cell"]), count(row["n"])]
        for metric, decimals in (("val_roughness", places(table["val_roughness_mean"])), ("val_jumps", 1)):
            cells += [num(row[f"{metric}_mean"], decimals, "num strong"), num(row[f"{metric}_std"], decimals)]
            cells.append(band_cell(row, decimals, f"{metric}_ci_low", f"{metric}_ci_high"))
        rows.append(cells)
    return Sheet(heads, rows)


def plain(table: pd.DataFrame) -> Sheet:
    """Every column of any table under its own name, numbers with four significant digits."""
    numeric = {str(name): pd.api.types.is_numeric_dtype(table[name]) for name in table}
    heads = [(name.replace("_", " "), NUM if is_number else TEXT) for name, is_number in numeric.items()]
    rows = []
    for row in rows_of(table):
        cells = []
        for name, value in row.items():
            text = number(value) if isinstance(value, float) else setting_text(value)
            cells.append(Cell(text, NUM, value=known(value)) if numeric[name] else Cell(text))
        rows.append(cells)
    return Sheet(heads, rows)
