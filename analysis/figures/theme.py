"""What every figure of a report shares: Vega-Lite by Altair, so that the interactive page and the SVG file beside it
come from one specification.

Ink is `currentColor`: on the page a figure takes the text's colour, light or dark or on paper; on its own it is black.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from html import escape
from typing import TYPE_CHECKING, Any

import pandas as pd

from analysis.records.columns import rows_of

if TYPE_CHECKING:
    import altair as alt

    from analysis.tables.spec import ReportData


WIDTH = 640  # pixels, of a figure alone in its row; the page fits it to the room that there is
# Okabe and Ito's palette without black and yellow, which vanish on one of the two backgrounds, and dark and light kin.
COLOURS = (
    *("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00"),
    *("#7570b3", "#a6761d", "#e7298a", "#66a61e", "#8c564b", "#7f7f7f"),
)
NEUTRAL = "#808890"
INK = "currentColor"
PICK = "pick"  # the parameter of `legend_selection`, which the page offers as a choice by keyboard too
MAXIMUM_MARKS = 5000  # of one figure; what has more is aggregated or drawn in part, and says so in its caption
DIGITS = 6  # of a number in a figure's data
COMPOUND = ("concat", "hconcat", "vconcat", "facet", "repeat")


@dataclass(frozen=True)
class Figure:
    """A figure of the report.

    `name` is its file in figures/ and its anchor on the page, `section` the heading of the page that it stands under,
    `title` what it shows, `caption` how to read it in a sentence or two. `chart` is any Altair chart, without a title
    or a theme of its own.
    """

    name: str
    section: str
    title: str
    caption: str
    chart: "alt.TopLevelMixin"

    def spec(self) -> dict[str, Any]:
        """The Vega-Lite specification with its data in it, and in words for who cannot see it; the theme is CONFIG."""
        return dict(self._spec)

    @cached_property
    def _spec(self) -> dict[str, Any]:
        made = {name: value for name, value in self.chart.to_dict(validate=False).items() if name != "config"}
        return made | {"description": f"{self.title}. {self.caption}"}

    def svg(self) -> str:
        """The figure as an `<svg>` element for a page that is white or is printed, the same for the same data."""
        import vl_convert

        drawn = vl_convert.vegalite_to_svg(self.spec() | {"config": CONFIG, "background": "white"}, schema_version())
        opening, _, rest = drawn.partition(">")
        return f"{opening}><title>{escape(self.title)}</title>{_renumbered(rest)}"


FIGURES: "list[Callable[[ReportData], Sequence[Figure]]]" = []
"""makers of figures that every report has beside its own; append one to add a figure"""


def _renumbered(svg: str) -> str:
    """Vega numbers clips and gradients over the life of the process; here they count from 1 in each figure."""
    numbers: dict[str, int] = {}

    def count(found: re.Match[str]) -> str:
        return f"{found[1]}{numbers.setdefault(found[0], len(numbers) + 1)}"

    return re.sub(r'((?<=id=")(?:clip|gradient_)|(?<=url\(#)(?:clip|gradient_))\d+', count, svg)


def schema_version() -> str:
    """The Vega-Lite version, such as 6.4, of Altair's specifications, as vl-convert names it."""
    from altair import SCHEMA_VERSION

    return ".".join(SCHEMA_VERSION.removeprefix("v").split(".")[:2])


@cache
def javascript() -> str:
    """Vega, Vega-Lite and vega-embed as one script, which sets `window.vegaEmbed`; made in a second or two."""
    import vl_convert

    # The stub asks for a snippet, which the function itself does not.
    return vl_convert.javascript_bundle(vl_version=schema_version())  # type: ignore[call-arg]


@contextmanager
def unchecked() -> Iterator[None]:
    """Charts of this program, without asking Altair's schema about each part, which takes as long as all the rest.

    Tests build the same figures outside of this.
    """
    from altair.utils.schemapi import debug_mode

    with debug_mode(False):
        yield


def inline(table: pd.DataFrame) -> "alt.InlineData":
    """The rows of a table as a chart's own data: DIGITS significant digits, nothing where there is no finite number."""
    import altair as alt

    rows = [{name: _plain(value) for name, value in row.items()} for row in rows_of(table)]
    with unchecked():
        return alt.InlineData(values=rows)


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, str | bool):
        return value
    if pd.isna(value) or value in (float("inf"), float("-inf")):
        return None
    return int(value) if float(value).is_integer() else float(f"{value:.{DIGITS}g}")


def legend_selection() -> "alt.Parameter":
    """A click on a cell in the legend brings it out; fields of the data are to be called `cell`."""
    import altair as alt

    return alt.selection_point(name=PICK, fields=["cell"], bind="legend")


def opaque_if(condition: Any, full: float, otherwise: float) -> "alt.OpacityValue":
    """The opacity `full` where a parameter or an expression holds. As a channel of its own: Altair looks through all
    of its classes for the one of a bare condition, and of a field's bare name, at a hundred times the cost."""
    import altair as alt

    return alt.OpacityValue(**alt.when(condition).then(alt.value(full)).otherwise(alt.value(otherwise)))


def colour_by_cell(cells: Sequence[str], title: str | None = None) -> "alt.Color":
    """One colour a cell, in the order given; at most as many cells as there are COLOURS."""
    import altair as alt

    scale = alt.Scale(domain=list(cells), range=list(COLOURS[: len(cells)]))
    return alt.Color("cell:N", scale=scale, title=title)


def spans_decades(values: pd.Series) -> bool:
    """Whether a logarithmic scale reads better: all values positive, the largest over ten times the smallest."""
    return bool(len(values) and values.min() > 0 and values.max() > 10 * values.min())


FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif'
CONFIG: dict[str, Any] = {
    "font": FONT,
    "background": None,
    "view": {"stroke": None},
    "axis": {
        **{"gridColor": NEUTRAL, "gridOpacity": 0.2, "domainColor": NEUTRAL, "tickColor": NEUTRAL},
        **{"labelColor": INK, "titleColor": INK, "labelLimit": 280, "labelFontSize": 11, "titleFontSize": 11},
        **{"titleFontWeight": "normal", "titlePadding": 8},
    },
    "axisX": {"titleAnchor": "end"},
    "legend": {
        **{"orient": "bottom", "labelLimit": 280, "columns": 2, "labelColor": INK, "titleColor": INK},
        **{"labelFontSize": 11, "titleFontSize": 11, "titleFontWeight": "normal", "symbolSize": 70, "symbolOpacity": 1},
    },
    "title": {"color": INK, "anchor": "start", "fontSize": 12, "fontWeight": 600, "subtitleColor": INK},
    "header": {"labelColor": INK, "titleColor": INK, "labelFontSize": 11, "titleFontSize": 11},
    "text": {"color": INK, "fontSize": 11},
    "range": {"category": list(COLOURS), "heatmap": {"scheme": "viridis"}, "ramp": {"scheme": "viridis"}},
}
