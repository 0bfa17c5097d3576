"""Which tables, figures and galleries a report has, in the order of the page, then those that were registered.

Figures are imported where they are called, because importing Altair is slow.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from itertools import chain
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.figures.cell_labels import featured_cells
from analysis.figures.changed_gallery import changed_galleries
from analysis.figures.feature_map_gallery import feature_map_galleries
from analysis.figures.gallery import Gallery, within_budget
from analysis.figures.landmark_gallery import landmark_galleries
from analysis.figures.theme import FIGURES, Figure, unchecked
from analysis.figures.thumbnails import Thumbnails
from analysis.records.run_directory import RunDirectory
from analysis.records.run_records import Records
from analysis.tables.ablation import ablation_table
from analysis.tables.confusion import confusion_and_per_class
from analysis.tables.factor_levels import factor_tables
from analysis.tables.factorial import anova_table, begun_anova, effects_table, interactions_table
from analysis.tables.feature_projections import Projections
from analysis.tables.gained_and_lost import why_and_changed
from analysis.tables.ladder_and_path import ladder_table, path_table
from analysis.tables.layer_diagnostics import activation_rows, diagnostics_table
from analysis.tables.learning_curves import curves_table, stability_table
from analysis.tables.search.pareto import cell_objectives, pareto_table
from analysis.tables.search.results import SearchResults, search_tables
from analysis.tables.spec import TABLES, ReportData
from core.aside import Aside
from core.errors import first_line

CURVE_CELLS = 500  # beyond which curves.csv alone would take as long as all the rest
SEARCH_CELLS = 100  # of a search in tables and figures by epoch, to keep them readable

_ANSWERED, _LEFT = "several finished configurations of a search", "which finished trials leave"
NEEDS = {
    "ablation": "an ablation",
    "factor": "a design that compares levels of a factor, and that factor",
    **dict.fromkeys(("effects", "interactions", "anova"), "design factorial"),
    **{"ladder": "design ladder", "path": "design path"},
    **{"stability": "finished trials of some epochs", "curves": "that metric, and an epoch that ended"},
    **dict.fromkeys(("confusion", "per_class"), f"predictions of classes, {_LEFT} in predictions/"),
    **dict.fromkeys(("why", "changed"), f"an ablation and its predictions, {_LEFT} in predictions/"),
    "projections": f"features, {_LEFT} in artifacts/",
    "diagnostics": "trials with `diagnostics: true`",
    **dict.fromkeys(("importance", "marginals", "top"), _ANSWERED),
    "rungs": "a search whose trial scheduler stopped trials",
    "pareto": "a search of several objectives",
    **dict.fromkeys(("compare", "compare_ablation", "compare_differences"), "two runs: `compare RUN_A RUN_B`"),
}
"""what a run must be or hold to have a table, in words"""
SHOWN = {
    **{name: name for name in ("ablation", "pareto", "importance", "marginals", "stability", "confusion")},
    **{"traces": "rungs", "optimism": "top", "pairs": "marginals", "parallel": "importance", "history": "top"},
    **{"curves": "curves", "confusion_change": "confusion", "pca": "projections", "tsne": "projections"},
    **dict.fromkeys(("activations", "dead_units", "updates"), "diagnostics"),
}
"""our figures by name, with the table whose needs are theirs; `curves` begins the names of several"""


Table = pd.DataFrame | Callable[[], pd.DataFrame]
"""a table, or what makes it once another process has computed the slow part"""


class Contents:
    """The tables and figures of a run's report; each part is computed when it is first asked for."""

    def __init__(self, records: Records, run: RunDirectory) -> None:
        self.records, self.run, self.search = records, run, SearchResults(records)
        self.unmade: dict[str, str] = {}
        """by what should have made them, why some figures are not there"""

    def tried(self, make: Callable[..., Figure | Sequence[Figure] | None], *given: Any) -> list[Figure]:
        """The figures that `make` gives; where it fails none, as a report is more than its figures."""
        try:
            found = make(*given)
            figures = [found] if isinstance(found, Figure) else [*(found or ())]
            for figure in figures:
                figure.spec()
            return figures
        except Exception as error:
            self.unmade[make.__name__] = f"{type(error).__name__}: {first_line(error)}"
            return []

    @cached_property
    def cells(self) -> list[str]:
        """Cells with trials of their own, best first; of a search only the best SEARCH_CELLS."""
        recorded = set(self.records.trials["cell"])
        cells = [cell for cell in self.search.ranking["cell"] if cell in recorded]
        return cells[:SEARCH_CELLS] if self.records.is_search else cells

    @cached_property
    def featured(self) -> dict[str, str]:
        return featured_cells(self.records, self.search.ranking)

    @cached_property
    def layers(self) -> pd.DataFrame:
        return activation_rows(self.records, self.run, self.search.ranking)

    def begin(self) -> None:
        """Begins what other processes compute: projections, analysis of variance."""
        _ = self.projections, self.anova

    @cached_property
    def projections(self) -> Projections:
        return Projections(self.records, self.run, self.featured)

    @cached_property
    def anova(self) -> "Aside[pd.DataFrame] | None":
        asked = not self.records.is_search and self.records.traits.question == "effects"
        return begun_anova(self.records, self.records.metric) if asked else None

    @cached_property
    def first_table(self) -> tuple[str, pd.DataFrame]:
        """(name, table) of the one that answers the study's question."""
        if self.records.is_search:
            return "ranking", self.search.ranking
        return "ablation", ablation_table(self.records, self.records.metric)

    @cached_property
    def _of_records(self) -> dict[str, Table]:
        return tables_of_records(self)

    @cached_property
    def _of_files(self) -> dict[str, Table]:
        return further_tables(self)

    @cached_property
    def quick_tables(self) -> dict[str, pd.DataFrame]:
        """Those made from records alone."""
        return {name: _made(table) for name, table in self._of_records.items()}

    @cached_property
    def soon_tables(self) -> dict[str, pd.DataFrame]:
        """Ours that wait for no other process."""
        both = self._of_records | self._of_files
        return {name: table for name, table in both.items() if isinstance(table, pd.DataFrame)}

    @cached_property
    def tables(self) -> dict[str, pd.DataFrame]:
        """All, in the order of the report, by file name."""
        further = {name: (table, _made(table)) for name, table in self._of_files.items()}
        tables = self.quick_tables | {
            name: made for name, (table, made) in further.items() if made is table or len(made)
        }
        return tables | registered_tables(self._data(tables))

    @cached_property
    def soon_figures(self) -> tuple[list[Figure], list[Figure]]:
        """Ours made from `soon_tables`: those that stand before the projections', and those after."""
        with unchecked():
            return report_figures(self, self.soon_tables)

    @cached_property
    def figures(self) -> list[Figure]:
        """All, in the order of the page within each section."""
        from analysis.figures.feature_scatter import projection_figures

        before, after = self.soon_figures
        with unchecked():
            projections = self.tables.get("projections", pd.DataFrame())
            found = self.tried(projection_figures, self.records, projections, self.featured)
            data = self._data(self.tables)
            return [*before, *found, *after, *chain(*(self.tried(make, data) for make in FIGURES))]

    def table(self, name: str) -> pd.DataFrame | None:
        """A table by its file name, at the cost of no slower ones; None where the run has none of that name."""
        if name == "ranking":
            return self.search.ranking
        return self.quick_tables[name] if name in self.quick_tables else self.tables.get(name)

    def lacking(self, name: str) -> str:
        """What the run would need to have a table of ours that it has not, and what it is, as a clause; else empty."""
        family, _, rest = name.partition("_")
        needs = NEEDS.get(name) or NEEDS.get(family if family == "factor" else "", "")
        if family == "ablation" and rest:
            needs = f'{rest} among its further_metrics (table("ablation", metric={rest!r}) makes the same)'
        if not needs:
            return ""
        records = self.records
        kind = "a search" if records.is_search else f"an ablation of design {records.design}"
        return f"; it needs {needs}, and this is {kind} with {len(records.finished)} finished trials"

    def _data(self, tables: Mapping[str, pd.DataFrame]) -> ReportData:
        return ReportData(self.records, self.run, tables)


