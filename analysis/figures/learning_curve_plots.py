"""Figures of learning curves by cell, with a band over seeds."""

import math
from collections.abc import Collection, Sequence

import altair as alt
import pandas as pd

from analysis.figures.theme import (
    MAXIMUM_MARKS,
    Figure,
    colour_by_cell,
    inline,
    legend_selection,
    opaque_if,
    spans_decades,
    whole_ticks,
)
from analysis.records.run_records import Records
from analysis.records.schema import CONFIG_PREFIX
from analysis.statistics.hypothesis_tests import MINIMUM_PAIRS
from analysis.tables.formatting import SPLIT_TITLES, capitalised, has_width
from analysis.tables.learning_curves import epochs_of_cells
from core.metrics import counterpart, metric_label
from core.splits import SPLITS

MAXIMUM_CURVES = 12
MAXIMUM_TIPS = 30  # points of one curve with a tooltip
PANEL, ALONE, HEIGHT = 250, 560, 230  # pixels: width of one panel of several, of one by itself, height
BAND, DIM = 0.16, 0.1  # opacity of a band, and of a curve that is not picked


def curve_figures(records: Records, curves: pd.DataFrame, cells: Sequence[str]) -> list[Figure]:
    """One figure per recorded metric, one panel per split; of `cells`, best first, MAXIMUM_CURVES are drawn.

    The primary metric comes first, then accuracy, loss, the reference loss if it differs from the trained one, and the
    metrics that the study asked for.
    """
    drawable = set(curves["cell"].unique())
    shown = [cell for cell in cells if cell in drawable][:MAXIMUM_CURVES]
    left = len(drawable) - len(shown)
    beyond = len(set(records.trials.loc[records.trials["epochs"] > 0, "cell"]) - drawable)
    curves = curves.loc[curves["cell"].isin(shown)]
    figures = []
    for measure in _measures(records, curves):
        metrics = [f"{split}_{measure}" for split in SPLITS]
        rows = curves.loc[curves["metric"].isin(metrics)]
        if len(rows):
            figures.append(_figure(measure, rows, shown, left, beyond, _evaluated_once(records)))
    rates = _rate_figure(records, shown)
    return [*figures, rates] if rates else figures


def _measures(records: Records, curves: pd.DataFrame) -> list[str]:
    primary = counterpart(records.metric, "test").removeprefix("test_")
    asked = [str(metric["name"]) for metric in records.study.get("metrics", [])]
    measures = list(dict.fromkeys([primary, "accuracy", "loss", "reference", *asked]))
    by_metric = curves.set_index(["cell", "epoch"])
    loss, reference = (by_metric.loc[by_metric["metric"] == f"val_{name}", "mean"] for name in ("loss", "reference"))
    same = len(loss) == len(reference) and bool((loss - reference).abs().max() <= 1e-6 * reference.abs().max())
    return [name for name in measures if not (same and name == "reference" and name != primary)]


def _evaluated_once(records: Records) -> set[str]:
    """Cells of whose trials some have test metrics at their selected epoch alone, so that no two means are of the same
    trials."""
    when = records.trials.get(f"{CONFIG_PREFIX}training.evaluate_test")
    return set() if when is None else set(records.trials.loc[when == "selected", "cell"])


