"""Figure of how steadily each cell learns: `val_roughness` and `val_jumps` over seeds."""

import altair as alt
import pandas as pd

from analysis.figures.cell_labels import labels
from analysis.figures.theme import COLOURS, Figure, inline
from analysis.statistics.hypothesis_tests import MINIMUM_PAIRS
from analysis.tables.formatting import has_width
from analysis.tables.learning_curves import STEADINESS

MAXIMUM_CELLS = 24
LABEL = 40  # characters of a cell's name
TITLES = {"val_roughness": "roughness, mean |Δ log|", "val_jumps": "jumps up by more than half"}


def stability_figure(table: pd.DataFrame) -> Figure | None:
    """One dot per cell, with its 95 % interval from three seeds on; None for an empty table."""
    if table.empty:
        return None
    shown = table.head(MAXIMUM_CELLS)
    names = list(labels(shown["cell"], LABEL).values())
    panels: list[alt.LayerChart | alt.FacetChart] = []
    for metric in STEADINESS:
        low, high = (shown[f"{metric}_ci_{end}"] for end in ("low", "high"))
        drawn = (shown["n"] >= MINIMUM_PAIRS) & has_width(low, high)
        columns = {figure: shown[f"{metric}_{figure}"] for figure in ("mean", "std")}
        columns |= {"ci_low": low.where(drawn), "ci_high": high.where(drawn)}
        rows = pd.DataFrame({"cell": names, "n": shown["n"], **columns})
        largest = float(pd.concat([rows["mean"], rows["ci_high"].fillna(0)]).max())
        scale = alt.Scale(domain=[min(0.0, float(rows["ci_low"].fillna(0).min())), largest or 1.0])
        axis = alt.Axis(ticks=False, domain=False, labels=not panels, title=None)
        base = alt.Chart(inline(rows)).encode(
            y=alt.Y("cell:N", sort=names, axis=axis),
            tooltip=[
                alt.Tooltip("cell:N"),
                alt.Tooltip("n:Q"),
                *(alt.Tooltip(f"{name}:Q", format=".4g") for name in columns),
            ],
        )
        span = base.mark_rule(strokeWidth=2.2, color=COLOURS[0]).encode(
            x=alt.X("ci_low:Q", title=TITLES[metric], scale=scale, axis=alt.Axis(tickCount=5)), x2=alt.X2("ci_high:Q")
        )
        dot = base.mark_circle(size=64, opacity=1, color=COLOURS[0]).encode(x=alt.X("mean:Q", title=TITLES[metric]))
        panels.append(alt.layer(span, dot).properties(width=230, height=alt.Step(24)))
    left = len(table) - len(shown)
    caption = (
        "Of the validation reference after the first tenth of the epochs: the mean size of its steps in log, and how "
        "often it rises by more than half; mean over seeds with its 95 % interval. Smaller is steadier."
    )
    more = f" The best {MAXIMUM_CELLS} cells; {left} more are in stability.csv." if left else ""
    return Figure("stability", "curves", "Steadiness of the curves", caption + more, alt.hconcat(*panels, spacing=30))
