"""The pictures of a report: which figures and galleries there are, in the order of the page."""

from collections.abc import Mapping

import pandas as pd

from analysis.activation_figures import activation_figures
from analysis.activations import activation_rows, diagnostics_table
from analysis.charts import Figure
from analysis.confusion_figures import confusion_figures
from analysis.feature_maps import feature_map_galleries
from analysis.galleries import Gallery, within_budget
from analysis.overlays import landmark_galleries
from analysis.projection_figures import projection_figures
from analysis.projections import projections_table
from analysis.schema import RunDirectory
from analysis.shown import shown_cells
from analysis.store import Records
from analysis.thumbnails import Thumbnails, changed_galleries


def picture_tables(records: Records, run: RunDirectory, tables: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Tables that pictures are drawn of, as far as trials left what they are made of: `projections`, `diagnostics`."""
    shown = shown_cells(records, tables["ranking"])
    rows = activation_rows(records, run, tables["ranking"])
    made = {"projections": projections_table(records, run, shown)}
    if len(rows):
        made["diagnostics"] = diagnostics_table(rows)
    return {name: table for name, table in made.items() if len(table)}


def picture_figures(records: Records, run: RunDirectory, tables: Mapping[str, pd.DataFrame]) -> list[Figure]:
    """Confusion matrices and their change, features in the plane, activations; `tables` with `picture_tables`."""
    shown = shown_cells(records, tables["ranking"])
    projections = tables.get("projections", pd.DataFrame())
    rows = activation_rows(records, run, tables["ranking"]) if "diagnostics" in tables else pd.DataFrame()
    return [
        *confusion_figures(records, tables, shown),
        *projection_figures(records, projections, shown),
        *activation_figures(rows),
    ]


def galleries(records: Records, run: RunDirectory, tables: Mapping[str, pd.DataFrame]) -> list[Gallery]:
    """Test pictures gained and lost, landmarks on faces, filters, feature maps; all of them within a page's budget."""
    shown = shown_cells(records, tables["ranking"])
    thumbnails = Thumbnails(run)
    changed = changed_galleries(records, tables["changed"], thumbnails) if "changed" in tables else []
    landmarks = landmark_galleries(records, run, thumbnails, shown)
    return within_budget([*changed, *landmarks, *feature_map_galleries(records, run, shown)])
