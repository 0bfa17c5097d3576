"""The forest plot of an ablation: each comparison's difference with its 95 % interval, around a line at zero."""

import altair as alt
import pandas as pd

from analysis.figures.cell_labels import unique
from analysis.figures.theme import INK, NEUTRAL, WIDTH, Figure, inline
from analysis.records.columns import rows_of
from analysis.statistics.hypothesis_tests import MINIMUM_PAIRS
from analysis.statistics.multiple_comparisons import BETTER, UNSTABLE, WORSE
from analysis.tables.ablation import compares_levels, comparison_label
from analysis.tables.formatting import has_width, interval, number, p_text
from core.metrics import maximised, metric_label
from core.value_words import cut

MAXIMUM_COMPARISONS = 80
VERDICT_COLOURS = {BETTER: "#1a9850", WORSE: "#d73027", UNSTABLE: "#e08214"}
LABEL, LINE = 60, 30  # characters of a label, and of one line before it is split in two
ROW, TWO_LINES = 26, 34  # pixels


def forest_plot(table: pd.DataFrame) -> Figure | None:
    """The first MAXIMUM_COMPARISONS rows of an ablation table; None if no row has a difference.

    A difference of fewer than three pairs has a point but no interval, as it has no verdict.
    """
    shown = table.head(MAXIMUM_COMPARISONS)
    if not shown["delta"].notna().any():
        return None
    metric = str(table["metric"].iloc[0])
    rows = _rows(shown)
    verdicts = list(dict.fromkeys(rows["verdict"]))
    better = "larger is better" if maximised(metric) else "smaller is better"
    base = alt.Chart(inline(rows)).encode(
        y=alt.Y("comparison:N", sort=None, title=None).axis(
            labelExpr="split(datum.label, '\\n')", ticks=False, domain=False, grid=False, labelPadding=8
        ),
        color=alt.Color("verdict:N", title=None).scale(
            domain=verdicts, range=[VERDICT_COLOURS.get(verdict, NEUTRAL) for verdict in verdicts]
        ),
        tooltip=[
            alt.Tooltip(f"{name}:N")
            for name in ("comparison", "against", "n", "difference", "interval", "p", "verdict")
        ],
    )
    title, axis = f"difference in {metric_label(metric)}, {better}", alt.Axis(tickCount=6)
    span = base.mark_rule(strokeWidth=2.2).encode(x=alt.X("ci_low:Q", title=title, axis=axis), x2=alt.X2("ci_high:Q"))
    point = base.mark_circle(size=64, opacity=1).encode(x=alt.X("delta:Q", title=title, axis=axis))
    zero = alt.Chart(alt.InlineData(values=[{"zero": 0}])).mark_rule(color=INK).encode(x=alt.X("zero:Q"))
    tall = TWO_LINES if rows["comparison"].str.contains("\n").any() else ROW
    layers = [zero, span, point] if rows["ci_low"].notna().any() else [zero, point]
    chart = alt.layer(*layers).properties(width=WIDTH, height=alt.Step(tall))
    return Figure("ablation", "ablation", f"What each change does to {metric_label(metric)}", _caption(table), chart)


def _rows(table: pd.DataFrame) -> pd.DataFrame:
    drawn = (table["n_pairs"] >= MINIMUM_PAIRS) & has_width(table["ci_low"], table["ci_high"])
    rows = rows_of(table)
    of_cells = not compares_levels(table)
    labels = unique({place: cut(comparison_label(row, of_cells), LABEL) for place, row in enumerate(rows)})
    return pd.DataFrame(
        {
            "comparison": [text.replace(", ", ",\n", 1) if len(text) > LINE else text for text in labels.values()],
            "against": list(table["baseline_level"]),
            "n": list(table["n_pairs"]),
            "delta": list(table["delta"]),
            "ci_low": list(table["ci_low"].where(drawn)),
            "ci_high": list(table["ci_high"].where(drawn)),
            "difference": [number(value, signed=True) for value in table["delta"]],
            "interval": [interval(row["ci_low"], row["ci_high"]) for row in rows],
            "p": [p_text(value) for value in table["p_holm"]],
            "verdict": list(table["verdict"]),
        }
    )


def _caption(table: pd.DataFrame) -> str:
    left = len(table) - MAXIMUM_COMPARISONS
    more = f" The first {MAXIMUM_COMPARISONS} are drawn; {left} more are in ablation.csv." if left > 0 else ""
    said = f"Mean difference, level − baseline, with its 95 % interval from {MINIMUM_PAIRS} seeds on; 0 is no effect."
    return said + more
