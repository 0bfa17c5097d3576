"""Figures of confusion matrices: of baseline and best cell, and of a level's change against its baseline.

Rows are true classes and are normalised, so that classes of different sizes and cells of different numbers of seeds
are comparable. Colours are transparent at 0, as the page may be light or dark.
"""

from collections.abc import Mapping, Sequence
from textwrap import wrap
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from analysis.figures.cell_labels import labels, unique
from analysis.figures.theme import INK, MAXIMUM_MARKS, NEUTRAL, Figure, inline
from analysis.records.columns import rows_of
from analysis.records.run_records import Records
from analysis.statistics.multiple_comparisons import BETTER, WORSE
from analysis.tables.ablation import is_step
from analysis.tables.ranking import best_cell, best_word

MAXIMUM_CLASSES = 50  # of one matrix; if there are more, those with the most errors
COUNTED_CLASSES = 12  # up to so many, the matrix shows counts
CLEAR_ROWS = 4  # comparisons with a clear verdict that are drawn, at most
SMALLEST_CHANGE = 0.0005  # of a share that is drawn
TITLE = 40  # characters of a line of a panel's title
PANEL, LARGEST_CELL, SMALLEST_CELL = 250, 56, 5  # pixels
BLUE, ORANGE = "0,114,178", "213,94,0"


def counts_of(confusion: pd.DataFrame, cell: str, classes: Sequence[str]) -> pd.DataFrame:
    """(C, C): how often each true class (row) was taken for each class (column), summed over seeds."""
    own = confusion.loc[confusion["cell"] == cell]
    table = own.pivot_table(index="target", columns="prediction", values="count", aggfunc="sum")
    return table.reindex(index=list(classes), columns=list(classes)).fillna(0).astype("int64")


def shares_of(counts: pd.DataFrame) -> pd.DataFrame:
    """Each row divided by its sum; rows of classes without an example are NaN."""
    return counts.div(counts.sum(axis=1).replace(0, np.nan), axis=0)


def most_confused(confusion: pd.DataFrame, classes: Sequence[str]) -> list[str]:
    """At most MAXIMUM_CLASSES, those with the most errors as true or predicted class, in the order of `classes`."""
    wrong = confusion.loc[confusion["target"] != confusion["prediction"]]
    errors = wrong.groupby("target")["count"].sum().add(wrong.groupby("prediction")["count"].sum(), fill_value=0)
    by_errors = sorted(classes, key=lambda name: -float(errors.get(name, 0)))
    kept = set(by_errors[:MAXIMUM_CLASSES])
    return [name for name in classes if name in kept]


def confusion_figures(
    records: Records, tables: Mapping[str, pd.DataFrame], featured: Mapping[str, str]
) -> list[Figure]:
    """The matrices of `featured` cells and the changes that `differences` names; none with fewer than two classes."""
    confusion = tables.get("confusion", pd.DataFrame())
    if confusion.empty:
        return []
    pairs = differences(records, tables)
    drawn = {cell for pair in pairs.values() for cell in pair} | set(featured)
    confusion = confusion.loc[confusion["cell"].isin(drawn)]
    every = records.in_class_order([*confusion["target"], *confusion["prediction"]])
    if len(every) < 2:
        return []
    classes = most_confused(confusion, every)
    left = len(every) - len(classes)
    more = f" The {len(classes)} classes with the most errors; {left} more are in confusion.csv." if left else ""
    present = set(confusion["cell"])
    own = {title: counts_of(confusion, cell, every) for cell, title in featured.items() if cell in present}
    changes = {
        title: shares_of(counts_of(confusion, level, every)) - shares_of(counts_of(confusion, baseline, every))
        for title, (baseline, level) in pairs.items()
        if {baseline, level} <= present
    }
    figures = [_matrices(own, classes, more)] if own else []
    return figures + ([_changes(changes, classes, more)] if changes else [])


def differences(records: Records, tables: Mapping[str, pd.DataFrame]) -> dict[str, tuple[str, str]]:
    """(baseline cell, cell) by title: the best cell against the baseline, then up to CLEAR_ROWS comparisons with a
    clear verdict; for a ladder or a path, those with the previous cell. Each pair once. Titles name the baseline if
    the study has several."""
    baseline, best = records.baseline_cell, best_cell(records, tables["ranking"])
    comparisons, step = records.comparisons, is_step(records)
    found: dict[tuple[str, str], str] = {}
    if baseline is not None and best is not None and best != baseline:
        found[baseline, best] = ""
    verdicts = [row["verdict"] for row in rows_of(tables["ablation"])] if "ablation" in tables else []
    clear = 0
    for comparison, verdict in zip(comparisons, verdicts, strict=False):
        pair = (records.resolve(comparison["baseline_cell"]), records.resolve(comparison["cell"]))
        if verdict in (BETTER, WORSE) and step(comparison) and pair[0] != pair[1] and clear < CLEAR_ROWS:
            clear += 1
            found.setdefault(pair, verdict)
    called = labels(cell for pair in found for cell in reversed(pair))
    titles = {}
    for pair, verdict in found.items():
        against = f" against {called[pair[0]]}" if records.compares_cells or pair[0] != baseline else ""
        titles[pair] = called[pair[1]] + (f"{against}, {verdict}" if verdict else f" ({best_word(records)}){against}")
    return {title: pair for pair, title in unique(titles).items()}


