"""The figure of what each cell's network costs beside what it reaches."""

import altair as alt
import pandas as pd

from analysis.figures.search.axes import axis_title
from analysis.figures.theme import COLOURS, INK, MAXIMUM_MARKS, WIDTH, Figure, inline, spans_decades
from analysis.tables.formatting import has_width
from core.value_words import cut

MAXIMUM_NAMES = 16
MILLION = 1e6


def cost_figure(ranking: pd.DataFrame, is_search: bool) -> Figure | None:
    """A dot for each cell that has finished, with its interval; None where all networks cost the same or none is known.

    Of more than MAXIMUM_MARKS cells the best are drawn.
    """
    known = ranking.dropna(subset=["multiply_adds", "mean"])
    if known["multiply_adds"].nunique() < 2:
        return None
    drawn = known.head(MAXIMUM_MARKS)
    metric, spread = str(drawn["metric"].iloc[0]), has_width(drawn["ci_low"], drawn["ci_high"])
    rows = pd.DataFrame(
        {
            "cell": [cut(cell, 40) for cell in drawn["cell"]],
            "multiply_adds": drawn["multiply_adds"].astype("float64") / MILLION,
            "parameters": drawn["parameters"].astype("float64") / MILLION,
            "mean": drawn["mean"],
            "ci_low": drawn["ci_low"].where(spread),
            "ci_high": drawn["ci_high"].where(spread),
            "n": drawn["n"],
        }
    )
    scale = alt.Scale(type="log" if spans_decades(rows["multiply_adds"]) else "linear", zero=False)
    tips = [alt.Tooltip(f"{name}:N", title=title) for name, title in TITLES.items()]
    base = alt.Chart(inline(rows)).encode(
        x=alt.X("multiply_adds:Q", title=TITLES["multiply_adds"], scale=scale, axis=alt.Axis(tickCount=6, format="~g")),
        tooltip=tips,
    )
    value = alt.Scale(zero=False)
    span = base.mark_rule(color=COLOURS[0], opacity=0.5).encode(
        y=alt.Y("ci_low:Q", title=axis_title(metric), scale=value), y2=alt.Y2("ci_high:Q")
    )
    dot = base.mark_circle(size=64, opacity=0.9, color=COLOURS[0]).encode(
        y=alt.Y("mean:Q", title=axis_title(metric), scale=value)
    )
    layers: list[alt.Chart] = [span, dot]
    if len(rows) <= MAXIMUM_NAMES:
        name = base.mark_text(align="left", dx=7, dy=-7, color=INK, limit=160)
        layers.append(name.encode(y=alt.Y("mean:Q", scale=value), text="cell:N"))
    left = len(ranking) - len(drawn)
    caption = (
        "Each dot is a cell: the mean over its seeds with its 95 % interval, against the multiply-adds of one image "
        "(matrix products, convolutions and attention)."
    )
    more = f" {left} more, unfinished or behind the first {MAXIMUM_MARKS:,}, are not drawn." if left else ""
    chart = alt.layer(*layers).properties(width=WIDTH, height=320)
    section = "search" if is_search else "ablation"
    return Figure("cost", section, "What it costs", caption + more, chart)


TITLES = {
    "cell": "cell",
    "multiply_adds": "million multiply-adds of one image",
    "parameters": "million parameters",
    "mean": "mean",
    "n": "n",
}
