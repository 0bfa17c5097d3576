"""Figures of activation diagnostics: dead units and updates by layer and epoch, spread and gradients by layer."""

from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from analysis.figures.cell_labels import labels
from analysis.figures.theme import (
    MAXIMUM_MARKS,
    NEUTRAL,
    Figure,
    colour_by_cell,
    inline,
    legend_selection,
    opaque_if,
    spans_decades,
    whole_ticks,
)
from analysis.records.columns import evenly_spaced, last_epochs
from analysis.tables.layer_diagnostics import MAXIMUM_CELLS, RULES, findings, has_weights, rectifies

MAXIMUM_LAYERS = 40  # of one panel
PANEL, LINES, HEIGHT = 210, 270, 220  # pixels
ROW, LEAST = 14, 60  # pixels: height of a layer, least height of a panel
DECADES = 6  # of the logarithmic colour scale of updates
SENTENCES = 8
ORANGE = "213,94,0"
DIM = 0.1


def activation_figures(rows: pd.DataFrame) -> list[Figure]:
    """Figures of `activation_rows`; the first figure's caption begins with the `findings`."""
    if rows.empty:
        return []
    rows = rows.assign(cell=rows["cell"].map(labels(rows["cell"].unique())))
    said, dead = findings(rows), rows.loc[rectifies(rows["kind"])]
    more = f"{len(said) - SENTENCES} more findings of this sort are left out." if len(said) > SENTENCES else ""
    caption = " ".join(filter(None, [*said[:SENTENCES], more, RULES if said else ""]))
    if len(dead) and not (dead["dead"] > 0).any():
        caption += " No unit of a rectifier is dead in any epoch."
    figures = [_by_layer(rows, caption.strip())]
    if (dead["dead"] > 0).any():
        figures.append(_dead(dead))
    moved = rows.loc[has_weights(rows["kind"]) & (rows["update_ratio"] > 0)]
    return [*figures, _updates(moved)] if len(moved) else figures


def _by_layer(rows: pd.DataFrame, said: str) -> Figure:
    """Spread of outputs and gradients of layers with weights in the last epoch, one line per cell."""
    last = rows.loc[last_epochs(rows, "cell", "seed") & has_weights(rows["kind"])]
    cells = list(dict.fromkeys(last["cell"]))
    table = last.groupby(["cell", "place", "layer"], sort=False)[["std", "gradient_norm"]].mean().reset_index()
    table["number"] = table.groupby("cell", sort=False).cumcount() + 1
    alike = table.groupby("cell", sort=False)["layer"].agg(tuple).nunique() == 1
    pick = legend_selection()
    panels = []
    for column, title in (("std", "standard deviation of the outputs"), ("gradient_norm", "norm of the gradient")):
        part = table.dropna(subset=column)
        positive = part.loc[part[column] > 0]
        logarithmic = spans_decades(positive[column])
        part = positive if logarithmic else part
        scale = alt.Scale(type="log", nice=False) if logarithmic else alt.Scale(zero=True)
        layers = list(dict.fromkeys(part["layer"]))
        ticks = whole_ticks(part["number"])
        x: alt.X = alt.X("number:Q", title="layer with weights, from the input on").axis(**ticks)
        if alike and len(layers) <= MAXIMUM_LAYERS:
            axis = alt.Axis(labelAngle=-40, labelOverlap=len(layers) > 18, grid=False)
            x = alt.X("layer:N", title=None, sort=None, scale=alt.Scale(domain=layers), axis=axis)
        y = alt.Y(f"{column}:Q", title=None, scale=scale, axis=alt.Axis(format="~g"))
        line = (
            alt.Chart(inline(part[["cell", "layer", "number", column]]))
            .mark_line(strokeWidth=1.6, point=alt.OverlayMarkDef(size=24))
            .encode(
                x=x,
                y=y,
                color=colour_by_cell(cells),
                opacity=opaque_if(pick, 1, DIM),
                tooltip=[alt.Tooltip("cell:N"), alt.Tooltip("layer:N"), alt.Tooltip(f"{column}:Q", format=".3g")],
            )
        )
        panels.append(line.properties(width=LINES, height=HEIGHT, title=title))
    panels[0] = panels[0].add_params(pick)
    caption = (
        f"{said} In the last epoch, means over seeds, on the same training pictures. A spread that falls from layer to "
        "layer, or a gradient that falls towards the input, is a signal that dies out; what is 0 is not drawn."
    )
    if rows["cell"].nunique() == MAXIMUM_CELLS:
        caption += f" At most {MAXIMUM_CELLS} cells."
    return Figure("activations", "pictures", "Signal and gradient by layer", caption.strip(), alt.concat(*panels))