def _made(table: Table) -> pd.DataFrame:
    return table if isinstance(table, pd.DataFrame) else table()


def report_tables(records: Records) -> dict[str, pd.DataFrame]:
    """The tables made from records alone, by file name."""
    return Contents(records, RunDirectory(Path())).quick_tables


def tables_of_records(made: Contents) -> dict[str, Table]:
    """Ranking; for an ablation the comparisons, for a search of several objectives the Pareto front."""
    records, search = made.records, made.search
    tables: dict[str, Table] = {"ranking": search.ranking}
    if records.is_search:
        front = {"pareto": pareto_table(records)} if len(records.objectives) > 1 else {}
        return tables | front | search_tables(search)
    metric = records.metric
    tables["ablation"] = ablation = made.first_table[1]
    for further in records.study.get("further_metrics", []):
        tables[f"ablation_{further}"] = ablation_table(records, further)
    question = records.traits.question
    if question == "effects":
        tables["effects"] = effects_table(records, metric)
        tables["interactions"] = interactions_table(records, metric)
        tables["anova"] = partial(anova_table, records, metric, made.anova)
    if question == "rungs":
        tables["ladder"] = ladder_table(records, ablation)
    if question == "steps":
        tables["path"] = path_table(records)
    return tables | factor_tables(records, ablation)


