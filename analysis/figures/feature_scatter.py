"""Figures of PCA and t-SNE of features: one row per cell, one panel per split, coloured by class."""

import colorsys
from collections.abc import Mapping, Sequence

import altair as alt
import numpy as np
import pandas as pd

from analysis.figures.cell_labels import label
from analysis.figures.theme import COLOURS, NEUTRAL, Figure, inline, opaque_if
from analysis.records.run_records import Records
from analysis.tables.formatting import SPLIT_TITLES, number

PANEL = 190  # pixels, either way
LEGEND_CLASSES = 60  # with more there is no legend, only tooltips
PICK = "pick_class"
DIM = 0.06
METHODS = {
    "pca": "PCA fitted on the training features, with the other splits projected onto its axes; each axis says its "
    "share of the variance.",
    "tsne": "t-SNE of all splits together, after PCA to 50 dimensions: near points are alike, distances between groups "
    "say nothing.",
}


def projection_figures(records: Records, projections: pd.DataFrame, shown: Mapping[str, str]) -> list[Figure]:
    """The PCA and the t-SNE figure, each if it has coordinates; with a single class, colour is the split."""
    if projections.empty:
        return []
    titles = {"pca": "Features before the last layer, PCA", "tsne": "Features before the last layer, t-SNE"}
    figures = (_figure(method, title, records, projections, shown) for method, title in titles.items())
    return [figure for figure in figures if figure]


def _figure(
    method: str, title: str, records: Records, projections: pd.DataFrame, shown: Mapping[str, str]
) -> Figure | None:
    x, y = f"{method}_1", f"{method}_2"
    rows = projections.dropna(subset=[x, y]).rename(columns={x: "x", y: "y"})
    rows["split"] = rows["split"].map(SPLIT_TITLES).fillna(rows["split"])
    if rows.empty:
        return None
    classes = records.in_class_order(rows["class"])
    splits = [name for name in SPLIT_TITLES.values() if name in set(rows["split"])]
    by = "class" if len(classes) > 1 else "split"
    domain = classes if by == "class" else splits
    panels = []
    for cell in [cell for cell in shown if cell in set(rows["cell"])]:
        own = rows.loc[rows["cell"] == cell]
        parts = [own.loc[own["split"] == split] for split in splits] if by == "class" else [own]
        names = splits if by == "class" else [""]
        for place, (part, name) in enumerate(zip(parts, names, strict=True)):
            head = " · ".join(filter(None, [shown[cell] if place == 0 else "", name]))
            panels.append(_panel(part, own, method, by, domain, first=place == 0).properties(title=head))
    panels[0] = panels[0].add_params(alt.selection_point(name=PICK, fields=[by], bind="legend"))
    chart = alt.concat(*panels, columns=len(splits) if by == "class" else 2)
    return Figure(method, "pictures", title, _caption(METHODS[method], rows, by), chart)


def _panel(
    part: pd.DataFrame, own: pd.DataFrame, method: str, by: str, domain: Sequence[str], first: bool
) -> alt.Chart:
    """The points of `part` on the axes of `own`, the whole trial."""
    frame = alt.ViewBackground(stroke=NEUTRAL, strokeOpacity=0.5)
    axes = []
    for name, column in (("x", "pca_share_1"), ("y", "pca_share_2")):
        low, high = float(own[name].min()), float(own[name].max())
        room = 0.04 * (high - low) or 1.0
        title = f"PC {column[-1]}, {own[column].iloc[0]:.0%}".replace("%", " %") if method == "pca" else None
        shown = first or name == "x"
        axis = alt.Axis(labels=False, ticks=False, grid=False, domain=False, titleAnchor="middle")
        scale = alt.Scale(domain=[low - room, high + room], nice=False, zero=False)
        axes.append((title if shown else None, axis, scale))
    (x_title, x_axis, x_scale), (y_title, y_axis, y_scale) = axes
    size = 34 if len(own) < 300 else 22 if len(own) < 800 else 16
    colours = alt.Scale(domain=list(domain), range=colours_of(len(domain)))
    columns = min(10, max(2, 70 // (4 + max(map(len, domain)))))
    legend = alt.Legend(columns=columns, symbolLimit=LEGEND_CLASSES, symbolOpacity=1, symbolStrokeWidth=0)
    pick = alt.selection_point(name=PICK, fields=[by], bind="legend")
    return (
        alt.Chart(inline(part[["x", "y", "class", "split", "index"]]))
        .mark_circle(size=size, aria=False)
        .encode(
            x=alt.X("x:Q", title=x_title, axis=x_axis, scale=x_scale),
            y=alt.Y("y:Q", title=y_title, axis=y_axis, scale=y_scale),
            color=alt.Color(
                f"{by}:N", title=by, scale=colours, legend=legend if len(domain) <= LEGEND_CLASSES else None
            ),
            opacity=opaque_if(pick, 0.75, DIM),
            tooltip=list(map(alt.Tooltip, ("class:N", "split:N", "index:Q"))),
        )
        .properties(width=PANEL, height=PANEL, view=frame)
    )


def colours_of(count: int) -> list[str]:
    """The report's colours; for more classes evenly spaced hues with two alternating lightnesses."""
    if count <= len(COLOURS):
        return list(COLOURS[:count])
    made = (colorsys.hls_to_rgb(i / count, 0.42 if i % 2 else 0.6, 0.65) for i in range(count))
    return ["#" + "".join(f"{round(255 * part):02x}" for part in colour) for colour in made]


def _caption(what: str, rows: pd.DataFrame, by: str) -> str:
    said = [f"{what} The first seed of each cell."]
    per_trial = rows.drop_duplicates("trial").set_index("cell")
    if by == "split":
        said.append("All pictures are of one class, so colour is the split.")
    separable = [
        f"{number(row['neighbours_accuracy'], 3)} of the test features in {label(str(cell))}"
        for cell, row in per_trial.iterrows()
        if not np.isnan(row["neighbours_accuracy"])
    ]
    if separable:
        share = number(float(per_trial["majority_share"].iloc[0]), 2)
        said.append(
            f"How separable the classes are: the five nearest training features vote for the right class of "
            f"{' and '.join(separable)} (the most frequent class is {share} of all)."
        )
    left = int(per_trial["left_out"].sum())
    if left:
        said.append(f"{left} features are not finite and left out.")
    return " ".join(said)
