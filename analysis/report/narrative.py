"""The study's answer in sentences, one per factor level: the observed difference, its interval and its verdict."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from analysis.records.columns import rows_of
from analysis.records.run_records import Records
from analysis.records.schema import DIVERGED, FAILED, STOPPED
from analysis.statistics.hypothesis_tests import EXACT_PAIRS, MINIMUM_PAIRS, SIGNIFICANCE, smallest_p
from analysis.statistics.multiple_comparisons import BETTER, IDENTICAL, TOO_FEW, UNCLEAR, UNSTABLE, WORSE
from analysis.tables.ablation import SENTENCE_DIGITS, comparison_label, unclear
from analysis.tables.formatting import capitalised, counts_in_words, interval, number, p_text, plural, setting_text
from analysis.tables.ladder_and_path import candidates
from analysis.tables.ranking import settings_of_cells
from core.metrics import counterpart, maximised, metric_label

INTERACTING, NOT_INTERACTING = "they interact", "no clear interaction"
CLEARNESS = ((BETTER,), (WORSE, INTERACTING), (UNSTABLE,), (UNCLEAR, NOT_INTERACTING, IDENTICAL), (TOO_FEW,), ("",))
GLANCE = 5
SEEN = "trains on the validation pictures, so its validation figures are left out and chose nothing"
HOW_CHOSEN = (
    "each step took, of the factors that were left, the one that most seeds finished, of equals the one with the best "
    "mean {metric}, by the seeds and epochs of the time of choosing; its figures here hold these too, which flatters "
    "it a little, most where many were left; path.csv has every candidate"
)


@dataclass(frozen=True)
class Answer:
    """One line of the answer: what was changed, what was observed, the verdict ("" if there is none), remarks."""

    subject: str
    text: str
    verdict: str = ""
    note: str = ""
    more: str = ""

    def __str__(self) -> str:
        verdict = f": {self.verdict}" if self.verdict else ""
        note = f" ({self.note})" if self.note else ""
        more = f" {self.more}" if self.more else ""
        return f"{self.subject}: {self.text}{verdict}{note}.{more}"


def answers(records: Records, tables: Mapping[str, pd.DataFrame]) -> list[Answer]:
    """A search's winner; a factorial's main effects and interactions; else every comparison.

    Where factors interact, main effects average over different effects, so the comparisons of cells are given instead.
    """
    if records.is_search:
        return _search(records, tables["ranking"])
    comparisons = [_comparison(records, row) for row in rows_of(tables["ablation"])]
    if "effects" in tables:
        interactions = [_interaction(row) for row in rows_of(tables["interactions"])]
        effects = [_comparison(records, row, averaged=True) for row in rows_of(tables["effects"])]
        interacting = any(answer.verdict == INTERACTING for answer in interactions)
        comparisons = [*(comparisons if interacting else effects), *interactions]
    if comparisons and records.traits.question == "steps":
        comparisons = [answer for answer in comparisons if answer.subject]
        chosen = HOW_CHOSEN.format(metric=counterpart(records.metric, "val"))
        comparisons.append(Answer("How the steps were chosen", chosen))
    return [*comparisons, *(Answer(cell, SEEN) for cell in sorted(records.seen_validation))]


def foremost(found: Iterable[Answer]) -> list[Answer]:
    """Answers sorted stably by verdict (CLEARNESS): clear ones first, gains before losses, undecided ones last."""
    place = {verdict: rank for rank, verdicts in enumerate(CLEARNESS) for verdict in verdicts}
    return sorted(found, key=lambda answer: place.get(answer.verdict, 0))


def tally(found: Iterable[Answer]) -> str:
    """The number of answers by verdict; empty for fewer than GLANCE answers."""
    counts = Counter(answer.verdict for answer in foremost(found) if answer.verdict)
    if sum(counts.values()) < GLANCE:
        return ""
    return f"Of {sum(counts.values())}: {', '.join(f'{count} {verdict}' for verdict, count in counts.items())}."


def _comparison(records: Records, row: Mapping[str, Any], averaged: bool = False) -> Answer:
    steps = records.traits.question == "steps"
    subject = step_in_words(records, row) if steps else comparison_label(row, records.compares_cells)
    if row["verdict"] == IDENTICAL:
        return Answer(subject, _same_as(records, row), IDENTICAL)
    broken = counts_in_words({DIVERGED: row["n_diverged"], FAILED: row["n_failed"]})
    if not row["n_pairs"]:
        text = f"no seed has finished both this and {row['baseline_level']}"
        return Answer(subject, text, row["verdict"], broken)
    seen = f"{metric_label(row['metric'])} {_difference(row, 'delta')} over {plural(row['n_pairs'], 'seed')}"
    if averaged:
        seen += ", averaged over the other factors"
    if not records.compares_cells:
        seen += f", against {row['baseline_level']}"
    if row["verdict"] in (TOO_FEW, UNSTABLE):
        return Answer(subject, seen, row["verdict"], broken)
    note = ", ".join(filter(None, [f"p_holm {p_text(row['p_holm'])}", broken]))
    more = capitalised(unclear(row))
    return Answer(subject, seen, row["verdict"], note, f"{more}." if more else "")


def _same_as(records: Records, row: Mapping[str, Any]) -> str:
    """States whose trials are used for a level whose configuration is another cell's."""
    own = (row["factor"], row["level"])
    cells = [found["cell"] for found in records.comparisons if (found["factor"], found["level"]) == own]
    others = (records.resolve(cell) for cell in cells if records.resolve(cell) != cell)
    return f"the same configuration as {next(others, row['baseline_level'])}, which ran once"


