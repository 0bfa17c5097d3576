"""Figure of whether test agrees with validation, by which a search chose its best."""

import altair as alt
import pandas as pd

from analysis.figures.search.axes import axis_title, focus, share_drawn, tips
from analysis.figures.theme import COLOURS, INK, NEUTRAL, Figure, inline
from analysis.records.run_records import Records
from analysis.records.schema import FINISHED
from analysis.records.search_space import evenly
from analysis.tables.search.results import TOP
from core.metrics import counterpart, maximised

MAXIMUM_POINTS = 2000


def optimism_figure(records: Records) -> Figure | None:
    """Validation against test by configuration; None if fewer than two have both metrics."""
    metric = records.ranked_metric
    table = _tested(records, metric)
    if len(table) < 2:
        return None
    limits = [focus(table[name], metric) for name in ("value", "test")]
    low, high = min(limit[0] for limit in limits), max(limit[1] for limit in limits)
    best, rest = f"best {TOP} in validation", "others"
    table["is"] = [best if place < TOP else rest for place in range(len(table))]
    drawn = pd.concat([table.head(TOP), evenly(table.iloc[TOP:], MAXIMUM_POINTS, maximised(metric))])
    shown = drawn.assign(value=drawn["value"].clip(low, high), test=drawn["test"].clip(low, high))
    scale = alt.Scale(domain=[low, high], nice=False, zero=False)
    points = (
        alt.Chart(inline(shown))
        .mark_circle(size=55, opacity=0.8)
        .encode(
            x=alt.X("value:Q", title=axis_title(metric), scale=scale),
            y=alt.Y("test:Q", title=axis_title(counterpart(metric, "test")), scale=scale),
            color=alt.Color("is:N", title=None).scale(domain=[best, rest], range=[COLOURS[1], NEUTRAL]),
            tooltip=tips("cell", value="validation", test="test"),
        )
    )
    corners = alt.InlineData(values=[{"at": low}, {"at": high}])
    diagonal = (
        alt.Chart(corners)
        .mark_line(color=INK, strokeDash=[4, 4], strokeWidth=1)
        .encode(x=alt.X("at:Q", scale=scale), y=alt.Y("at:Q", scale=scale))
    )
    chart = alt.layer(diagonal, points).properties(width=360, height=360)
    side = "below" if maximised(metric) else "above"
    caption = (
        f"A point a configuration, means over seeds; on the dashed line both agree, {side} it validation was kinder."
        f"{_beyond(table, low, high)}{share_drawn(len(drawn), len(table), 'configurations')}"
    )
    return Figure("optimism", "search", "Validation chose; does test agree?", caption, chart)


def _tested(records: Records, metric: str) -> pd.DataFrame:
    """`cell`, `value`, `test` by configuration, means over finished seeds, best in validation first."""
    test = counterpart(metric, "test")
    if test == metric or test not in records.trials or metric not in records.trials:
        return pd.DataFrame()
    finished = records.trials.loc[
        (records.trials["status"] == FINISHED) & ~records.trials["cell"].isin(records.seen_validation)
    ]
    by_cell = finished[["cell", metric, test]].groupby("cell", sort=False).mean().dropna().reset_index()
    by_cell = by_cell.rename(columns={metric: "value", test: "test"})
    return by_cell.sort_values("value", ascending=not maximised(metric), kind="stable").reset_index(drop=True)


def _beyond(table: pd.DataFrame, low: float, high: float) -> str:
    outside = int(((table[["value", "test"]] < low) | (table[["value", "test"]] > high)).any(axis=1).sum())
    return f" {outside} beyond the axes {'stands' if outside == 1 else 'stand'} at their edge." if outside else ""
