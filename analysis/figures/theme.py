"""The base of all figures of a report: Altair charts, so that the interactive page and the SVG files come from the same
Vega-Lite specification.

Ink is `currentColor`: on the page a figure takes the text's colour, light or dark; as a file of its own it is black.
"""

from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache, cached_property
from html import escape
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pandas as pd

from analysis.figures.drawing import Job, svg
from analysis.records.columns import rows_of
from core.errors import PlanError
from core.files import user_cache, write_text
from core.text import all_visible, visible

if TYPE_CHECKING:
    from os import PathLike

    import altair as alt

    from analysis.tables.spec import ReportData


WIDTH = 640  # pixels, of a figure alone in its row; the page scales it to fit
# Okabe and Ito's palette without black and yellow, invisible on one of the two backgrounds, and six more colours.
COLOURS = (
    *("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00"),
    *("#7570b3", "#a6761d", "#e7298a", "#66a61e", "#8c564b", "#7f7f7f"),
)
NEUTRAL = "#808890"
INK = "currentColor"
PICK = "pick"  # parameter of `legend_selection`, for which the page has a keyboard control too
MAXIMUM_MARKS = 5000  # of one figure; larger data is aggregated or thinned, and the caption says so
DIGITS = 6  # significant digits of the numbers in a figure's data
COMPOUND = ("concat", "hconcat", "vconcat", "facet", "repeat")


@dataclass(frozen=True)
class Figure:
    """A figure of the report.

    `name`: its file in figures/ and its anchor on the page; `section`: the page's heading above it; `title`: what it
    shows; `caption`: how to read it, in a sentence or two; `chart`: any Altair chart, without a title or theme of its
    own.
    """

    name: str
    section: str
    title: str
    caption: str
    chart: "alt.TopLevelMixin"

    def spec(self) -> dict[str, Any]:
        """The Vega-Lite specification with data and a description for screen readers; the theme is CONFIG."""
        return dict(self._spec)

    @cached_property
    def _spec(self) -> dict[str, Any]:
        made = {name: value for name, value in self.chart.to_dict(validate=False).items() if name != "config"}
        return cast("dict[str, Any]", all_visible(made | {"description": f"{self.title}. {self.caption}"}))

    def svg(self) -> str:
        """The figure as an `<svg>` element on white, the same text for the same data."""
        return svg(*self.job())

    def job(self) -> Job:
        """What `analysis.figures.drawing` draws the SVG from."""
        return self.spec() | {"config": CONFIG, "background": "white"}, visible(self.title), schema_version()

    def html(self) -> str:
        """The figure as a page of its own, which opens offline and answers to a mouse."""
        import vl_convert

        drawn = self.spec() | {"config": CONFIG, "background": "white", "title": visible(self.title)}
        return vl_convert.vegalite_to_html(drawn, schema_version(), bundle=True)

    def write(self, path: "str | PathLike[str]") -> Path:
        """Writes FILE.svg or FILE.html, by its suffix, and returns its path; folders are made. PlanError for others."""
        file = Path(path)
        made = {".svg": self.svg, ".html": self.html}
        if file.suffix.lower() not in made:
            raise PlanError(f"{file}: a figure is written as {' or '.join(made)}")
        write_text(file, made[file.suffix.lower()]())
        return file

    def _repr_html_(self) -> str:
        """What a notebook shows. An image: of SVG elements in one page, each would clip by the first one's outlines."""
        image = b64encode(self.svg().encode()).decode()
        title, caption = (escape(visible(text)) for text in (self.title, self.caption))
        return (
            f'<figure><img style="max-width: 100%" src="data:image/svg+xml;base64,{image}" alt="{title}">'
            f"<figcaption><b>{title}.</b> {caption}</figcaption></figure>"
        )


FIGURES: "list[Callable[[ReportData], Sequence[Figure]]]" = []
"""functions that make further figures for every report; append one to add figures"""


def schema_version() -> str:
    """The Vega-Lite version, such as 6.4, of Altair's specifications, as vl-convert names it."""
    from altair import SCHEMA_VERSION

    return ".".join(SCHEMA_VERSION.removeprefix("v").split(".")[:2])