def _figure(
    measure: str, rows: pd.DataFrame, cells: Sequence[str], left: int, beyond: int, once: Collection[str]
) -> Figure:
    label = metric_label(measure)
    splits = [split for split in SPLITS if f"{split}_{measure}" in set(rows["metric"])]
    table, step = _thinned(rows)
    domain = _domain(table)
    scale = alt.Scale(domain=domain, nice=False, type="log" if spans_decades(table["mean"]) else "linear")
    # A logarithmic scale cannot show an interval that reaches below zero; bands are clipped at the edge in any case.
    table = table.assign(low=table["ci_low"].clip(lower=domain[0]))
    panels = [
        _panel(
            table.loc[table["metric"] == f"{split}_{measure}"], cells, label, scale, once if split == "test" else ()
        ).properties(title=SPLIT_TITLES[split], width=PANEL if len(splits) > 1 else ALONE, height=HEIGHT)
        for split in splits
    ]
    caption = f"Mean over seeds by epoch, with its 95 % interval from {MINIMUM_PAIRS} seeds on."
    if measure == "loss":
        caption += " Where a factor changes the loss, the curves of its levels are not comparable."
    if "test" in splits and once:
        caption += " Of the test split, points: it was evaluated at the selected epochs alone."
    panels[0] = panels[0].add_params(legend_selection())
    chart = alt.concat(*panels, columns=len(panels))
    return Figure(f"curves_{measure}", "curves", capitalised(label), caption + _what_is_left(step, left, beyond), chart)


def _panel(
    table: pd.DataFrame, cells: Sequence[str], label: str, scale: alt.Scale, apart: Collection[str]
) -> alt.LayerChart | alt.FacetChart:
    """Lines and bands of one metric, with invisible points for tooltips; a curve of one epoch is a visible point, and
    the epochs of the cells `apart` are points without a line."""
    place = table.groupby("cell", sort=False).cumcount()
    size = table["cell"].map(table["cell"].value_counts())
    every = (size / MAXIMUM_TIPS).map(math.ceil)
    # The interval of two seeds reaches thirteen standard errors to either side and would flatten every curve.
    drawn = (table["n"] >= MINIMUM_PAIRS) & has_width(table["ci_low"], table["ci_high"])
    rows = table[["cell", "epoch", "n", "mean"]].assign(
        low=table["low"].where(drawn),
        ci_low=table["ci_low"].where(drawn),
        ci_high=table["ci_high"].where(drawn),
        tip=(place % every == 0) | (place == size - 1) | table["cell"].isin(apart),
        alone=(size == 1) | table["cell"].isin(apart),
    )
    pick, y = legend_selection(), alt.Y("mean:Q", title=label, scale=scale, axis=alt.Axis(tickCount=5))
    base = alt.Chart().encode(x=_epochs(table["epoch"]), color=colour_by_cell(cells))
    joined = base.transform_filter("!datum.alone") if apart else base
    band = joined.mark_area(clip=True, aria=False).encode(
        y=alt.Y("low:Q", title=label, scale=scale), y2=alt.Y2("ci_high:Q"), opacity=opaque_if(pick, BAND, BAND * DIM)
    )
    line = joined.mark_line(strokeWidth=1.6, clip=True, aria=False).encode(y=y, opacity=opaque_if(pick, 1, DIM))
    dots = (
        base.transform_filter("datum.tip")
        .mark_circle(size=70, aria=False)
        .encode(
            y=y,
            opacity=opaque_if("datum.alone", 1, 0),
            tooltip=[
                *map(alt.Tooltip, ("cell:N", "epoch:Q", "n:Q")),
                alt.Tooltip("mean:Q", format=".4g"),
                *(alt.Tooltip(f"ci_{end}:Q", format=".4g", title=f"95 % {end}") for end in ("low", "high")),
            ],
        )
    )
    return alt.layer(band, line, dots, data=inline(rows))


def _epochs(epochs: pd.Series) -> alt.X:
    return alt.X("epoch:Q", axis=alt.Axis(**whole_ticks(epochs)), scale=alt.Scale(zero=False, nice=False))


