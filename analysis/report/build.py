"""The report of a run, from its records alone: every table and figure, and one page that opens offline.

It works on finished and unfinished runs and states what is not known yet. Each file is replaced atomically.
"""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from analysis.figures.theme import unchecked
from analysis.records.run_directory import RunDirectory
from analysis.records.run_records import Records
from analysis.records.store import write_parquet
from analysis.report import manifest
from analysis.report.contents import Contents, galleries
from analysis.report.exports import write_tables
from analysis.report.page import page
from analysis.report.search_narrative import search_notes
from core.files import write_text


@dataclass(frozen=True)
class Report:
    """A written report: the path of its page, the run's records, the tables by file name."""

    index: Path
    records: Records
    tables: dict[str, pd.DataFrame]


def write_report(run_dir: Path) -> Path:
    """(Re)write trials.parquet, epochs.parquet and report/ of a run; returns the path of index.html.

    What an earlier report wrote and this one does not is deleted; files of others in the folder stay.
    """
    return make_report(run_dir).index


def make_report(run_dir: Path) -> Report:
    """As `write_report`, but also returns the records and tables that it computed."""
    run = RunDirectory(Path(run_dir))
    records = write_parquet(run.root)
    made = Contents(records, run)
    tables, figures = made.tables, made.figures
    with unchecked():
        notes = search_notes(made.search, tables.get("importance"), run.address)
        text = page(records, tables, figures, galleries(records, run, tables, made.featured), notes)
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