def _interaction(row: Mapping[str, Any]) -> Answer:
    subject = f"{row['factor_a']} = {row['level_a']} with {row['factor_b']} = {row['level_b']}"
    if not row["n_pairs"]:
        return Answer(subject, "no seed has finished all cells that would tell whether they interact", TOO_FEW)
    text = f"interaction {_difference(row, 'interaction')} over {plural(row['n_pairs'], 'seed')}"
    if row["n_pairs"] < MINIMUM_PAIRS:
        return Answer(subject, text, TOO_FEW)
    verdict = INTERACTING if row["p_value"] < SIGNIFICANCE else NOT_INTERACTING
    return Answer(subject, text, verdict, f"p {p_text(row['p_value'])}, not corrected")


def _search(records: Records, ranking: pd.DataFrame) -> list[Answer]:
    finished = ranking.loc[ranking["mean"].notna()]
    if finished.empty:
        return []
    best = rows_of(finished.head(1))[0]
    text = f"best {metric_label(best['metric'])} in validation, {number(best['mean'], 3)}"
    stopped = finished["n_stopped"] > 0 if "n_stopped" in finished else pd.Series(False, index=finished.index)
    ties = int(((finished["mean"] == best["mean"]) & (stopped == stopped.iloc[0])).sum())
    text += f", one of {ties} with the same validation figure" if ties > 1 else ""
    if pd.notna(best["test_mean"]):
        text += f"; {number(best['test_mean'], 3)} in test, which did not choose it"
    text += f"; {plural(best['n'], 'run')}, of {plural(len(ranking), 'configuration')}"
    if "n_stopped" in ranking:
        text += f", {(ranking['n_stopped'] > 0).sum()} of them stopped early"
    settings = {name: setting_text(best[name]) for name in settings_of_cells(ranking)}
    note = ", ".join(f"{name} = {value}" for name, value in settings.items() if value)
    return [Answer(str(best["cell"]), text, note=note)]


def stopped_early(records: Records) -> str:
    """How many trials a scheduler stopped, and how the ranking treats them; empty where it stopped none."""
    rows = records.of_status(STOPPED)
    if rows.empty:
        return ""
    where = f"{plural(len(rows), 'trial')} of {plural(rows['cell'].nunique(), 'cell')}"
    were = "was" if len(rows) == 1 else "were"
    return f"{where} {were} stopped early by the trial scheduler: such cells stand behind those whose trials finished."


def pareto_in_words(table: pd.DataFrame, objectives: Sequence[str], considered: int) -> str:
    """The size of the Pareto front, and whether larger or smaller is better in each objective."""
    ways = [f"{name} ({'larger' if maximised(name) else 'smaller'} is better)" for name in objectives]
    listed = f"{', '.join(ways[:-1])} and {ways[-1]}"
    if table.empty:
        return f"No cell has finished with {listed}."
    are = "is" if len(table) == 1 else "are"
    return (
        f"{len(table)} of {plural(considered, 'finished cell')} {are} not dominated in {listed}: "
        "no other is at least as good in all of them and better in one."
    )


def permutation_floor(n_seeds: int) -> str:
    """The smallest p-value that the permutation test can reach with this many seeds."""
    if n_seeds < 2:
        return "one seed gives no p-value"
    floor = smallest_p(n_seeds)
    how = f"2/2^{n_seeds}" if n_seeds <= EXACT_PAIRS else "random flips"
    below = " and so cannot reach 0.05" if floor >= SIGNIFICANCE else ""
    return f"{number(floor)} ({how}) with {n_seeds} seeds{below}"


def _difference(row: Mapping[str, Any], name: str) -> str:
    band = interval(row["ci_low"], row["ci_high"], SENTENCE_DIGITS)
    return f"{number(row[name], SENTENCE_DIGITS, signed=True)} {band}".strip().replace("-", "−")


def step_in_words(records: Records, row: Mapping[str, Any]) -> str:
    """What a row of a path's ablation table compares: one step, or all steps so far together; else ""."""
    taken = [found for found in candidates(records) if found.chosen]
    this = next((found for found in taken if found.cell == row["level"]), None)
    if this is None:
        return comparison_label(row, of_cells=True)
    if this.against == row["baseline_level"]:
        return f"Step {this.step}, {this.factor} {' → '.join(records.levels[this.factor][:2])}"
    which = "All" if this.step == len(records.levels) else "The first"
    return f"{which} {this.step} steps together" if this.step == len(taken) else ""
