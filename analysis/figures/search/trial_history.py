"""Figures of a search's course: its trials in the order of their ends, and where the trial scheduler stopped them.

So that a bad outlier does not compress the axis, axes of the metric end at a box plot's whisker, and values beyond it
are drawn at the edge.
"""

from collections.abc import Mapping
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from analysis.figures.search.axes import axis_title, focus, share_drawn, tips
from analysis.figures.theme import COLOURS, INK, MAXIMUM_MARKS, NEUTRAL, WIDTH, Figure, inline, whole_ticks
from analysis.records.columns import evenly_spaced, metric_values
from analysis.records.run_records import Records
from analysis.records.schema import DIVERGED, FAILED, FINISHED, STOPPED
from analysis.tables.formatting import number
from core.metrics import maximised

MAXIMUM_TRIALS = 2000  # points of the history figure
MAXIMUM_TRACES = 200
NAMED_RUNGS = 6
STATUS_COLOURS = {FINISHED: COLOURS[0], STOPPED: COLOURS[5], DIVERGED: COLOURS[1], FAILED: NEUTRAL}
STATUS_SHAPES = {FINISHED: "circle", STOPPED: "triangle-down", DIVERGED: "cross", FAILED: "square"}


def history_figure(records: Records) -> Figure | None:
    """Every ended trial, in the order of the ends, and the best so far; None before the first has finished."""
    metric = records.ranked_metric
    ended = _ended(records, metric)
    known = ended.loc[ended["status"] == FINISHED, "value"].dropna()
    if known.empty:
        return None
    low, high = focus(ended["value"].dropna(), metric)
    worst = low if maximised(metric) else high
    ended["drawn"] = ended["value"].fillna(worst).clip(low, high)
    ended["figure"] = [number(value) or "none" for value in ended["value"]]
    points = ended.iloc[evenly_spaced(len(ended), MAXIMUM_TRIALS)]
    statuses = [status for status in STATUS_COLOURS if (ended["status"] == status).any()]
    y = alt.Y("drawn:Q", title=axis_title(metric)).scale(domain=[low, high], nice=False, zero=False, clamp=True)
    x = (
        alt.X("order:Q", title="trials in the order of their ends")
        .axis(**whole_ticks(ended["order"]))
        .scale(nice=False)
    )
    marks = (
        alt.Chart(inline(points.drop(columns="value")))
        .mark_point(filled=True, size=45, opacity=0.75)
        .encode(
            x=x.scale(domain=[0, len(ended) + 1], nice=False),
            y=y,
            color=_by_status(alt.Color, statuses, STATUS_COLOURS),
            shape=_by_status(alt.Shape, statuses, STATUS_SHAPES),
            tooltip=tips("trial", "cell", "seed", "status", "epochs", figure=metric),
        )
    )
    steps = alt.Chart(inline(_best_so_far(ended, metric).assign(drawn=lambda rows: rows["best"].clip(low, high))))
    line = steps.mark_line(interpolate="step-after", strokeWidth=2, color=INK).encode(x=x, y=y)
    chart = alt.layer(line, marks).properties(width=WIDTH, height=280)
    return Figure("history", "search", "How the search went", _history_caption(ended, low, high, len(points)), chart)


def _ended(records: Records, metric: str) -> pd.DataFrame:
    trials = records.trials.loc[records.trials["status"].isin(list(STATUS_COLOURS))]
    trials = trials.sort_values("ended_at", kind="stable")
    table = trials[["trial", "cell", "seed", "status", "epochs"]].assign(order=range(1, len(trials) + 1))
    return table.assign(value=metric_values(trials, metric)).reset_index(drop=True)


def _best_so_far(ended: pd.DataFrame, metric: str) -> pd.DataFrame:
    """`order` and `best` of each trial that became the best finished one, and of the last trial."""
    finished = ended.loc[(ended["status"] == FINISHED) & ended["value"].notna()]
    best = finished["value"].cummax() if maximised(metric) else finished["value"].cummin()
    table = pd.DataFrame({"order": finished["order"], "best": best})
    table = table.loc[table["best"] != table["best"].shift()]
    last = pd.DataFrame({"order": [int(ended["order"].max())], "best": [best.iloc[-1]]})
    return pd.concat([table, last], ignore_index=True)


