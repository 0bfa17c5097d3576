"""Learning curves with their band over seeds, the forest plot of an ablation and the Pareto front of a search, as SVG
for light and dark pages.

Ink is `currentColor`, so a figure takes the text colour of the page that holds it and is black on its own.
"""

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from analysis.ablation import BETTER, UNSTABLE, WORSE
from analysis.schema import DIVERGED, FAILED, SPLITS, counterpart, maximised
from analysis.statistics import MINIMUM_PAIRS, half_width
from analysis.store import Records, metric_columns
from analysis.tables import metric_label, rows_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CURVE_COLUMNS = ("cell", "epoch", "metric", "n", "mean", "std", "ci_low", "ci_high")
CURVE_WORDS = {"loss", "accuracy", "reference"}
MAXIMUM_CURVES = 12
MAXIMUM_COMPARISONS = 80
INK = "#010203"
# Okabe and Ito's palette without black and yellow, which vanish on one of the two backgrounds, and dark and light kin.
COLOURS = (
    *("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00"),
    *("#7570b3", "#a6761d", "#e7298a", "#66a61e", "#8c564b", "#7f7f7f"),
)
VERDICT_COLOURS = {BETTER: "#1a9850", WORSE: "#d73027", UNSTABLE: "#e08214"}
NEUTRAL = "#808890"


def curve_metrics(records: Records) -> list[str]:
    """Loss, accuracy and reference columns of the epochs, and the primary metric on every split."""
    primary = {counterpart(str(records.study["metric"]), split) for split in ("train", "val", "test")}
    columns = metric_columns(records.epochs)
    return [name for name in columns if name in primary or CURVE_WORDS & set(name.split("_"))]


def curves_table(records: Records, cells: Sequence[str]) -> pd.DataFrame:
    """Mean, standard deviation and 95 % interval over seeds, by cell, metric and epoch, without broken trials."""
    metrics = curve_metrics(records)
    trials = records.trials
    kept = trials.loc[~trials["status"].isin([DIVERGED, FAILED]) & trials["cell"].isin(list(cells))]
    rows = records.epochs.merge(kept[["trial", "cell"]], on="trial")
    if rows.empty or not metrics:
        return pd.DataFrame(columns=list(CURVE_COLUMNS))
    long = rows.melt(["cell", "epoch"], metrics, var_name="metric", value_name="value").dropna(subset="value")
    table = long.groupby(["cell", "metric", "epoch"])["value"].agg(["count", "mean", "std"]).reset_index()
    table = table.rename(columns={"count": "n"})
    half = half_width(table["std"], table["n"])
    table["ci_low"], table["ci_high"] = table["mean"] - half, table["mean"] + half
    place = {name: index for index, name in enumerate(cells)}
    order = pd.DataFrame(
        {"cell": table["cell"].map(place), "metric": table["metric"].map(metrics.index), "epoch": table["epoch"]}
    ).sort_values(["cell", "metric", "epoch"])
    return table.loc[order.index, list(CURVE_COLUMNS)].reset_index(drop=True)


def curve_panels(records: Records) -> list[str]:
    """What the curves figure shows: the validation reference, and the primary metric by epoch."""
    metric = str(records.study["metric"])
    wanted = ["val_reference", counterpart(metric, "val") if records.is_search else metric]
    return [name for name in dict.fromkeys(wanted) if name in metric_columns(records.epochs)]


