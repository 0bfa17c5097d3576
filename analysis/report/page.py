"""The page of a report: one HTML file that opens offline and loads nothing from elsewhere.

All text is in the HTML itself. Its JavaScript sorts and filters tables, draws the figures from their Vega-Lite
specifications (the library is embedded) and reloads the page of an unfinished run.
"""

import json
import shlex
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd
from markupsafe import Markup

from analysis.figures.gallery import Gallery
from analysis.figures.theme import COMPOUND, CONFIG, Figure, javascript
from analysis.records.columns import rows_of
from analysis.records.run_records import Records
from analysis.records.schema import DIVERGED, FAILED, FINISHED
from analysis.report.caveats import caveats, fraction_done, running_now
from analysis.report.narrative import answers, foremost, permutation_floor, tally
from analysis.report.sections import sections
from analysis.tables.formatting import SPLIT_TITLES, plural, progress_in_words, selection_in_words
from core.metrics import split_of
from core.text import redacted, visible

FAILURE_ROWS = 50
RUNNING_ROWS = 20
FIRST_ANSWERS, ANSWERS = 8, 200
TEMPLATES = Path(__file__).parent / "templates"


def page(
    records: Records,
    tables: Mapping[str, pd.DataFrame],
    figures: Sequence[Figure] = (),
    galleries: Sequence[Gallery] = (),
    notes: Sequence[str] = (),
    undrawn: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """The page as HTML; `notes` are the sentences before a search's tables, `undrawn` says by a figure's name why it
    has no file.

    Each of `figures` and `galleries` stands in the section that it names, in the order given; sections whose name is
    not in `analysis.report.sections.HEADINGS` come last. Figures are drawn by the page and link to figures/NAME.svg,
    which `write_report` writes; images of galleries are embedded as data: URIs.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        finalize=lambda value: visible(value) if type(value) is str else value,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found = foremost(answers(records, tables)) if len(records.finished) else []
    unfinished = records.is_unfinished
    failures, invalid = _failures(records), [cell for cell in records.study.get("cells", []) if cell.get("invalid")]
    always = {"provenance", *(["failures"] if failures["rows"] or invalid else [])}
    parts = sections(records, tables, figures, galleries, notes)
    specs = {figure.name: figure.spec() for figure in figures}
    return environment.get_template("index.html.j2").render(
        study=records.study,
        summary=_summary(records),
        caveats=[
            *caveats(records, tables),
            *(f"Figures of {name} could not be made: {why}." for name, why in undrawn.items() if name not in specs),
        ],
        unfinished=unfinished,
        written=datetime.now(UTC) if unfinished else None,
        figures_later=unfinished and not figures,
        done=fraction_done(records),
        running=running_now(records),
        running_rows=RUNNING_ROWS,
        first=found[:FIRST_ANSWERS],
        further=found[FIRST_ANSWERS:ANSWERS],
        unanswered=max(0, len(found) - ANSWERS),
        tally=tally(found),
        sections=[part for part in parts if part.filled or part.anchor in always],
        wide={name for name, spec in specs.items() if any(key in spec for key in COMPOUND)},
        undrawn=undrawn,
        failures=failures,
        invalid=invalid,
        provenance=_provenance(records),
        drawing=_json({"config": CONFIG, "specs": specs}),
        library=_library() if specs else "",
        style=_text("page.css"),
        code=_text("page.js"),
    )


def _text(name: str) -> Markup:
    return Markup((TEMPLATES / name).read_text(encoding="utf-8"))


def _json(value: Any) -> Markup:
    """JSON for a script element, escaped so that no text in it can end the element."""
    return Markup(json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c"))


def _library() -> Markup:
    """The drawing library for a script element; `</script` in its strings is escaped, as it would end the element."""
    return Markup(javascript().replace("</script", "<\\/script").replace("<!--", "\\x3c!--"))


def _summary(records: Records) -> str:
    study = records.study
    design = "search" if records.is_search else f"{records.design or ''} ablation".replace("_", " ").strip()
    seeds, epochs = len(study.get("seeds", [])), study.get("epochs")
    parts = [str(study.get("workload", "")), design, plural(seeds, "seed"), plural(epochs, "epoch") if epochs else ""]
    figure = f"{records.metric} at {selection_in_words(study['selection'])}"
    return " · ".join(filter(None, [*parts, figure, _splits(records)]))


def _splits(records: Records) -> str:
    """Which split chose, and which is shown."""
    rule = records.study["selection"]
    shown = SPLIT_TITLES.get(split_of(records.metric)[0], "")
    if records.is_search:
        ranked = SPLIT_TITLES.get(split_of(records.ranked_metric)[0], "")
        return f"{ranked} proposes and ranks, {shown} is shown beside it" if shown != ranked else f"{shown} ranks"
    chose = f"{SPLIT_TITLES.get(split_of(rule['metric'])[0], '')} chose the epoch" if rule["rule"] == "best" else ""
    return f"{chose or 'no split chose the epoch'}, {shown} is shown" if shown else chose


def _failures(records: Records) -> dict[str, Any]:
    """Trials that failed, diverged, or finished without verification that their settings took effect."""
    trials = records.trials
    unverified = (trials["status"] == FINISHED) & ~trials["verified"].fillna(False).astype(bool)
    rows = trials.loc[trials["status"].isin([FAILED, DIVERGED]) | unverified]
    shown = [
        {
            "trial": row["trial"],
            "cell": row["cell"],
            "seed": row["seed"],
            "status": "finished, not verified" if row["status"] == FINISHED else row["status"],
            "epochs": row["epochs"],
            "error": redacted(row["error"]) if pd.notna(row["error"]) else "",
            "rerun": _rerun(row["execution"]),
        }
        for row in rows_of(rows.head(FAILURE_ROWS))
    ]
    return {"rows": shown, "left_out": len(rows) - len(shown)}


def _rerun(execution: Any) -> str:
    how = json.loads(execution) if isinstance(execution, str) else {}
    return redacted(str(how.get("rerun", ""))) if isinstance(how, dict) else ""


def _provenance(records: Records) -> list[tuple[str, str]]:
    study = records.study
    git, data, machine = (study.get(name) or {} for name in ("git", "data", "machine"))
    commit = f"{git.get('commit') or 'unknown'}{' (with uncommitted changes)' if git.get('dirty') else ''}"
    entries = [
        ("command", redacted(shlex.join(map(str, study.get("command") or [])))),
        ("created", str(study.get("created_at") or "")),
        ("commit", commit),
        ("data", str(data.get("fingerprint") or "unknown")),
        ("versions", _listed(study.get("versions") or {})),
        ("machine", _listed(machine)),
        ("seeds", ", ".join(map(str, study.get("seeds", [])))),
        ("selection", f"{selection_in_words(study['selection'])} of each trial"),
        ("trials", progress_in_words(records)),
    ]
    if not records.is_search:
        entries.append(("smallest permutation p", permutation_floor(len(study.get("seeds", [])))))
    return [(name, text) for name, text in entries if text]


def _listed(mapping: Any) -> str:
    if not isinstance(mapping, dict):
        return str(mapping)
    return ", ".join(f"{name} {value}" for name, value in mapping.items())
