"""The report of a run, from its records alone: every table and figure, and one page that opens offline.

It works on finished and unfinished runs and states what is not known yet. Each file is replaced atomically.
"""

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path

import pandas as pd

from analysis.figures.drawing import Drawn, Pens, draw
from analysis.figures.theme import Figure, unchecked
from analysis.records.outputs import missed
from analysis.records.run_directory import RunDirectory
from analysis.records.run_records import Records
from analysis.records.store import write_parquet
from analysis.report import manifest
from analysis.report.contents import Contents, galleries
from analysis.report.exports import asks_for_safe_csv, write_tables
from analysis.report.page import page
from analysis.report.search_narrative import search_notes
from core.files import write_text


@dataclass(frozen=True)
class Report:
    """A written report: the path of its page, the run's records, the tables by file name, and by a figure's name why
    it could not be drawn."""

    index: Path
    records: Records
    tables: dict[str, pd.DataFrame]
    undrawn: dict[str, str]


def write_report(run_dir: Path) -> Path:
    """(Re)write trials.parquet, epochs.parquet and report/ of a run; returns the path of index.html.

    What an earlier report wrote and this one does not is deleted; files of others in the folder stay.
    """
    return make_report(contents_of(run_dir)).index


def contents_of(run_dir: Path) -> Contents:
    """What a run's report will hold. Reads the records and computes no table yet; writes trials.parquet and
    epochs.parquet."""
    run = RunDirectory(Path(run_dir))
    records = write_parquet(run.root)
    return Contents(replace(records, lost=missed(records.outputs, records.trials["trial"], run)), run)


def make_report(
    made: Contents,
    told: Callable[[Mapping[str, pd.DataFrame]], object] = lambda tables: None,
    drawn: bool = True,
    csv_safe: bool | None = None,
) -> Report:
    """As `write_report`; also returns the records and tables.

    The tables' files stand first, and are then `told`; then come the page and the figures' files. Without figures
    `drawn`, as while the run goes on, the page has tables alone, and figures' files stay as they are. `csv_safe`:
    whether the CSV files hold no formulas for a spreadsheet; None: as the run's option says.
    """
    run, records, soon = made.run, made.records, list[Figure]()
    safe = asks_for_safe_csv(records.study) if csv_safe is None else csv_safe
    made.begin()
    with Pens() as pens, ThreadPoolExecutor(1) as aside:
        if drawn and _is_news(made):
            pens.start()  # they get ready meanwhile

        def begin(figures: Iterable[Figure]) -> "Future[Drawn]":
            with unchecked():
                jobs = {run.report / manifest.FIGURES / f"{figure.name}.svg": figure.job() for figure in figures}
            return aside.submit(draw, jobs, manifest.drawn(run.report), pens)

        # All that waits for no other process comes first.
        earlier = manifest.announce(run.report, manifest.files_of(made.soon_tables, ()))
        write_tables(made.soon_tables, run.report, safe)
        if drawn:
            soon = [*chain(*made.soon_figures)]
            manifest.announce(run.report, manifest.files_of((), [figure.name for figure in soon]))
        drawing = [begin(soon)]
        tables = made.tables
        manifest.announce(run.report, manifest.files_of(tables, ()))
        write_tables({name: table for name, table in tables.items() if name not in made.soon_tables}, run.report, safe)
        told(tables)
        figures = made.figures if drawn else []
        files = manifest.files_of(tables, [figure.name for figure in figures])
        files |= set() if drawn else {name for name in earlier if name.startswith(f"{manifest.FIGURES}/")}
        manifest.announce(run.report, files)
        drawing.append(begin(figure for figure in figures if figure not in soon))
        with unchecked():
            notes = search_notes(made.search, tables.get("importance"), run.address)
            shown = partial(page, records, tables, figures, galleries(records, run, tables, made.featured), notes)
            text = shown()
            done = [part.result() for part in drawing]
            undrawn = made.unmade | dict(chain(*(part.faults.items() for part in done)))
            text = shown(undrawn) if undrawn else text
        index = run.report / "index.html"
        marks = dict(chain(*(part.marks.items() for part in done))) if drawn else manifest.drawn(run.report)
        write_text(index, text)
        files -= {f"{manifest.FIGURES}/{name}.svg" for name in undrawn}
        manifest.settle(run.report, files, earlier, marks)
    return Report(index, records, tables, undrawn)


def _is_news(made: Contents) -> bool:
    """Whether figures will have to be drawn, by all appearance: the records are younger than the last report."""
    manifested = made.run.report / manifest.MANIFEST
    with suppress(OSError):
        return len(made.records.epochs) > 0 and made.run.log.stat().st_mtime > manifested.stat().st_mtime
    return len(made.records.epochs) > 0
