"""The report of a run, from its records alone: every table and figure, and one page that opens offline.

It works on a run of any state and says what it cannot tell yet. Each file is replaced in one step.
"""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from analysis import figures, manifest
from analysis.ablation import ablation_table, effects_table, interactions_table
from analysis.anova import anova_table
from analysis.files import write_table, write_text
from analysis.ladder import ladder_table
from analysis.levels import factor_tables
from analysis.page import page
from analysis.pareto import cell_objectives, objectives_of, pareto_table
from analysis.predictions import confusion_and_per_class
from analysis.ranking import ranking_table
from analysis.schema import RunDirectory
from analysis.store import Records, write_parquet
from analysis.why import why_table

SEARCH_CELLS = 100


def report_tables(records: Records) -> dict[str, pd.DataFrame]:
    """The tables that records alone give, by file name: ranking; for an ablation the comparisons, for a search of
    several objectives the Pareto front."""
    tables = {"ranking": ranking_table(records)}
    if records.is_search:
        return tables | ({"pareto": pareto_table(records)} if len(objectives_of(records)) > 1 else {})
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
    return tables | factor_tables(records, tables["ablation"])


def write_report(run_dir: Path) -> Path:
    """(Re)write trials.parquet, epochs.parquet and report/ of a run; returns the path of index.html.

    What an earlier report wrote and this one does not is deleted; files of others in the folder stay.
    """
    run = RunDirectory(Path(run_dir))
    records = write_parquet(run.root)
    tables = report_tables(records)
    cells = _own_cells(records, tables["ranking"])
    tables["curves"] = figures.curves_table(records, cells)
    confusion, per_class = confusion_and_per_class(records, run, cells)
    if len(confusion):
        tables |= {"confusion": confusion, "per_class": per_class}
    why = why_table(records, run)
    if len(why):
        tables["why"] = why
    drawings = _draw(records, tables, cells)
    text = page(records, tables, cells, drawings)
    (run.report / manifest.FIGURES).mkdir(parents=True, exist_ok=True)
    files = manifest.files_of(tables, drawings)
    earlier = manifest.announce(run.report, files)
    for name, table in tables.items():
        write_table(table, run.report, name)
    for name, svg in drawings.items():
        write_text(run.report / manifest.FIGURES / f"{name}.svg", svg)
    index = run.report / "index.html"
    write_text(index, text)
    manifest.settle(run.report, files, earlier)
    return index


def _own_cells(records: Records, ranking: pd.DataFrame) -> list[str]:
    """Cells with trials of their own, best first; of a search the best hundred, which keeps its curves readable."""
    recorded = set(records.trials["cell"])
    cells = [cell for cell in ranking["cell"] if cell in recorded]
    return cells[:SEARCH_CELLS] if records.is_search else cells


def _draw(records: Records, tables: dict[str, pd.DataFrame], cells: Sequence[str]) -> dict[str, str]:
    drawings = {}
    panels = figures.curve_panels(records)
    if panels and len(tables["curves"]):
        drawings["curves"] = figures.curves_svg(tables["curves"], cells, panels)
    if "ablation" in tables and tables["ablation"]["delta"].notna().any():
        drawings["ablation"] = figures.ablation_svg(tables["ablation"])
    if "pareto" in tables and len(tables["pareto"]):
        front = list(tables["pareto"]["cell"])
        drawings["pareto"] = figures.pareto_svg(cell_objectives(records), objectives_of(records), front)
    return drawings
