"""TODO."""

from collections.abc import Mapping, Sequence

import pandas as pd

from analysis.figures.changed_gallery import Thumbnails, changed_galleries
from analysis.figures.confusion_matrices import confusion_figures
from analysis.figures.feature_map_gallery import feature_map_galleries
from analysis.figures.feature_scatter import projection_figures
from analysis.figures.forest_plot import forest
from analysis.figures.gallery import Gallery, within_budget
from analysis.figures.landmark_gallery import landmark_galleries
from analysis.figures.layer_plots import activation_figures
from analysis.figures.learning_curve_plots import curve_figures
from analysis.figures.search.importance_bars import importance_figure
from analysis.figures.search.marginal_curves import marginals_figure, pairs_figure
from analysis.figures.search.parallel_coordinates import parallel_figure
from analysis.figures.search.pareto_front import pareto_figure
from analysis.figures.search.trial_history import history_figure, traces_figure
from analysis.figures.search.validation_and_test import optimism_figure
from analysis.figures.steadiness_plot import stability_figure
from analysis.figures.theme import Figure
from analysis.records.run_directory import RunDirectory
from analysis.records.run_records import Records
from analysis.tables.ablation import ablation_table
from analysis.tables.factor_levels import factor_tables
from analysis.tables.factorial import anova_table, effects_table, interactions_table
from analysis.tables.feature_projections import projections_table
from analysis.tables.ladder_and_path import ladder_table, path_table
from analysis.tables.layer_diagnostics import diagnostics_table
from analysis.tables.search.pareto import cell_objectives, pareto_table
from analysis.tables.search.results import Search, search_tables


def search_figures(search: Search, tables: Mapping[str, pd.DataFrame]) -> list[Figure]:
    """Figures of a search's report, `tables` being those of `search_tables`; none for an ablation."""
    records = search.records
    if not records.is_search:
        return []
    figures: list[Figure | None] = [history_figure(records)]
    if "rungs" in tables:
        figures.append(traces_figure(records, tables["rungs"]))
    # Of several objectives the first, which these are of, may be the one that tells no settings apart.
    keys = search.keys(tables["importance"]) if "importance" in tables else []
    if keys:
        figures.append(importance_figure(search, tables["importance"]))
    if "top" in tables:
        figures.append(optimism_figure(records))
    if keys:
        figures += [marginals_figure(search.forest, tables["marginals"]), pairs_figure(search.forest, keys)]
        figures.append(parallel_figure(search.judged[0], keys))
    return [figure for figure in figures if figure is not None]


SEARCH_CELLS = 100


def report_tables(records: Records, search: Search | None = None) -> dict[str, pd.DataFrame]:
    """The tables that records alone give, by file name: ranking; for an ablation the comparisons, for a search of
    several objectives the Pareto front. `search` is what goes on with what they rest on, such as figures."""
    search = search or Search(records)
    tables = {"ranking": search.ranking}
    if records.is_search:
        front = {"pareto": pareto_table(records)} if len(records.objectives) > 1 else {}
        return tables | front | search_tables(search)
    metric = records.metric
    tables["ablation"] = ablation_table(records, metric)
    for further in records.study.get("further_metrics", []):
        tables[f"ablation_{further}"] = ablation_table(records, further)
    if records.design == "factorial":
        tables["effects"] = effects_table(records, metric)
        tables["interactions"] = interactions_table(records, metric)
        tables["anova"] = anova_table(records, metric)
    if records.design == "ladder":
        tables["ladder"] = ladder_table(records, tables["ablation"])
    if records.design == "path":
        tables["path"] = path_table(records)
    return tables | factor_tables(records, tables["ablation"])


def _own_cells(records: Records, ranking: pd.DataFrame) -> list[str]:
    """Cells with trials of their own, best first; of a search the best hundred, which keeps its curves readable."""
    recorded = set(records.trials["cell"])
    cells = [cell for cell in ranking["cell"] if cell in recorded]
    return cells[:SEARCH_CELLS] if records.is_search else cells


def report_figures(search: Search, tables: dict[str, pd.DataFrame], cells: Sequence[str]) -> list[Figure]:
    """The figures of the report, in the order of the page within each of its sections; `cells` come best first."""
    records, figures = search.records, list[Figure | None]()
    if "ablation" in tables:
        figures.append(forest(tables["ablation"]))
    if "pareto" in tables and len(tables["pareto"]):
        front = list(tables["pareto"]["cell"])
        figures.append(pareto_figure(cell_objectives(records), records.objectives, front))
    figures += search_figures(search, tables)
    figures += curve_figures(records, tables["curves"], cells)
    figures.append(stability_figure(tables["stability"]))
    return [figure for figure in figures if figure is not None]


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