def further_tables(made: Contents) -> dict[str, Table]:
    """The tables by epoch, and those of files that trials left (predictions, features, diagnostics), where there are
    any."""
    records, run, cells, layers = made.records, made.run, made.cells, made.layers
    confusion, per_class = confusion_and_per_class(records, run, cells)
    why, changed = why_and_changed(records, run)
    always: dict[str, Table] = {
        "curves": curves_table(records, cells[:CURVE_CELLS]),
        "stability": stability_table(records, cells),
    }
    left: dict[str, Table] = {
        **{"confusion": confusion, "per_class": per_class, "why": why, "changed": changed},
        "projections": made.projections.table,
        "diagnostics": diagnostics_table(layers) if len(layers) else layers,
    }
    return always | {name: table for name, table in left.items() if callable(table) or len(table)}


def registered_tables(data: ReportData) -> dict[str, pd.DataFrame]:
    """The registered tables that have a `make` function, without empty ones."""
    made = {spec.name: spec.make(data) for spec in TABLES.values() if spec.make is not None}
    return {name: table for name, table in made.items() if len(table)}


def report_figures(made: Contents, tables: Mapping[str, pd.DataFrame]) -> tuple[list[Figure], list[Figure]]:
    """The report's figures of these tables, in the order of the page within each section: those before the projections'
    and those after."""
    from analysis.figures.confusion_matrices import confusion_figures
    from analysis.figures.cost_plot import cost_figure
    from analysis.figures.forest_plot import forest_plot
    from analysis.figures.layer_plots import activation_figures
    from analysis.figures.learning_curve_plots import curve_figures
    from analysis.figures.search.pareto_front import pareto_figure
    from analysis.figures.steadiness_plot import stability_figure

    records, search, tried, figures = made.records, made.search, made.tried, list[Figure]()
    if "ablation" in tables:
        figures += tried(forest_plot, tables["ablation"])
    figures += tried(cost_figure, tables["ranking"], records.is_search)
    if "pareto" in tables and len(tables["pareto"]):
        front = list(tables["pareto"]["cell"])
        figures += tried(pareto_figure, cell_objectives(records), records.objectives, front)
    figures += tried(search_figures, search, tables)
    figures += tried(curve_figures, records, tables["curves"], made.cells)
    figures += tried(stability_figure, tables["stability"])
    figures += tried(confusion_figures, records, tables, made.featured)
    return figures, tried(activation_figures, made.layers)


def search_figures(search: SearchResults, tables: Mapping[str, pd.DataFrame]) -> list[Figure]:
    """Figures of a search's report, `tables` being those of `search_tables`; none for an ablation."""
    from analysis.figures.search.importance_bars import importance_figure
    from analysis.figures.search.marginal_curves import marginals_figure, pairs_figure
    from analysis.figures.search.parallel_coordinates import parallel_figure
    from analysis.figures.search.trial_history import history_figure, traces_figure
    from analysis.figures.search.validation_and_test import optimism_figure

    records = search.records
    if not records.is_search:
        return []
    figures: list[Figure | None] = [history_figure(records)]
    if "rungs" in tables:
        figures.append(traces_figure(records, tables["rungs"]))
    # These show the first of several objectives, which may be one without any importances.
    keys = search.keys(tables["importance"]) if "importance" in tables else []
    if keys:
        figures.append(importance_figure(search, tables["importance"]))
    if "top" in tables:
        figures.append(optimism_figure(records))
    if keys:
        figures += [marginals_figure(search.forest, tables["marginals"]), pairs_figure(search.forest, keys)]
        figures.append(parallel_figure(search.by_objective[0], keys))
    return [figure for figure in figures if figure is not None]


def galleries(
    records: Records, run: RunDirectory, tables: Mapping[str, pd.DataFrame], featured: Mapping[str, str]
) -> list[Gallery]:
    """Test images gained and lost, landmarks on faces, filters, feature maps; all of them within a page's budget."""
    thumbnails = Thumbnails(run)
    changed = changed_galleries(records, tables["changed"], thumbnails) if "changed" in tables else []
    landmarks = landmark_galleries(records, run, thumbnails, featured)
    return within_budget([*changed, *landmarks, *feature_map_galleries(records, run, featured)])
