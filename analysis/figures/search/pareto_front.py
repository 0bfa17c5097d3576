"""The Pareto front of a search with several objectives, in the plane of the first two."""

from collections.abc import Sequence
from typing import Any

import altair as alt
import pandas as pd

from analysis.figures.search.axes import axis_title
from analysis.figures.theme import COLOURS, INK, MAXIMUM_MARKS, NEUTRAL, WIDTH, Figure, inline, spans_decades
from analysis.tables.formatting import number
from core.metrics import maximised
from core.value_words import cut

MAXIMUM_NAMES = 12
AHEAD, REST = "not dominated", "other cells"


def pareto_figure(cells: pd.DataFrame, objectives: Sequence[str], front: Sequence[str]) -> Figure:
    """Every cell in the plane of the first two objectives, the front highlighted; with two objectives, its outline.

    With more than two, a cell of the front may look dominated in this plane, so no line is drawn. Of more than
    MAXIMUM_MARKS cells, the front and the first others are drawn.
    """
    across, up = objectives[:2]
    points = _points(cells, across, up, set(front))
    x, y = _axis(alt.X("x:Q"), across, cells), _axis(alt.Y("y:Q"), up, cells)
    layers: list[alt.Chart] = []
    ahead = points.loc[points["is"] == AHEAD]
    if len(objectives) == 2:
        line = alt.Chart(inline(outline(ahead[["x", "y"]], across)))
        layers.append(line.mark_line(color=COLOURS[0], strokeWidth=1.2, opacity=0.6).encode(x=x, y=y, order="place:Q"))
    colour = alt.Color("is:N", title=None).scale(domain=[AHEAD, REST], range=[COLOURS[0], NEUTRAL])
    told = [alt.Tooltip(f"{name}:N", title=title) for name, title in (("cell", "cell"), ("a", across), ("b", up))]
    layers.append(
        alt.Chart(inline(points))
        .mark_circle(size=55, opacity=0.85)
        .encode(x=x, y=y, color=colour, tooltip=[*told, alt.Tooltip("n:N")])
    )
    if len(ahead) <= MAXIMUM_NAMES:
        names = alt.Chart(inline(ahead)).mark_text(align="left", dx=7, dy=-7, color=INK, limit=150)
        layers.append(names.encode(x=x, y=y, text="cell:N"))
    chart = alt.layer(*layers).properties(width=WIDTH, height=320)
    return Figure("pareto", "search", "Pareto front", _caption(objectives, len(cells) - len(points)), chart)


def _points(cells: pd.DataFrame, across: str, up: str, front: set[str]) -> pd.DataFrame:
    """One row per cell, those of the front last, so that they are drawn on top."""
    ahead = cells["cell"].isin(front)
    best = cells.loc[ahead].sort_values([across, up], kind="stable")
    drawn = pd.concat([cells.loc[~ahead].head(max(0, MAXIMUM_MARKS - len(best))), best])
    return pd.DataFrame(
        {
            "cell": [cut(cell, 40) for cell in drawn["cell"]],
            "x": list(drawn[across]),
            "y": list(drawn[up]),
            "a": [number(value) for value in drawn[across]],
            "b": [number(value) for value in drawn[up]],
            "n": list(drawn["n"]),
            "is": [REST] * (len(drawn) - len(best)) + [AHEAD] * len(best),
        }
    )


def outline(front: pd.DataFrame, across: str) -> pd.DataFrame:
    """Corners, in order, of the step line through the front's points (x, y), which are ordered by x.

    Between two points the line has the y of the one that is better in `across`.
    """
    corners: list[tuple[float, float]] = []
    for x, y in front[["x", "y"]].itertuples(index=False, name=None):
        if corners:
            before_x, before_y = corners[-1]
            corners.append((before_x, y) if maximised(across) else (x, before_y))
        corners.append((x, y))
    return pd.DataFrame(corners, columns=["x", "y"]).assign(place=range(len(corners)))


def _axis(channel: Any, metric: str, cells: pd.DataFrame) -> Any:
    """A metric's axis, logarithmic if smaller is better and the values span more than a decade."""
    logarithmic = not maximised(metric) and spans_decades(cells[metric])
    scaled = channel.title(axis_title(metric)).scale(type="log" if logarithmic else "linear", zero=False)
    return scaled.axis(tickCount=6)


def _caption(objectives: Sequence[str], left: int) -> str:
    said = "Each point is a configuration’s mean; the line bounds what was found to be had."
    if len(objectives) > 2:
        said = f"The first two of {len(objectives)} objectives: in their plane a cell may look dominated that is not."
    return said + (f" {left} more that are dominated are not drawn." if left else "")