def _dead(rows: pd.DataFrame) -> Figure:
    scale = alt.Scale(domain=[0, 1], range=[f"rgba({ORANGE},0)", f"rgba({ORANGE},1)"])
    colour = alt.Color("dead:Q", title="share of dead units", scale=scale).legend(format="%", values=[0, 0.5, 1])
    caption = "Share of a rectifier's units that are 0 for every one of the probe pictures, mean over seeds."
    chart, left = _heatmaps(rows, "dead", colour, ".0%")
    return Figure("dead_units", "pictures", "Dead units by layer and epoch", caption + left, chart)


def _updates(rows: pd.DataFrame) -> Figure:
    top = float(rows["update_ratio"].max())
    low = max(float(rows["update_ratio"].min()), top / 10**DECADES)
    domain = [low if low < top else top / 10, top]
    scale = alt.Scale(type="log", domain=domain, scheme="viridis", clamp=True)
    colour = alt.Color("update_ratio:Q", title="change in an epoch ÷ size", scale=scale).legend(
        format="~g", tickCount=4
    )
    caption = (
        "How far an epoch moves a layer's weights, as a share of their norm; geometric mean over seeds. "
        "Blank: not at all."
    )
    chart, left = _heatmaps(rows, "update_ratio", colour, ".2g")
    return Figure("updates", "pictures", "Change of the weights by layer and epoch", caption + left, chart)


def _heatmaps(rows: pd.DataFrame, column: str, colour: alt.Color, tip: str) -> tuple[alt.ConcatChart, str]:
    """(one panel per cell, layers from the input on; the caption's sentences on what is left out)."""
    values = rows.assign(value=np.log(rows[column]) if column == "update_ratio" else rows[column])
    table = values.groupby(["cell", "place", "layer", "epoch"], sort=False)["value"].mean().reset_index(name=column)
    if column == "update_ratio":
        table[column] = np.exp(table[column])
    parts = {cell: part.sort_values(["place", "epoch"]) for cell, part in table.groupby("cell", sort=False)}
    kept_layers = {cell: _some(list(dict.fromkeys(part["layer"])), MAXIMUM_LAYERS) for cell, part in parts.items()}
    room = MAXIMUM_MARKS // sum(map(len, kept_layers.values()))
    kept_epochs = set(_some(sorted(table["epoch"].unique()), max(2, room)))
    fewer = any(len(kept_layers[cell]) < part["layer"].nunique() for cell, part in parts.items())
    panels = []
    for cell, part in parts.items():
        layers = kept_layers[cell]
        shown = part.loc[part["layer"].isin(layers) & part["epoch"].isin(kept_epochs)]
        x_axis = alt.Axis(labelAngle=0, labelOverlap=True, grid=False, ticks=False, domain=False, titleAnchor="middle")
        y_axis = alt.Axis(grid=False, ticks=False, domain=False, labelLimit=150, labelOverlap=True)
        panel = (
            alt.Chart(inline(shown[["layer", "epoch", column]]))
            .mark_rect()
            .encode(
                x=alt.X("epoch:O", axis=x_axis),
                y=alt.Y("layer:N", title=None, sort=None, axis=y_axis, scale=alt.Scale(domain=layers)),
                color=colour,
                tooltip=[alt.Tooltip("layer:N"), alt.Tooltip("epoch:O"), alt.Tooltip(f"{column}:Q", format=tip)],
            )
        )
        frame = alt.ViewBackground(stroke=NEUTRAL, strokeOpacity=0.5)
        height = max(LEAST, ROW * len(layers))
        panels.append(panel.properties(width=PANEL, height=height, title=str(cell), view=frame))
    left = f" Of deep networks {MAXIMUM_LAYERS} layers, evenly spaced." if fewer else ""
    left += "" if len(kept_epochs) == table["epoch"].nunique() else " Evenly spaced epochs."
    return alt.concat(*panels, columns=2), left


def _some(values: Sequence[Any], limit: int) -> list[Any]:
    return [values[place] for place in evenly_spaced(len(values), limit)]
