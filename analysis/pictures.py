"""The pictures of a report: which figures and galleries there are, in the order of the page."""

from collections.abc import Mapping

import pandas as pd

from analysis.activation_figures import activation_figures
from analysis.activations import diagnostics_table
from analysis.charts import Figure
from analysis.confusion_figures import confusion_figures
from analysis.feature_maps import feature_map_galleries
from analysis.galleries import Gallery, within_budget
from analysis.overlays import landmark_galleries
from analysis.projection_figures import projection_figures
from analysis.projections import projections_table
from analysis.schema import RunDirectory
from analysis.store import Records
from analysis.thumbnails import Thumbnails, changed_galleries


def picture_tables(
    records: Records, run: RunDirectory, shown: Mapping[str, str], rows: pd.DataFrame
) -> dict[str, pd.DataFrame]:
    """Tables that pictures are drawn of, as far as trials left what they are made of: `projections` of the cells of
    `shown_cells`, `diagnostics` of the rows of `activation_rows`."""
    made = {"projections": projections_table(records, run, shown)}
    if len(rows):
        made["diagnostics"] = diagnostics_table(rows)
    return {name: table for name, table in made.items() if len(table)}


def picture_figures(
    records: Records, tables: Mapping[str, pd.DataFrame], shown: Mapping[str, str], rows: pd.DataFrame
) -> list[Figure]:
    """Confusion matrices and their change, features in the plane, activations; `tables` with `picture_tables`."""
    return [
        *confusion_figures(records, tables, shown),
        *projection_figures(records, tables.get("projections", pd.DataFrame()), shown),
        *activation_figures(rows),
    ]


def galleries(
    records: Records, run: RunDirectory, tables: Mapping[str, pd.DataFrame], shown: Mapping[str, str]
) -> list[Gallery]:
    """Test pictures gained and lost, landmarks on faces, filters, feature maps; all of them within a page's budget."""
    thumbnails = Thumbnails(run)
    changed = changed_galleries(records, tables["changed"], thumbnails) if "changed" in tables else []
    landmarks = landmark_galleries(records, run, thumbnails, shown)
    return within_budget([*changed, *landmarks, *feature_map_galleries(records, run, shown)])
