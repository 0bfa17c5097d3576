"""The report of a run, from its records alone: every table and figure, and one page that opens offline.

It works on a run of any state and says what it cannot tell yet. Each file is replaced in one step.
"""

import json
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from analysis import figures, wording
from analysis.ablation import ablation_table, effects_table, interactions_table
from analysis.pareto import cell_objectives, measured, objectives_of, pareto_table
from analysis.predictions import confusion_and_per_class
from analysis.ranking import COLUMNS as RANKING_COLUMNS
from analysis.ranking import STOPPED_COLUMNS, ranking_table
from analysis.schema import DIVERGED, FAILED, FINISHED, RunDirectory
from analysis.store import Records, replace, write_parquet
from analysis.tables import reached, rows_of, write_table

SEARCH_CELLS = 100
RANKING_ROWS = 50
FAILURE_ROWS = 50
CLASS_CELLS = 8


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
    return tables


def write_report(run_dir: Path) -> Path:
    """(Re)write trials.parquet, epochs.parquet and report/ of a run; returns the path of index.html."""
    run = RunDirectory(Path(run_dir))
    records = write_parquet(run.root)
    tables = report_tables(records)
    cells = _own_cells(records, tables["ranking"])
    tables["curves"] = figures.curves_table(records, cells)
    confusion, per_class = confusion_and_per_class(records, run, cells)
    if len(confusion):
        tables |= {"confusion": confusion, "per_class": per_class}
    (run.report / "figures").mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        write_table(table, run.report, name)
    drawings = _draw(records, tables, cells)
    for name, svg in drawings.items():
        _write(run.report / "figures" / f"{name}.svg", svg)
    page = run.report / "index.html"
    _write(page, _page(records, tables, cells, drawings))
    return page


def _write(path: Path, text: str) -> None:
    replace(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


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


@dataclass(frozen=True)
class Sheet:
    """A table of the page: heads with their alignment ("text" or "num"), and rows of (text, css class)."""

    heads: list[tuple[str, str]]
    rows: list[list[tuple[str, str]]]


def _page(records: Records, tables: dict[str, pd.DataFrame], cells: Sequence[str], drawings: Mapping[str, str]) -> str:
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
            name.removeprefix("ablation_"): _comparisons(table)
            for name, table in tables.items()
            if name.startswith("ablation")
        },
        effects=_comparisons(tables["effects"]) if "effects" in tables else None,
        interactions=_interactions(tables["interactions"]) if "interactions" in tables else None,
        ranking=_ranking(tables["ranking"], "test" if records.is_search else "validation"),
        stopped_early=wording.stopped_early(records),
        pareto=_pareto(tables["pareto"], measured(records)) if "pareto" in tables else None,
        pareto_in_words=_pareto_in_words(records, tables),
        pareto_left_out=max(0, len(tables.get("pareto", ())) - RANKING_ROWS),
        ranking_left_out=max(0, len(tables["ranking"]) - RANKING_ROWS),
        is_search=records.is_search,
        curves=curves,
        curves_shown=figures.MAXIMUM_CURVES,
        curves_left_out=max(0, len(cells) - figures.MAXIMUM_CURVES),
        per_class=_per_class(tables["per_class"]) if "per_class" in tables else None,
        failures=_failures(records),
        invalid=[cell for cell in study.get("cells", []) if cell.get("invalid")],
        provenance=_provenance(records),
    )


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


def _places(values: pd.Series) -> int:
    """Decimals that show four significant digits of the largest value."""
    largest = values.abs().max()
    if pd.isna(largest) or largest == 0:
        return 3
    return min(6, max(0, 3 - math.floor(math.log10(largest))))


def _fixed(value: float | None, places: int, signed: bool = False) -> str:
    if value is None or pd.isna(value):
        return "–"
    text = f"{value:{'+' if signed else ''}.{places}f}"
    return text.replace("-", "−")


def _band(row: dict[str, Any], places: int) -> str:
    if pd.isna(row["ci_low"]):
        return "–"
    return f"[{_fixed(row['ci_low'], places)}, {_fixed(row['ci_high'], places)}]"


def _count(value: int) -> tuple[str, str]:
    return str(value), "num" if value else "num faint"


def _comparisons(table: pd.DataFrame) -> Sheet:
    """An ablation or effects table: counts of broken runs and the source's figure only where there are any."""
    places = _places(pd.concat([table["baseline_mean"], table["level_mean"]]))
    broken = bool((table["n_failed"] + table["n_diverged"]).sum())
    sourced = bool(table["reference"].notna().any())
    heads = [("factor", "text"), ("level", "text"), ("against", "text"), ("n", "num")]
    heads += [("failed", "num"), ("diverged", "num")] if broken else []
    heads += [("baseline", "num"), ("level", "num"), ("delta", "num"), ("95 % interval", "num"), ("p holm", "num")]
    heads += [("p perm.", "num"), ("effect", "num"), ("verdict", "text")]
    heads += [("source", "text")] if sourced else []
    rows = []
    for row in rows_of(table):
        cells = [(row[name], "text") for name in ("factor", "level", "baseline_level")] + [_count(row["n_pairs"])]
        cells += [_count(row["n_failed"]), _count(row["n_diverged"])] if broken else []
        cells += [(_fixed(row[name], places), "num") for name in ("baseline_mean", "level_mean")]
        cells += [(_fixed(row["delta"], places, signed=True), "num strong"), (_band(row, places), "num")]
        cells += [(wording.p_text(row[name]) or "–", "num") for name in ("p_holm", "p_permutation")]
        cells += [(_fixed(row["effect_size"], 2, signed=True), "num"), (row["verdict"], _verdict_class(row["verdict"]))]
        cells += [(row["reference"] if pd.notna(row["reference"]) else "", "text faint")] if sourced else []
        rows.append(cells)
    return Sheet(heads, rows)


