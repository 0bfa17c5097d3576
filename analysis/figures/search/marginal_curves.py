"""The metric of a search along each of its settings, and over pairs of them, as predicted by a random forest."""

from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from analysis.figures.search.axes import axis_title, focus, setting_axis, share_drawn, tips
from analysis.figures.theme import COLOURS, MAXIMUM_MARKS, NEUTRAL, Figure, inline
from analysis.records.search_space import Observations, Setting, best_last, evenly
from analysis.statistics.random_forest import RandomForest
from analysis.tables.formatting import number
from analysis.tables.search.marginals import Plane, planes, text
from core.metrics import maximised

PANEL, HEIGHT = 262, 130  # pixels, two panels in a row
PAIR, PAIR_LABELS = 220, 70
IMPORTANT, PAIRS = 4, 3
BEST, OTHERS = "the best", "others"
RING = "#e4e8ec"
GOLDEN = 0.618  # step between points, as a share of their row's width, which spreads them evenly


def marginals_figure(forest: RandomForest, marginals: pd.DataFrame) -> Figure | None:
    """One panel per setting of marginals.csv: prediction, its spread over trees, the configurations as points."""
    if marginals.empty:
        return None
    observed = forest.observed
    by_key = {setting.key: setting for setting in observed.settings}
    curves = [(by_key[str(key)], curve) for key, curve in marginals.groupby("setting", sort=False)]
    points = evenly(observed.table, (MAXIMUM_MARKS // 2 - len(marginals)) // len(curves), maximised(observed.metric))
    limits = focus(observed.table["value"], observed.metric)
    panels = [_panel(setting, curve, points, limits, observed) for setting, curve in curves]
    beyond = int(((points["value"] < limits[0]) | (points["value"] > limits[1])).sum())
    edge = f" What lies beyond the axis, {beyond} of them, is drawn at its edge." if beyond else ""
    caption = (
        f"Line: {observed.label} that a random forest predicts for the better half of "
        "the configurations with this one setting changed; band: one standard deviation over its trees. Points: "
        f"configurations, the best{observed.then} in orange.{edge}"
        f"{share_drawn(len(points), len(observed.table), 'configurations')}"
    )
    title = f"{observed.label.capitalize()} along each setting"
    return Figure("marginals", "search", title, caption, alt.concat(*panels, columns=2, spacing=20))


def _panel(
    setting: Setting, curve: pd.DataFrame, points: pd.DataFrame, limits: tuple[float, float], observed: Observations
) -> Any:
    metric, title = observed.metric, axis_title(observed.metric, observed.after).partition(",")[0]
    x = setting_axis(alt.X, "x", setting, list(curve["value"]), PANEL)
    scale = alt.Scale(domain=list(limits), nice=False, zero=False, clamp=True)
    y = alt.Y("y:Q", title=title, scale=scale).axis(tickCount=4)
    low, mean = (alt.Y(f"{field}:Q", title=None, scale=scale) for field in ("low", "mean"))
    base = alt.Chart(inline(_drawn(setting, curve))).encode(x=x)
    shown = tips(x=setting.key, mean="predicted", n="n")
    best = alt.datum["is"] == BEST
    marks = (
        alt.Chart(inline(_dots(setting, points, metric)))
        .mark_circle()
        .encode(
            x=x,
            y=y,
            color=alt.Color("is:N", legend=None).scale(domain=[BEST, OTHERS], range=[COLOURS[1], NEUTRAL]),
            opacity=alt.condition(best, alt.value(1), alt.value(0.45)),
            size=alt.condition(best, alt.value(70), alt.value(22)),
            tooltip=tips("cell", value=metric, x=setting.key),
        )
    )
    if setting.choices:
        marks = marks.encode(xOffset=alt.XOffset("aside:Q").scale(domain=[-0.8, 0.8]))
        spread = base.mark_rule(strokeWidth=10, opacity=0.25, color=COLOURS[0]).encode(y=low, y2="high")
        line = base.mark_tick(thickness=3, size=26, color=COLOURS[0]).encode(y=mean, tooltip=shown)
    else:
        spread = base.mark_area(opacity=0.2, color=COLOURS[0]).encode(y=low, y2="high")
        line = base.mark_line(strokeWidth=2, color=COLOURS[0]).encode(y=mean, tooltip=shown)
    return alt.layer(spread, marks, line).properties(
        width=PANEL, height=HEIGHT, title=alt.TitleParams(setting.key, frame="group")
    )


def _drawn(setting: Setting, curve: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "x": list(curve["value"] if setting.choices else curve["value"].astype("float64")),
            "mean": list(curve["mean"]),
            "low": list(curve["mean"] - curve["std"]),
            "high": list(curve["mean"] + curve["std"]),
            "n": list(curve["n"]),
        }
    )


def _dots(setting: Setting, points: pd.DataFrame, metric: str) -> pd.DataFrame:
    """One row per configuration that has the setting; the best of all is marked, if it is one of them."""
    ordered = best_last(points, metric)
    there = ordered.loc[ordered[setting.key].notna()]
    return pd.DataFrame(
        {
            "x": list(there[setting.key]),
            "y": list(there["value"]),
            "cell": list(there["cell"]),
            "value": [number(value) for value in there["value"]],
            "is": [BEST if cell == ordered["cell"].iloc[-1] else OTHERS for cell in there["cell"]],
            "aside": (np.arange(len(there)) * GOLDEN) % 1 - 0.5,
        }
    )


def pairs_figure(forest: RandomForest, keys: Sequence[str]) -> Figure | None:
    """The prediction over pairs of the first IMPORTANT settings: the PAIRS pairs in which it varies most."""
    found = planes(forest, keys[:IMPORTANT], PAIRS)
    if not found:
        return None
    observed = forest.observed
    domain = list(focus(observed.table["value"], observed.metric))
    scale = alt.Scale(scheme="viridis", domain=domain, clamp=True, reverse=not maximised(observed.metric))
    limit = MAXIMUM_MARKS // 2 // PAIRS - max(len(plane.table) for plane in found)
    points = evenly(observed.table, limit, maximised(observed.metric))
    panels = [_heat(plane, points, scale, observed) for plane in found]
    caption = (
        f"Colour: {observed.label} that a random forest predicts for the better half of "
        "the configurations with these two settings changed; lighter is better. Points: configurations, in the colour "
        f"of what they came to{observed.then}. What lies beyond the scale has the colour of "
        f"its end.{share_drawn(len(points), len(observed.table), 'configurations')}"
    )
    return Figure("pairs", "search", "Pairs of settings", caption, alt.concat(*panels, columns=2, spacing=24))


def _heat(plane: Plane, points: pd.DataFrame, scale: alt.Scale, observed: Observations) -> Any:
    there = points.dropna(subset=[plane.x.key, plane.y.key])
    table = plane.table.assign(predicted=[number(value) for value in plane.table["mean"]])
    dots = pd.DataFrame({name: list(there[name]) for name in ("cell", "value")})
    rect: dict[str, Any] = {}
    circle: dict[str, Any] = {}
    for name, setting, channel, end in (("x", plane.x, alt.X, "x2"), ("y", plane.y, alt.Y, "y2")):
        room = PAIR if name == "x" else PAIR_LABELS
        labels = [text(value) for value in table[name].unique()]
        dots[name] = list(there[setting.key])
        circle[name] = rect[name] = setting_axis(channel, name, setting, labels, room).title(setting.key)
        if not setting.choices:
            table[f"{name}_low"], table[end] = _sides(setting, table[name])
            rect[name] = setting_axis(channel, f"{name}_low", setting, labels, room).title(setting.key)
            rect[end] = end
    legend = alt.Legend(title=axis_title(observed.metric, observed.after), columns=3)
    heat = alt.Chart(inline(table)).mark_rect(strokeWidth=1.2)  # in its own colour, to hide seams
    marks = alt.Chart(inline(dots)).mark_circle(size=34, opacity=1, stroke=RING, strokeWidth=1)
    return alt.layer(
        heat.encode(
            **rect,
            color=alt.Color("mean:Q", scale=scale, legend=legend),
            stroke=alt.Stroke("mean:Q", scale=scale, legend=legend),
            tooltip=tips("predicted", x=plane.x.key, y=plane.y.key),
        ),
        marks.encode(
            **circle,
            color=alt.Color("value:Q", scale=scale, legend=legend),
            tooltip=tips("cell", value=observed.metric, x=plane.x.key, y=plane.y.key),
        ),
    ).properties(width=PAIR, height=PAIR)


def _sides(setting: Setting, values: "pd.Series[Any]") -> tuple[list[float], list[float]]:
    """(lower, upper) ends of the rectangle around each value: half-way to its neighbours on the setting's scale."""
    steps = np.sort(values.astype("float64").unique())
    scaled = setting.scaled(steps)
    middle = (scaled[1:] + scaled[:-1]) / 2
    ends = np.r_[scaled[0], middle, scaled[-1]]
    ends = 10.0**ends if setting.log else ends
    place = np.searchsorted(steps, values.astype("float64"))
    return list(ends[place]), list(ends[place + 1])
