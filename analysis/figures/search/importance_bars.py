"""Bar chart of the importance of each setting of a search."""

import altair as alt
import pandas as pd

from analysis.figures.search.axes import tips
from analysis.figures.theme import COLOURS, WIDTH, Figure, inline
from analysis.tables.search.importance import importance_note, top_share
from analysis.tables.search.results import SearchResults

METHODS = {
    "importance_fanova": "of what settings explain by themselves (fANOVA)",
    "importance_ped_anova": "for coming among the best (PED-ANOVA)",
}


def importance_figure(search: SearchResults, importance: pd.DataFrame) -> Figure:
    """One bar per setting and method, for the first objective."""
    metric = search.by_objective[0].metric
    rows = importance.loc[importance["metric"] == metric]
    long = rows.melt(["setting", "n"], list(METHODS), var_name="method", value_name="importance").dropna()
    long["method"] = long["method"].map(METHODS)
    long["percent"] = [f"{100 * value:.1f} %" for value in long["importance"]]
    base = alt.Chart(inline(long)).encode(
        y=alt.Y("setting:N", sort=list(rows["setting"]), title=None).axis(grid=False, ticks=False, domain=False),
        yOffset=alt.YOffset("method:N", sort=list(METHODS.values())),
        x=alt.X("importance:Q", title="share of the sum over all settings").axis(tickCount=5, format="~%"),
        tooltip=tips("setting", "method", "n", percent="importance"),
    )
    colours = alt.Color("method:N", title=None, sort=list(METHODS.values()))
    bars = base.mark_bar(cornerRadiusEnd=2).encode(
        color=colours.scale(domain=list(METHODS.values()), range=[COLOURS[0], COLOURS[5]])
    )
    best = f"{100 * top_share(int(rows['n'].max())):.2g} %"
    caption = (
        f"fANOVA: of what settings explain of the differences in {metric} by themselves, the share of this one; what "
        "they explain only together is not in it. PED-ANOVA: how much it decides who comes among the best "
        f"{best}. {importance_note(search.observed, importance)}"
    )
    chart = bars.properties(width=WIDTH, height=alt.Step(13))
    return Figure("importance", "search", "Which settings matter", caption, chart)
