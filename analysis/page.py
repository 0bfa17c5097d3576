"""The page of a report: one HTML file that opens offline, from the study, its tables and its figures."""

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from analysis import figures, sheets, wording
from analysis.pareto import cell_objectives, measured, objectives_of
from analysis.schema import DIVERGED, FAILED, FINISHED
from analysis.store import Records
from analysis.tables import rows_of

FAILURE_ROWS = 50


def page(records: Records, tables: dict[str, pd.DataFrame], cells: Sequence[str], drawings: Mapping[str, str]) -> str:
    """The page; `cells` are those that curves are drawn of, best first, `drawings` the figures by name."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    study = records.study
    trials, anchors = sheets.trials(records, str(study["metric"]))
    curves = [
        Markup(figures.curves_svg(tables["curves"], cells, [panel]))
        for panel in figures.curve_panels(records)
        if len(tables["curves"])
    ]
    return environment.get_template("index.html.j2").render(
        study=study,
        summary=_summary(records),
        unfinished=wording.unfinished(records),
        progress=wording.progress(records),
        anything=wording.finished_any(records),
        answers=wording.answers(records, tables),
        primary=study["metric"],
        drawings={name: Markup(svg) for name, svg in drawings.items()},
        comparisons={
            name.removeprefix("ablation_"): sheets.comparisons(table)
            for name, table in tables.items()
            if name.startswith("ablation") and not (name == "ablation" and "ladder" in tables)
        },
        ladder=sheets.ladder(tables["ladder"], tables["ablation"]) if "ladder" in tables else None,
        factors={
            _question(table): sheets.levels(table, anchors)
            for name, table in tables.items()
            if name.startswith("factor_")
        },
        sourced=any(cell.get("reference") for cell in study.get("cells", [])),
        trials=trials,
        drawn=figures.MAXIMUM_COMPARISONS,
        not_drawn=max(0, len(tables.get("ablation", ())) - figures.MAXIMUM_COMPARISONS),
        effects=sheets.comparisons(tables["effects"]) if "effects" in tables else None,
        interactions=sheets.interactions(tables["interactions"]) if "interactions" in tables else None,
        anova=sheets.anova(tables["anova"]) if "anova" in tables else None,
        ranking=sheets.ranking(tables["ranking"], "test" if records.is_search else "validation"),
        stopped_early=wording.stopped_early(records),
        pareto=sheets.pareto(tables["pareto"], measured(records)) if "pareto" in tables else None,
        pareto_in_words=_pareto_in_words(records, tables),
        pareto_left_out=max(0, len(tables.get("pareto", ())) - sheets.RANKING_ROWS),
        ranking_left_out=max(0, len(tables["ranking"]) - sheets.RANKING_ROWS),
        is_search=records.is_search,
        curves=curves,
        curves_shown=figures.MAXIMUM_CURVES,
        curves_left_out=max(0, len(cells) - figures.MAXIMUM_CURVES),
        per_class=sheets.per_class(tables["per_class"]) if "per_class" in tables else None,
        why=sheets.why(tables["why"]) if "why" in tables else None,
        failures=_failures(records),
        invalid=[cell for cell in study.get("cells", []) if cell.get("invalid")],
        provenance=_provenance(records),
    )


def _question(table: pd.DataFrame) -> str:
    """What a factor's table answers, as a heading."""
    levels = [str(level) for level in table["level"]]
    return f"{table.attrs['factor']}: {', '.join(levels[:-1])} or {levels[-1]}?"


def _summary(records: Records) -> str:
    study = records.study
    design = "search" if records.is_search else f"{study.get('design') or ''} ablation".replace("_", " ").strip()
    seeds, epochs = len(study.get("seeds", [])), study.get("epochs")
    return wording.joined(
        [
            str(study.get("workload", "")),
            design,
            f"{seeds} seed" + ("s" if seeds != 1 else ""),
            f"{epochs} epochs" if epochs else "",
            f"{study['metric']} at {wording.selection_in_words(study['selection'])}",
        ]
    )


def _pareto_in_words(records: Records, tables: Mapping[str, pd.DataFrame]) -> str:
    if "pareto" not in tables:
        return ""
    return wording.pareto_in_words(tables["pareto"], objectives_of(records), len(cell_objectives(records)))


def _failures(records: Records) -> dict[str, Any]:
    """Trials that failed, diverged, or finished without their levels having been seen to take effect."""
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
            "error": row["error"] if pd.notna(row["error"]) else "",
            "rerun": _rerun(row["execution"]),
        }
        for row in rows_of(rows.head(FAILURE_ROWS))
    ]
    return {"rows": shown, "left_out": len(rows) - len(shown)}


def _rerun(execution: Any) -> str:
    how = json.loads(execution) if isinstance(execution, str) else {}
    return str(how.get("rerun", "")) if isinstance(how, dict) else ""


def _provenance(records: Records) -> list[tuple[str, str]]:
    study = records.study
    git, data, machine = (study.get(name) or {} for name in ("git", "data", "machine"))
    commit = f"{git.get('commit') or 'unknown'}{' (with uncommitted changes)' if git.get('dirty') else ''}"
    entries = [
        ("command", shlex.join(map(str, study.get("command") or []))),
        ("created", str(study.get("created_at") or "")),
        ("commit", commit),
        ("data", str(data.get("fingerprint") or "unknown")),
        ("versions", _listed(study.get("versions") or {})),
        ("machine", _listed(machine)),
        ("seeds", ", ".join(map(str, study.get("seeds", [])))),
        ("selection", f"{wording.selection_in_words(study['selection'])} of each trial"),
        ("trials", wording.progress(records)),
    ]
    if not records.is_search:
        entries.append(("smallest permutation p", wording.permutation_floor(len(study.get("seeds", [])))))
    return [(name, text) for name, text in entries if text]


def _listed(mapping: Any) -> str:
    if not isinstance(mapping, dict):
        return str(mapping)
    return ", ".join(f"{name} {value}" for name, value in mapping.items())
