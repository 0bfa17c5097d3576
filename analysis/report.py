"""The report of a run, from its records alone: every table and figure, and one page that opens offline.

It works on a run of any state and says what it cannot tell yet. Each file is replaced in one step.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from analysis import manifest
from analysis.ablation import ablation_table, effects_table, interactions_table
from analysis.activations import activation_rows
from analysis.anova import anova_table
from analysis.charts import Figure, unchecked
from analysis.curves import curve_figures, curves_table
from analysis.files import write_table
from analysis.forest import forest
from analysis.ladder import ladder_table
from analysis.levels import factor_tables
from analysis.page import page
from analysis.pareto import cell_objectives, objectives_of, pareto_table
from analysis.pareto_figure import pareto_figure
from analysis.path import path_table
from analysis.pictures import galleries, picture_figures, picture_tables
from analysis.predictions import confusion_and_per_class
from analysis.schema import RunDirectory
from analysis.search import Search, search_notes, search_tables
from analysis.search_figures import search_figures
from analysis.shown import shown_cells
from analysis.stability import stability_figure, stability_table
from analysis.store import Records, write_parquet
from analysis.why import why_and_changed
from core.files import write_text

SEARCH_CELLS = 100
CURVE_CELLS = 500  # beyond which curves.csv alone would take as long as all the rest


@dataclass(frozen=True)
class Report:
    """What a report was made of: the path of its page, the run's records, the tables by file name."""

    index: Path
    records: Records
    tables: dict[str, pd.DataFrame]


def report_tables(records: Records, search: Search | None = None) -> dict[str, pd.DataFrame]:
    """The tables that records alone give, by file name: ranking; for an ablation the comparisons, for a search of
    several objectives the Pareto front. `search` is what goes on with what they rest on, such as figures."""
    search = search or Search(records)
    tables = {"ranking": search.ranking}
    if records.is_search:
        front = {"pareto": pareto_table(records)} if len(objectives_of(records)) > 1 else {}
        return tables | front | search_tables(search)
    metric = str(records.study["metric"])
    tables["ablation"] = ablation_table(records, metric)
    for further in records.study.get("further_metrics", []):
        tables[f"ablation_{further}"] = ablation_table(records, further)
    if records.study.get("design") == "factorial":
        tables["effects"] = effects_table(records, metric)
        tables["interactions"] = interactions_table(records, metric)
        tables["anova"] = anova_table(records, metric)
    if records.study.get("design") == "ladder":
        tables["ladder"] = ladder_table(records, tables["ablation"])
    if records.study.get("design") == "path":
        tables["path"] = path_table(records)
    return tables | factor_tables(records, tables["ablation"])


def write_report(run_dir: Path) -> Path:
    """(Re)write trials.parquet, epochs.parquet and report/ of a run; returns the path of index.html.

    What an earlier report wrote and this one does not is deleted; files of others in the folder stay.
    """
    return make_report(run_dir).index


def make_report(run_dir: Path) -> Report:
    """`write_report`, for who goes on with what it read and computed."""
    run = RunDirectory(Path(run_dir))
    records = write_parquet(run.root)
    search = Search(records)
    tables = report_tables(records, search)
    cells = _own_cells(records, tables["ranking"])
    tables["curves"] = curves_table(records, cells[:CURVE_CELLS])
    tables["stability"] = stability_table(records, cells)
    confusion, per_class = confusion_and_per_class(records, run, cells)
    if len(confusion):
        tables |= {"confusion": confusion, "per_class": per_class}
    why, changed = why_and_changed(records, run)
    tables |= {name: table for name, table in (("why", why), ("changed", changed)) if len(table)}
    shown, rows = shown_cells(records, tables["ranking"]), activation_rows(records, run, tables["ranking"])
    tables |= picture_tables(records, run, shown, rows)
    with unchecked():
        figures = [*report_figures(search, tables, cells), *picture_figures(records, tables, shown, rows)]
        notes = search_notes(search, tables.get("importance"), run.address)
        text = page(records, tables, figures, galleries(records, run, tables, shown), notes)
    (run.report / manifest.FIGURES).mkdir(parents=True, exist_ok=True)
    files = manifest.files_of(tables, [figure.name for figure in figures])
    earlier = manifest.announce(run.report, files)
    for name, table in tables.items():
        write_table(table, run.report, name)
    for figure in figures:
        write_text(run.report / manifest.FIGURES / f"{figure.name}.svg", figure.svg())
    index = run.report / "index.html"
    write_text(index, text)
    manifest.settle(run.report, files, earlier)
    return Report(index, records, tables)


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
        figures.append(pareto_figure(cell_objectives(records), objectives_of(records), front))
    figures += search_figures(search, tables)
    figures += curve_figures(records, tables["curves"], cells)
    figures.append(stability_figure(tables["stability"]))
    return [figure for figure in figures if figure is not None]