@cache
def javascript() -> str:
    """Vega, Vega-Lite and vega-embed as one script, which sets `window.vegaEmbed`; takes seconds the first time, and
    is kept in the user's cache."""
    import vl_convert

    file = user_cache() / f"vega-{version('vl-convert-python')}-{schema_version()}.js"
    with suppress(OSError):
        return file.read_text(encoding="utf-8")
    # The type stub requires a snippet, the function does not.
    made = vl_convert.javascript_bundle(vl_version=schema_version())  # type: ignore[call-arg]
    with suppress(OSError):
        write_text(file, made)
    return made


@contextmanager
def unchecked() -> Iterator[None]:
    """Turns off Altair's schema validation in the block, and shortens its copying, which would triple the time to build
    a chart.

    Tests build the same figures with validation.
    """
    from altair.utils import schemapi

    copying = getattr(schemapi, "_deep_copy", None)  # private: another Altair without it is only slower
    if copying is not None:
        schemapi._deep_copy = _copied  # type: ignore[assignment]
    try:
        with schemapi.debug_mode(False):
            yield
    finally:
        if copying is not None:
            schemapi._deep_copy = copying


def _copied(value: Any, by_ref: set[str]) -> Any:
    """As Altair's `_deep_copy`, but without a call for each of the thirty options that a channel does not have."""
    from altair import SchemaBase, Undefined

    def copied(value: Any) -> Any:
        if isinstance(value, SchemaBase):
            return value.__class__(*map(copied, value._args), **options(value._kwds))
        if isinstance(value, dict):
            return options(value)
        return [copied(each) for each in value] if isinstance(value, list) else value

    def options(held: dict[str, Any]) -> dict[str, Any]:
        return {
            name: each if each is Undefined or type(each) is str or name in by_ref else copied(each)
            for name, each in held.items()
        }

    return copied(value)


def inline(table: pd.DataFrame) -> "alt.InlineData":
    """The rows of a table as a chart's inline data: numbers with DIGITS significant digits, None if not finite."""
    import altair as alt

    rows = [{name: _plain(value) for name, value in row.items()} for row in rows_of(table)]
    with unchecked():
        return alt.InlineData(values=rows)


def whole_ticks(values: pd.Series, most: int = 6) -> dict[str, Any]:
    """Options of an axis of whole numbers: at most `most` round ones between the ends of the values.

    Named one by one: where two numbers share an axis, Vega divides what is between them, and rounds it to `1 2 2`.
    """
    known = values.dropna()
    low, high = (int(known.min()), int(known.max())) if len(known) else (0, 0)
    steps = (digit * 10**power for power in range(12) for digit in (1, 2, 5))
    step = next(step for step in steps if high // step - (low - 1) // step <= most)
    first = -(-low // step) * step
    return {"values": list(range(first, high + 1, step)), "format": "d", "grid": False}


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, str | bool):
        return value
    if pd.isna(value) or value in (float("inf"), float("-inf")):
        return None
    whole = float(value).is_integer() and abs(value) < 2**53  # beyond that JSON's readers take no whole number
    return int(value) if whole else float(f"{value:.{DIGITS}g}")


def legend_selection() -> "alt.Parameter":
    """A selection of a cell by a click in the legend; the data's field must be called `cell`."""
    import altair as alt

    return alt.selection_point(name=PICK, fields=["cell"], bind="legend")


def opaque_if(condition: Any, full: float, otherwise: float) -> "alt.OpacityValue":
    """The opacity `full` where a parameter or an expression holds, else `otherwise`. An explicit OpacityValue, as for
    a bare condition Altair searches all its classes, at a hundred times the cost."""
    import altair as alt

    return alt.OpacityValue(**alt.when(condition).then(alt.value(full)).otherwise(alt.value(otherwise)))


def colour_by_cell(cells: Sequence[str], title: str | None = None) -> "alt.Color":
    """One colour per cell, in the order given; at most as many cells as there are COLOURS."""
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