def _matrices(matrices: Mapping[str, pd.DataFrame], classes: Sequence[str], more: str) -> Figure:
    panels = []
    for title, counts in matrices.items():
        rows = _long(counts, shares_of(counts), classes)
        rows = rows.loc[rows["count"] > 0]
        scale = alt.Scale(domain=[0, 1], range=[f"rgba({BLUE},0)", f"rgba({BLUE},1)"])
        colour = alt.Color(
            "share:Q", title="share of the true class", scale=scale, legend=alt.Legend(format="%", values=[0, 0.5, 1])
        )
        panels.append(_panel(rows, classes, colour, title, "count", "datum.share > 0.55"))
    caption = (
        "Rows are true classes, columns what they were taken for; the colour is the share of the row, over all seeds."
        + (" Numbers are test examples, summed over seeds." if len(classes) <= COUNTED_CLASSES else "")
        + more
    )
    return Figure("confusion", "pictures", "Confusion matrix", caption, _side_by_side(panels))


def _changes(changes: Mapping[str, pd.DataFrame], classes: Sequence[str], more: str) -> Figure:
    parts = {title: _long(change, change, classes).dropna(subset="share") for title, change in changes.items()}
    parts = {title: rows.loc[rows["share"].abs() >= SMALLEST_CHANGE] for title, rows in parts.items()}
    largest = max([0.01, *(float(rows["share"].abs().max()) for rows in parts.values() if len(rows))])
    tiny = largest * 1e-6
    scale = alt.Scale(
        domain=[-largest, -tiny, tiny, largest],
        range=[f"rgba({ORANGE},1)", f"rgba({ORANGE},0)", f"rgba({BLUE},0)", f"rgba({BLUE},1)"],
    )
    digits = ".0%" if largest >= 0.05 else ".1%"
    words = f"datum.value == 0 ? '0' : format(datum.value, '+{digits}')"
    legend = alt.Legend(labelExpr=words, values=[-largest, 0, largest])
    colour = alt.Color("share:Q", title="change of the row's share", scale=scale, legend=legend)
    drawn = 0
    panels: list[Any] = []
    for title, rows in parts.items():
        drawn += len(rows)
        if panels and drawn > MAXIMUM_MARKS:
            break
        points = rows.drop(columns="count")
        if len(classes) <= COUNTED_CLASSES:
            points["points"] = [f"{100 * value:+.0f}".replace("-", "−") for value in rows["share"]]
        panels.append(_panel(points, classes, colour, title, "points", f"abs(datum.share) > {0.55 * largest:.6g}"))
    caption = (
        "Difference of the confusion matrices, level − baseline, each row in shares of its true class. Blue is more, "
        "orange less: blue on the diagonal and orange beside it is an improvement."
        + (" Numbers are percentage points." if len(classes) <= COUNTED_CLASSES else "")
        + (f" {len(parts) - len(panels)} more are left out." if len(panels) < len(parts) else "")
        + more
    )
    title = "What is taken for what: change against the baseline"
    return Figure("confusion_change", "why", title, caption, _side_by_side(panels))


def _long(counts: pd.DataFrame, shares: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """One row per pair of classes: true, predicted, count, share."""
    names = list(classes)
    n = len(names)
    return pd.DataFrame(
        {
            "true": np.repeat(names, n),
            "predicted": np.tile(names, n),
            "count": counts.loc[names, names].to_numpy().ravel(),
            "share": shares.loc[names, names].to_numpy("float64").ravel(),
        }
    )


def _panel(rows: pd.DataFrame, classes: Sequence[str], colour: alt.Color, title: str, text: str, dark: str) -> Any:
    """One matrix; `text`: the column written into its fields, in white where the expression `dark` is true."""
    n = len(classes)
    step = max(SMALLEST_CELL, min(LARGEST_CELL, PANEL / n))
    size = max(7, min(11, step - 1))
    quiet: dict[str, Any] = {"ticks": False, "domain": False, "grid": False, "labelLimit": 90, "labelOverlap": True}
    angle = 0 if max(map(len, classes)) * n <= 3 * COUNTED_CLASSES else -40 if n <= COUNTED_CLASSES else -90
    across = alt.Axis(labelFontSize=size, labelAngle=angle, titleAnchor="middle", **quiet)
    down = alt.Axis(labelFontSize=size, **quiet)
    order = alt.Scale(domain=list(classes))
    counted = text == "count"
    tips = ["true:N", "predicted:N", *(["count:Q"] if counted else [])]
    base = alt.Chart(inline(rows)).encode(
        x=alt.X("predicted:N", title="predicted class", sort=None, scale=order, axis=across),
        y=alt.Y("true:N", title="true class", sort=None, scale=order, axis=down),
        tooltip=[*map(alt.Tooltip, tips), alt.Tooltip("share:Q", format=".1%" if counted else "+.1%")],
    )
    layers: list[alt.Chart] = [base.mark_rect().encode(color=colour)]
    if n <= COUNTED_CLASSES:
        ink = alt.when(dark).then(alt.value("white")).otherwise(alt.value(INK))
        layers.append(base.mark_text(fontSize=size).encode(text=alt.Text(f"{text}:N"), color=ink))
    frame = alt.ViewBackground(stroke=NEUTRAL, strokeOpacity=0.5)
    return alt.layer(*layers).properties(width=step * n, height=step * n, title=wrap(title, TITLE), view=frame)


def _side_by_side(panels: Sequence[Any]) -> alt.ConcatChart:
    return alt.concat(*panels, columns=2)
