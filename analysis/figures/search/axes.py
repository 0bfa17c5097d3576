"""Helpers for the figures of a search: axis ranges that ignore bad outliers, axes of settings, tooltips."""

import json
import math
from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from analysis.figures.theme import whole_ticks
from analysis.records.search_space import Setting
from core.metrics import maximised, metric_label, split_of

WHISKER = 1.5  # times the middle half's width, as in Tukey's box plot
MARGIN = 0.04


def focus(values: "pd.Series[float]", metric: str) -> tuple[float, float]:
    """Ends of an axis for `values`: the best one and the worst within a box plot's whisker, plus a margin."""
    known = values[np.isfinite(values.to_numpy("float64"))].to_numpy("float64")
    if not len(known):
        return 0.0, 1.0
    first, third = np.quantile(known, [0.25, 0.75])
    low, high = float(known.min()), float(known.max())
    if maximised(metric):
        low = float(known[known >= first - WHISKER * (third - first)].min())
    else:
        high = float(known[known <= third + WHISKER * (third - first)].max())
    margin = MARGIN * (high - low) or MARGIN * abs(high) or MARGIN
    return low - margin, high + margin


def axis_title(metric: str, after: str = "") -> str:
    """The metric, its split, `after` (as `Observations.after`) and its direction."""
    split, _ = split_of(metric)
    where = f" ({split})" if split else ""
    return f"{metric_label(metric)}{where}{after}, {'larger' if maximised(metric) else 'smaller'} is better"


def share_drawn(drawn: int, n: int, what: str) -> str:
    """A caption's sentence on how many of `n` are drawn; empty if all are."""
    return f" Of {n:,} {what} {drawn:,} are drawn, evenly spaced." if drawn < n else ""


def setting_axis(channel: Any, field: str, setting: Setting, labels: Sequence[str], room: int) -> Any:
    """An encoding of `field` for a setting's axis: its labels in the order of the space, or its range on its scale;
    `room`: pixels for labels."""
    axis: dict[str, Any] = {"grid": False}
    if setting.choices:
        known = [label for label in setting.choices if label in set(labels)]
        axis |= {"labelLimit": room // max(1, len(known)) if field.startswith("x") else room, "labelOverlap": False}
        axis |= {"labelAngle": 0, "labelExpr": f"{json.dumps({label: _lines(label) for label in known})}[datum.label]"}
        return channel(f"{field}:N", sort=known, title=None).axis(**axis)
    whole = setting.whole and not setting.log
    axis |= whole_ticks(pd.Series([setting.low, setting.high])) if whole else {"format": "~g", "tickCount": 5}
    scale: dict[str, Any] = {"type": "log"} if setting.log else {"zero": False}
    if setting.log and len(decades := _decades(setting)) > 1:
        axis["values"] = decades
    return channel(f"{field}:Q", title=None).scale(nice=False, padding=6, **scale).axis(**axis)


def _lines(label: str) -> list[str]:
    """A label of layer names joined by + in at most two lines."""
    first, *others = label.split("+")
    return [first] if not others else [first, f"+{others[0]}" if len(others) == 1 else f"+{len(others)} more"]


def _decades(setting: Setting) -> list[float]:
    low, high = setting.scaled(np.array([setting.low, setting.high]))
    return [float(f"1e{power}") for power in range(math.ceil(low), math.floor(high) + 1)]


def tips(*fields: str, **titled: str) -> list[Any]:
    """Tooltips for fields under their own names, then for others under titles, field=title."""
    named = {field: field for field in fields} | titled
    return [alt.Tooltip(f"{field}:N", title=title) for field, title in named.items()]