def _history_caption(ended: pd.DataFrame, low: float, high: float, shown: int) -> str:
    text = "The line is the best finished trial so far."
    beyond = int(((ended["value"] < low) | (ended["value"] > high)).sum())
    if beyond:
        text += f" {beyond} {'trial lies' if beyond == 1 else 'trials lie'} beyond the axis, at its edge."
    lost = int(ended["value"].isna().sum())
    if lost:
        text += (
            f" {lost} without a value, such as diverged ones, {'stands' if lost == 1 else 'stand'} at the worse edge."
        )
    if (ended["status"] == STOPPED).any():
        text += " Of a stopped trial it is the value at the epochs that it reached."
    return text + share_drawn(shown, len(ended), "trials")


def _by_status(channel: Any, statuses: list[str], values: Mapping[str, str]) -> Any:
    return channel("status:N", title=None).scale(domain=statuses, range=[values[status] for status in statuses])


def traces_figure(records: Records, rungs: pd.DataFrame) -> Figure | None:
    """The metric by epoch of at most MAXIMUM_TRACES trials, and the rungs at which some were stopped; None if empty."""
    metric = records.ranked_metric
    rows = _traces(records, metric, list(rungs["epoch"]))
    if rows.empty:
        return None
    low, high = focus(rows["value"], metric)
    rows["value"] = rows["value"].clip(low, high)
    statuses = [status for status in STATUS_COLOURS if (rows["status"] == status).any()]
    y = alt.Y("value:Q", title=axis_title(metric)).scale(domain=[low, high], nice=False, zero=False)
    ticks = whole_ticks(pd.concat([rows["epoch"], rungs["epoch"]]))
    x = alt.X("epoch:Q", title="epoch").axis(**ticks).scale(nice=False, zero=False)
    shown_by = tips("cell", "seed", "status")
    colour = _by_status(alt.Color, statuses, STATUS_COLOURS)
    lines = (
        alt.Chart(inline(rows))
        .mark_line(strokeWidth=1, opacity=0.55)
        .encode(x=x, y=y, detail="trial:N", tooltip=shown_by)
    )
    ends = rows.loc[(rows["status"] != FINISHED) & rows["last"]]
    stops = (
        alt.Chart(inline(ends))
        .mark_point(filled=True, size=40)
        .encode(x=x, y=y, shape=_by_status(alt.Shape, statuses, STATUS_SHAPES), color=colour, tooltip=shown_by)
    )
    cuts = rungs.loc[rungs["stopped"] > 0]
    named = cuts if len(cuts) <= NAMED_RUNGS else cuts.iloc[:0]
    marks = alt.Chart(inline(cuts)).mark_rule(color=NEUTRAL, strokeDash=[3, 3]).encode(x=x)
    words = pd.DataFrame(
        {"epoch": named["epoch"], "words": [f"{row.stopped} of {row.reached} stopped" for row in named.itertuples()]}
    )
    texts = (
        alt.Chart(inline(words))
        .mark_text(align="left", dx=4, dy=-6, color=INK)
        .encode(x=x, y=alt.value(0), text="words:N")
    )
    chart = alt.layer(marks, lines.encode(color=colour), stops, texts).properties(width=WIDTH, height=280)
    shown = rows["trial"].nunique()
    caption = "A line a trial; where the trial scheduler stopped it, it ends in a mark. Dashed lines are the rungs; "
    caption += "what lies beyond the axis is drawn at its edge."
    caption += share_drawn(shown, int((records.trials["epochs"] > 0).sum()), "trials")
    return Figure("traces", "search", "Where trials were stopped", caption, chart)


def _traces(records: Records, metric: str, rungs: list[int]) -> pd.DataFrame:
    """Rows `trial, cell, seed, status, epoch, value, last` of evenly spaced trials; long ones lack some epochs."""
    trials = records.trials.loc[records.trials["status"].isin(list(STATUS_COLOURS)) & (records.trials["epochs"] > 0)]
    if metric not in records.epochs:
        return pd.DataFrame()
    chosen = trials.iloc[evenly_spaced(len(trials), MAXIMUM_TRACES)][["trial", "cell", "seed", "status", "epochs"]]
    rows = records.epochs[["trial", "epoch", metric]].merge(chosen, on="trial").rename(columns={metric: "value"})
    rows = rows.dropna(subset="value")
    rows["last"] = rows["epoch"] == rows.groupby("trial")["epoch"].transform("max")
    epochs = np.sort(rows["epoch"].unique())
    # Each trial has two more marks, its last epoch and the mark there, and each rung one, a dashed line.
    room = max(4, (MAXIMUM_MARKS - len(rungs)) // max(1, len(chosen)) - 2)
    shown = [rungs[place] for place in evenly_spaced(len(rungs), room // 2)]
    kept = epochs[evenly_spaced(len(epochs), room - len(shown))]
    return rows.loc[rows["epoch"].isin([*kept, *shown]) | rows["last"]].reset_index(drop=True)
