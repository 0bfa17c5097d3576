"""Sentences on what a run cannot show (yet); none for a finished run with enough to compare."""

from collections.abc import Mapping

import pandas as pd

from analysis.records.outputs import lost_in_words
from analysis.records.run_records import Records
from analysis.records.schema import DIVERGED, FAILED, RUNNING
from analysis.statistics.hypothesis_tests import MINIMUM_PAIRS
from analysis.tables.formatting import plural, progress_in_words, without_interval


def caveats(records: Records, tables: Mapping[str, pd.DataFrame] | None = None) -> list[str]:
    """The caveats of a run, and of the intervals that its tables lack, most important first."""
    said = []
    if records.is_unfinished:
        said.append(
            f"This run is not finished: {progress_in_words(records)}. What follows is what its finished trials show so "
            "far."
        )
    if records.lost:
        said.append(
            f"{lost_in_words(records.lost)}: what rests on them lacks these trials until `resume` makes them again."
        )
    if records.finished.empty:
        said.append(_nothing(records))
    else:
        said += _of_a_search(records) if records.is_search else _of_an_ablation(records)
        said += _of_equal_values(tables or {})
    if leaks := records.study.get("data", {}).get("leaks"):
        said.append(f"Copies in the data, by which test figures can mislead: {'; '.join(leaks)}.")
    return said


def _of_equal_values(tables: Mapping[str, pd.DataFrame]) -> list[str]:
    """How many comparisons, or cells of a ranking, have no interval because all their seeds agree."""
    for name, rows in (("ablation", "comparison"), ("ranking", "cell")):
        table = tables.get(name)
        if table is not None and (equal := int(without_interval(table).sum())):
            have = "has" if equal == 1 else "have"
            return [
                f"{equal} of {plural(len(table), rows)} {have} no interval: all seeds agree there, and equal values "
                "say nothing of how far another seed would go."
            ]
    return []


def _nothing(records: Records) -> str:
    statuses = set(records.trials["status"])
    text = "No trial has finished, so nothing can be compared yet."
    if statuses and statuses <= {FAILED, DIVERGED}:
        return f"{text} Every trial that ran has failed or diverged: the errors are below, under What did not work."
    if RUNNING in statuses:
        return f"{text} The curves show the trials that are running."
    return text if statuses else f"{text} No trial has started."


def _of_a_search(records: Records) -> list[str]:
    finished = records.finished["cell"].nunique()
    return ["One configuration has finished, so there is nothing to compare it with."] if finished == 1 else []


def _of_an_ablation(records: Records) -> list[str]:
    if not records.study.get("comparisons") and records.traits.question == "steps":
        return ["No step of the path is chosen yet: one is when every seed of all its candidates has ended."]
    if not records.study.get("comparisons"):
        return [
            "The study has one cell and no comparison: the report shows how it trained, not what made a difference."
        ]
    seeds = len(records.study.get("seeds", []))
    if seeds == 1:
        return [
            "One seed: differences are shown as they are, without intervals, p-values or verdicts; another seed may "
            f"turn them round. {MINIMUM_PAIRS} seeds are the fewest that can settle anything."
        ]
    if seeds < MINIMUM_PAIRS:
        return [
            f"{seeds} seeds give intervals but no verdicts: {MINIMUM_PAIRS} are the fewest that can settle anything."
        ]
    return []


def fraction_done(records: Records) -> tuple[int, int] | None:
    """(trials that have ended, trials planned); None where the number planned is unknown."""
    planned = records.planned_trials
    ended = int((records.trials["status"] != RUNNING).sum())
    return (min(ended, planned), planned) if planned else None


def running_now(records: Records) -> list[str]:
    """Each running trial with its epoch."""
    budget = records.study.get("epochs")
    rows = records.trials.loc[records.trials["status"] == RUNNING]
    of = f" of {budget}" if budget else ""
    return [f"{row.cell}, seed {row.seed}: epoch {row.epochs}{of}" for row in rows.itertuples()]