def _verdict_class(verdict: str) -> str:
    return f"verdict {verdict.replace(' ', '-')}"


def _interactions(table: pd.DataFrame) -> Sheet:
    places = _places(table["interaction"])
    heads = [("factor", "text"), ("level", "text"), ("with", "text"), ("level", "text"), ("n", "num")]
    heads += [("interaction", "num"), ("95 % interval", "num"), ("p", "num")]
    rows = [
        [(row[name], "text") for name in ("factor_a", "level_a", "factor_b", "level_b")]
        + [_count(row["n_pairs"]), (_fixed(row["interaction"], places, signed=True), "num strong")]
        + [(_band(row, places), "num"), (wording.p_text(row["p_value"]) or "–", "num")]
        for row in rows_of(table)
    ]
    return Sheet(heads, rows)


def _ranking(table: pd.DataFrame, beside: str) -> Sheet:
    """The best rows, with the split that was not ranked by beside, and the settings of each."""
    table = table.head(RANKING_ROWS)
    places = _places(table["mean"] if table["mean"].notna().any() else table.get("stopped_mean", table["mean"]))
    settings = [str(name) for name in table if name not in (*RANKING_COLUMNS, *STOPPED_COLUMNS)]
    broken = bool((table["n_failed"] + table["n_diverged"]).sum())
    stopped = "n_stopped" in table
    heads = [("", "num"), ("cell", "text"), ("n", "num")]
    heads += [("failed", "num"), ("diverged", "num")] if broken else []
    heads += [("stopped", "num")] if stopped else []
    heads += [("mean", "num"), ("95 % interval", "num"), ("std", "num"), (beside, "num")]
    heads += [(name, "text") for name in settings]
    other = "test_mean" if beside == "test" else "val_mean"
    rows = []
    for row in rows_of(table):
        best = "num best" if row["rank"] == 1 and pd.notna(row["mean"]) else "num"
        cells = [(str(row["rank"]), "num faint"), (row["cell"], "text"), _count(row["n"])]
        cells += [_count(row["n_failed"]), _count(row["n_diverged"])] if broken else []
        cells += [_count(row["n_stopped"])] if stopped else []
        mean = (_fixed(row["mean"], places), best)
        if stopped and pd.isna(row["mean"]) and pd.notna(row["stopped_mean"]):
            mean = (reached(row, _fixed(row["stopped_mean"], places)), "num faint")
        cells += [mean, (_band(row, places), "num")]
        cells += [(_fixed(row[name], places), "num") for name in ("std", other)]
        cells += [(wording.setting(row[name]), "text") for name in settings]
        rows.append(cells)
    return Sheet(heads, rows)


def _pareto_in_words(records: Records, tables: Mapping[str, pd.DataFrame]) -> str:
    if "pareto" not in tables:
        return ""
    return wording.pareto_in_words(tables["pareto"], objectives_of(records), len(cell_objectives(records)))


def _pareto(table: pd.DataFrame, metrics: Sequence[str]) -> Sheet:
    """The front: cell, number of runs, mean of each metric, varied settings."""
    table = table.head(RANKING_ROWS)
    settings = [str(name) for name in table if name not in ("cell", "n", *metrics)]
    heads = [
        ("cell", "text"),
        ("n", "num"),
        *((name, "num") for name in metrics),
        *((name, "text") for name in settings),
    ]
    places = {name: _places(table[name]) for name in metrics}
    rows = [
        [(row["cell"], "text"), _count(row["n"])]
        + [(_fixed(row[name], places[name]), "num") for name in metrics]
        + [(wording.setting(row[name]), "text") for name in settings]
        for row in rows_of(table)
    ]
    return Sheet(heads, rows)


def _per_class(table: pd.DataFrame) -> Sheet:
    """Accuracy of every class in the best cells, a row a class."""
    cells = list(table["cell"].unique())[:CLASS_CELLS]
    accuracy = {(row["cell"], row["class"]): row["accuracy"] for row in rows_of(table)}
    examples = table.drop_duplicates("class")[["class", "examples"]]
    heads = [("class", "text"), ("examples", "num"), *((cell, "num") for cell in cells)]
    rows = []
    for name, count in examples.itertuples(index=False):
        values = [accuracy.get((cell, name)) for cell in cells]
        best = max((value for value in values if value is not None), default=None)
        marked = [(_fixed(value, 3), "num best" if value == best and len(cells) > 1 else "num") for value in values]
        rows.append([(str(name), "text"), (str(count), "num faint"), *marked])
    return Sheet(heads, rows)


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
