"""The report of a run, from its records alone: every table and figure, and one page that opens offline.

It works on a run of any state and says what it cannot tell yet. Each file is replaced in one step.
"""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from analysis.figures.cell_labels import shown_cells
from analysis.figures.theme import unchecked
from analysis.records.run_directory import RunDirectory
from analysis.records.run_records import Records
from analysis.records.store import write_parquet
from analysis.report import manifest
from analysis.report.contents import (
    _own_cells,
    galleries,
    picture_figures,
    picture_tables,
    report_figures,
    report_tables,
)
from analysis.report.exports import write_tables
from analysis.report.page import page
from analysis.report.search_narrative import search_notes
from analysis.tables.confusion import confusion_and_per_class
from analysis.tables.gained_and_lost import why_and_changed
from analysis.tables.layer_diagnostics import activation_rows
from analysis.tables.learning_curves import curves_table, stability_table
from analysis.tables.search.results import Search
from core.files import write_text

CURVE_CELLS = 500  # beyond which curves.csv alone would take as long as all the rest


@dataclass(frozen=True)
class Report:
    """What a report was made of: the path of its page, the run's records, the tables by file name."""

    index: Path
    records: Records
    tables: dict[str, pd.DataFrame]


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
    write_tables(tables, run.report)
    for figure in figures:
        write_text(run.report / manifest.FIGURES / f"{figure.name}.svg", figure.svg())
    index = run.report / "index.html"
    write_text(index, text)
    manifest.settle(run.report, files, earlier)
    return Report(index, records, tables)