def _thinned(rows: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """(every `step`-th epoch and the last one, `step`), to keep the figure within MAXIMUM_MARKS."""
    step = math.ceil(len(rows) / MAXIMUM_MARKS)
    last = rows.groupby(["cell", "metric"])["epoch"].transform("max")
    return rows.loc[((rows["epoch"] - 1) % step == 0) | (rows["epoch"] == last)], step


def _domain(table: pd.DataFrame) -> list[float]:
    """Ends of the y axis: all means, and bands up to half the span of the means beyond them."""
    banded = table.loc[table["n"] >= MINIMUM_PAIRS]
    low, high = float(table["mean"].min()), float(table["mean"].max())
    if spans_decades(table["mean"]):
        return [low / 1.15, high * 1.15]
    room = (high - low) / 2 or abs(high) / 10 or 0.1
    bottom = min(low - room / 10, max(low - room, float(banded["ci_low"].min()))) if len(banded) else low - room / 10
    top = max(high + room / 10, min(high + room, float(banded["ci_high"].max()))) if len(banded) else high + room / 10
    return [bottom, top]


def _rate_figure(records: Records, cells: Sequence[str]) -> Figure | None:
    """The learning rate of each cell; cells with equal rates in every epoch share a line, named after the first."""
    rows = epochs_of_cells(records, cells).dropna(subset="lr")
    if rows.empty:
        return None
    table = rows.groupby(["cell", "epoch"])["lr"].agg(["count", "mean", "min", "max"]).reset_index()
    table = _named_once(table, cells)
    names = list(dict.fromkeys(table["cell"]))
    table, step = _thinned(table.assign(metric="lr"))
    pick, spread = legend_selection(), bool((table["max"] > table["min"]).any())
    scale = alt.Scale(type="log") if spans_decades(table["mean"]) else alt.Scale(zero=True)
    y = alt.Y("mean:Q", title="learning rate", axis=alt.Axis(format="~g", tickCount=5), scale=scale)
    base = alt.Chart(inline(table.drop(columns="metric"))).encode(
        x=_epochs(table["epoch"]), color=colour_by_cell(names)
    )
    line = base.mark_line(strokeWidth=1.6, point=alt.OverlayMarkDef(size=24)).encode(
        y=y,
        opacity=opaque_if(pick, 1, DIM),
        tooltip=[
            alt.Tooltip("cell:N"),
            alt.Tooltip("epoch:Q"),
            alt.Tooltip("count:Q", title="n"),
            alt.Tooltip("mean:Q", format=".4g"),
        ],
    )
    layers = [line]
    if spread:
        band = base.mark_area(aria=False).encode(
            y=alt.Y("min:Q", title="learning rate", scale=scale),
            y2=alt.Y2("max:Q"),
            opacity=opaque_if(pick, BAND, BAND * DIM),
        )
        layers.insert(0, band)
    caption = "Mean over seeds by epoch" + (", with the range over seeds." if spread else "; all seeds agree.")
    chart = alt.layer(*layers).add_params(pick).properties(width=ALONE, height=HEIGHT)
    return Figure("curves_lr", "curves", "Learning rate", caption + _what_is_left(step), chart)


def _named_once(table: pd.DataFrame, cells: Sequence[str]) -> pd.DataFrame:
    """Merges cells of equal rates into one, in the order of `cells`."""
    alike: dict[tuple[tuple[float, ...], ...], list[str]] = {}
    by_cell = dict(iter(table.groupby("cell")))
    for cell in (cell for cell in cells if cell in by_cell):
        trace = tuple(by_cell[cell][["epoch", "min", "mean", "max"]].itertuples(index=False, name=None))
        alike.setdefault(trace, []).append(cell)
    if len(alike) == 1 and len(by_cell) > 1:
        only = next(iter(alike.values()))[0]
        return by_cell[only].assign(cell=f"all {len(by_cell)} cells")
    parts = []
    for first, *others in alike.values():
        parts.append(by_cell[first].assign(cell=first + (f" and {len(others)} more" if others else "")))
    return pd.concat(parts, ignore_index=True)


def _what_is_left(step: int, left: int = 0, beyond: int = 0) -> str:
    """Sentences on what a figure leaves out: `left` cells of the table, and `beyond` cells that it lacks too."""
    said = f" Every {step} epochs." if step > 1 else ""
    if left:
        said += f" The best {MAXIMUM_CURVES} cells; {left} more are in curves.csv, "
        said += f"{beyond} only in epochs.parquet." if beyond else "all in epochs.parquet."
    return said