def curves_svg(curves: pd.DataFrame, cells: Sequence[str], metrics: Sequence[str]) -> str:
    """One panel a metric; a line and a 95 % band a cell, at most `MAXIMUM_CURVES` of `cells`, which come best first."""
    drawable = set(curves["cell"].unique())
    shown = [cell for cell in cells if cell in drawable][:MAXIMUM_CURVES]
    figure = _figure(5.6 * max(1, len(metrics)), 3.5 + 0.19 * ((len(shown) + 1) // 2))
    for axes, metric in zip(np.atleast_1d(figure.subplots(1, len(metrics))), metrics, strict=True):
        _curves(axes, curves.loc[curves["metric"] == metric], shown)
        axes.set_title(f"{metric_label(metric)} ({metric.partition('_')[0]})", loc="left", fontsize=10, color=INK)
        axes.set_xlabel("epoch")
        _bare(axes)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower left", ncols=2, frameon=False, fontsize=9)
    return _svg(figure)


def _curves(axes: "Axes", rows: pd.DataFrame, cells: Sequence[str]) -> None:
    for cell, colour in zip(cells, COLOURS, strict=False):
        line = rows.loc[rows["cell"] == cell]
        marker = "o" if len(line) == 1 else None
        axes.plot(line["epoch"], line["mean"], color=colour, linewidth=1.5, marker=marker, label=_short(cell))
        # Two seeds' interval is thirteen standard errors wide on either side and would flatten every curve.
        band = line.loc[line["n"] >= MINIMUM_PAIRS]
        axes.fill_between(band["epoch"], band["ci_low"], band["ci_high"], color=colour, alpha=0.15, linewidth=0)
    means = rows.loc[rows["cell"].isin(list(cells)), "mean"]
    if len(means) and means.min() > 0 and means.max() > 10 * means.min():
        axes.set_yscale("log")
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def ablation_svg(table: pd.DataFrame) -> str:
    """Difference and 95 % interval of the first `MAXIMUM_COMPARISONS`, around a line at zero, coloured by verdict."""
    table = table.head(MAXIMUM_COMPARISONS)
    figure = _figure(6.4, 0.9 + 0.36 * max(1, len(table)))
    axes = figure.subplots()
    for place, row in enumerate(rows_of(table)):
        colour = VERDICT_COLOURS.get(row["verdict"], NEUTRAL)
        if pd.notna(row["ci_low"]):
            axes.plot([row["ci_low"], row["ci_high"]], [place, place], color=colour, linewidth=2.2)
        if pd.notna(row["delta"]):
            axes.plot(row["delta"], place, "o", color=colour, markersize=6)
    axes.axvline(0, color=INK, linewidth=0.8)
    labels = [comparison_label(row) for row in rows_of(table)]
    axes.set_yticks(range(len(labels)), [_short(label, 48).replace(", ", ",\n", 1) for label in labels])
    axes.set_ylim(max(0, len(labels) - 1) + 0.6, -0.6)
    if len(table):
        axes.set_xlabel(f"difference in {metric_label(str(table['metric'].iloc[0]))}")
    _bare(axes)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    return _svg(figure)


def pareto_svg(cells: pd.DataFrame, objectives: Sequence[str], front: Sequence[str]) -> str:
    """Every cell in the plane of the first two objectives, the front filled; of two objectives also its outline.

    With more than two a cell of the front may look dominated in this plane, so no line is drawn.
    """
    across, up = objectives[:2]
    figure = _figure(6.4, 4.0)
    axes = figure.subplots()
    ahead = cells["cell"].isin(list(front))
    rest, best = cells.loc[~ahead], cells.loc[ahead].sort_values([across, up], kind="stable")
    if len(objectives) == 2:
        # Between two points, the one that is better in `across` says what can be had in `up`.
        where: Literal["pre", "post"] = "pre" if maximised(across) else "post"
        axes.step(best[across], best[up], where=where, color=COLOURS[0], linewidth=1.2, alpha=0.6)
    axes.plot(rest[across], rest[up], "o", color=NEUTRAL, markersize=5, alpha=0.7, label="other cells")
    axes.plot(best[across], best[up], "o", color=COLOURS[0], markersize=7, label="not dominated")
    if len(best) <= MAXIMUM_CURVES:
        for row in rows_of(best):
            axes.annotate(
                _short(row["cell"], 20),
                (row[across], row[up]),
                xytext=(5, 5),
                textcoords="offset points",
                fontsize=8,
                color=INK,
            )
    for name, set_scale in ((across, axes.set_xscale), (up, axes.set_yscale)):
        if not maximised(name) and 0 < 10 * cells[name].min() < cells[name].max():
            set_scale("log")
    axes.set_xlabel(_objective_label(across))
    axes.set_ylabel(_objective_label(up))
    _bare(axes)
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower left", ncols=2, frameon=False, fontsize=9)
    return _svg(figure)


def _objective_label(metric: str) -> str:
    split = metric.partition("_")[0]
    where = f" ({split})" if split in SPLITS else ""
    return f"{metric_label(metric)}{where}, {'larger' if maximised(metric) else 'smaller'} is better"


def comparison_label(row: Mapping[str, Any]) -> str:
    """What a row compares: `loss = focal`, or in a ladder, where the baseline changes, `+ dropout against + BN`."""
    if row["factor"] == "ladder":
        return f"{row['level']} against {row['baseline_level']}"
    factors, levels = row["factor"].split(" + "), row["level"].split(" + ")
    if len(factors) != len(levels):
        return f"{row['factor']} = {row['level']}"
    return ", ".join(f"{factor} = {level}" for factor, level in zip(factors, levels, strict=True))


def _short(text: str, length: int = 40) -> str:
    """Cut to length, and with no `$`, which would start a formula."""
    text = text if len(text) <= length else f"{text[: length - 1]}…"
    return text.replace("$", "\\$")


def _figure(width: float, height: float) -> "Figure":
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _bare(axes: "Axes") -> None:
    """Two spines, ink that follows the page, a faint grid."""
    axes.spines[["top", "right"]].set_visible(False)
    for spine in axes.spines.values():
        spine.set_color(INK)
    axes.tick_params(colors=INK, labelsize=9)
    for text in (axes.xaxis.label, axes.yaxis.label):
        text.set_color(INK)
    axes.grid(color=NEUTRAL, alpha=0.2, linewidth=0.6)
    axes.set_axisbelow(True)


def _svg(figure: "Figure") -> str:
    """The figure as an `<svg>` element, the same for the same data."""
    from matplotlib import rc_context

    for legend in figure.legends:
        for label in legend.get_texts():
            label.set_color(INK)
    target = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "analysis"}):
        figure.savefig(target, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = target.getvalue()
    return text[text.index("<svg") :].replace(INK, "currentColor")
