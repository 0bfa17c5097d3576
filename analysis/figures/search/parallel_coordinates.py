"""Parallel coordinates of a search: one line per configuration across the axes of the metric and of all settings.

The axes are horizontal, so that names and values fit a narrow page; a brush on the metric's axis picks configurations.
"""

from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from analysis.figures.search.axes import axis_title, focus, share_drawn, tips
from analysis.figures.theme import COLOURS, INK, MAXIMUM_MARKS, NEUTRAL, WIDTH, Figure, inline
from analysis.records.search_space import Observations, Setting, best_last, evenly
from analysis.tables.formatting import number, setting_text
from core.metrics import maximised

ROW, STRIP = 54, 26  # pixels
MAXIMUM_LINES = 500
BROUGHT_OUT, SHARE = 10, 4  # best configurations highlighted: at most 10, and a quarter of all
NOT_SET, END = 1.09, 1.14  # position of a setting that did not exist, beside its axis from 0 to 1; end of the panel
OTHERS = "others"
RAMP = ("#a3acb5", "#56b4e9", "#0072b2")  # lines in these are visible on white and on black, unlike in viridis


def parallel_figure(observed: Observations, keys: Sequence[str]) -> Figure | None:
    """At most MAXIMUM_LINES configurations across the metric and the settings `keys`, most important first."""
    by_key = {setting.key: setting for setting in observed.settings}
    settings = [by_key[key] for key in keys]
    if not settings or observed.table.empty:
        return None
    limit = min(MAXIMUM_LINES, MAXIMUM_MARKS // (len(settings) + 1))
    ordered = best_last(observed.table, observed.metric)
    ahead = min(BROUGHT_OUT, -(-min(len(ordered), limit) // SHARE))  # all of these are drawn, some of the others
    rows = pd.concat([evenly(ordered[:-ahead], limit - ahead, maximised(observed.metric)), ordered[-ahead:]])
    low, high = focus(observed.table["value"], observed.metric)
    best_name = f"the best {ahead}" if ahead > 1 else "the best"
    best_name += observed.then
    fields = [f"p{place:02}" for place in range(len(settings) + 1)]
    wide = _wide(rows, settings, fields, (low, high), [OTHERS] * (len(rows) - ahead) + [best_name] * ahead)
    brush = alt.selection_interval(name="brush", encodings=["x"])
    title = axis_title(observed.metric, observed.after)
    colour = alt.Color("metric:Q", title=title, legend=None).scale(
        domain=[low, high], range=list(RAMP if maximised(observed.metric) else RAMP[::-1])
    )
    kind = alt.Color("is:N", title=None, legend=alt.Legend(symbolType="stroke", symbolStrokeWidth=2)).scale(
        domain=[best_name, OTHERS], range=[COLOURS[1], RAMP[1]]
    )
    shown = tips("cell", value=observed.metric)
    texts = {f"t{field}": setting.key for field, setting in zip(fields[1:], settings, strict=True)}
    ticks = alt.Chart(inline(wide)).encode(x=_top(title, low, high), color=kind.legend(None), tooltip=shown)
    strip = ticks.mark_tick(thickness=1.5, size=STRIP - 8).properties(width=WIDTH, height=STRIP).add_params(brush)
    y = alt.Y("axis:N", axis=None)
    x = alt.X("position:Q", axis=None).scale(domain=[0, END], nice=False, zero=False)
    chosen = alt.Chart(inline(wide)).transform_fold([*fields], ["axis", "position"])
    lines = chosen.encode(x=x, y=y, detail="cell:N", order="axis:O", tooltip=[*shown, *tips(**texts)])
    others = lines.transform_filter(alt.datum["is"] == OTHERS).mark_line(strokeWidth=1.1)
    best = lines.transform_filter(alt.datum["is"] == best_name).mark_line(strokeWidth=2)
    axes = alt.layer(
        alt.Chart(inline(_rails(fields))).mark_rule(color=NEUTRAL, opacity=0.6).encode(x=x, x2="end", y=y),
        others.encode(color=colour, opacity=alt.condition(brush, alt.value(0.55), alt.value(0.03))),
        best.encode(color=kind, opacity=alt.condition(brush, alt.value(0.9), alt.value(0.05))),
        *_words(alt, settings, fields[1:], x, y),
    ).resolve_scale(color="independent")
    lying = axes.properties(width=WIDTH, height=ROW * len(fields))
    chart = alt.vconcat(strip, lying, spacing=0).resolve_scale(color="independent")
    return Figure("parallel", "search", "All settings at once", _caption(observed, rows, settings, (low, high)), chart)


def _top(title: str, low: float, high: float) -> alt.X:
    """The metric's axis, aligned with the settings' axes below, which have room at their end for "not set"."""
    axis = alt.Axis(orient="top", grid=False, tickCount=6, labelExpr=f"datum.value > {high} ? '' : datum.label")
    scale = alt.Scale(domain=[low, low + END * (high - low)], nice=False)
    return alt.X("metric:Q", title=title, scale=scale, axis=axis)


def _wide(
    rows: pd.DataFrame,
    settings: Sequence[Setting],
    fields: Sequence[str],
    limits: tuple[float, float],
    kinds: Sequence[str],
) -> pd.DataFrame:
    """One row per configuration: positions 0 … 1 in `fields`, the first the metric's; texts in columns "t" + field."""
    low, high = limits
    table = pd.DataFrame({"cell": list(rows["cell"]), "metric": list(rows["value"].clip(low, high))})
    table["value"] = [number(value) for value in rows["value"]]
    table["is"] = list(kinds)
    table[fields[0]] = (table["metric"] - low) / (high - low)
    for field, setting in zip(fields[1:], settings, strict=True):
        table[field] = _positions(setting, rows[setting.key])
        table[f"t{field}"] = [setting_text(value) or "not set" for value in rows[setting.key]]
    return table


def _positions(setting: Setting, values: "pd.Series[Any]") -> list[float]:
    if setting.choices:
        return [float(place) for place in values.map(_places(setting)).fillna(NOT_SET)]
    low, high = setting.scaled(np.array([setting.low, setting.high]))
    scaled = setting.scaled(values)
    shares = (scaled - low) / (high - low) if high > low else np.where(np.isnan(scaled), scaled, 0.5)
    return [float(share) for share in np.where(np.isnan(shares), NOT_SET, shares)]


def _places(setting: Setting) -> dict[str, float]:
    last = len(setting.choices) - 1
    return {label: place / last if last else 0.5 for place, label in enumerate(setting.choices)}


def _rails(fields: Sequence[str]) -> pd.DataFrame:
    return pd.DataFrame({"axis": list(fields), "position": 0.0, "end": 1.0})


def _words(alt: Any, settings: Sequence[Setting], fields: Sequence[str], x: Any, y: Any) -> list[Any]:
    """Texts: above each axis its setting, below it the ends of its range or its choices, and "not set"."""
    rows = []
    for field, setting in zip(fields, settings, strict=True):
        ends = {setting_text(setting.low): 0.0, setting_text(setting.high): 1.0}
        ends = ends if setting.high > setting.low else {setting_text(setting.low): 0.5}
        marks = list((_places(setting) if setting.choices else ends).items())
        if setting.when:
            marks.append(("not set", NOT_SET))
        rows += [{"axis": field, "position": place, "words": words} for words, place in marks]
    names = pd.DataFrame({"axis": list(fields), "position": 0.0, "words": [setting.key for setting in settings]})
    table = pd.DataFrame(rows)
    table["side"] = ["left" if place == 0 else "right" if place == 1 else "center" for place in table["position"]]
    below = [
        alt.Chart(inline(part))
        .mark_text(align=side, dy=12, fontSize=10, color=INK, limit=WIDTH / 5)
        .encode(x=x, y=y, text="words:N")
        for side, part in table.groupby("side")
    ]
    above = alt.Chart(inline(names)).mark_text(align="left", dy=-9, fontWeight="bold", color=INK)
    return [*below, above.encode(x=x, y=y, text="words:N")]


def _caption(
    observed: Observations, rows: pd.DataFrame, settings: Sequence[Setting], limits: tuple[float, float]
) -> str:
    text = (
        f"A line a configuration, the best{observed.then} in orange, the others bluer the better; settings in the "
        f"order of their importance. Drag over {observed.label} at the top to pick configurations."
    )
    beyond = int(((rows["value"] < limits[0]) | (rows["value"] > limits[1])).sum())
    if beyond:
        text += f" {beyond} beyond its axis at the edge."
    return text + share_drawn(len(rows), len(observed.table), "configurations")
