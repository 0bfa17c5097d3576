"""Sentences on how far the result of a search's best configuration can be trusted."""

import pandas as pd

from analysis.statistics.hypothesis_tests import rounding
from analysis.tables.formatting import number
from analysis.tables.search.importance import importance_note
from analysis.tables.search.results import TOP, SearchResults
from core.metrics import maximised, metric_label

MINIMUM_RANKED = 5


def search_note(search: SearchResults, address: str = "RUN_DIR") -> str:
    """How optimistic the best of a search is, as far as test data show it, and the command that confirms it.

    `address` names the run in that command. Empty for an ablation, or with fewer than two configurations.
    """
    ranked = search.ranked if search.records.is_search else pd.DataFrame()
    if len(ranked) < 2:
        return ""
    text = f"A search's best is optimistic: of {len(ranked)} configurations it is {_which(ranked)} came "
    text += f"out best, by merit and by luck. {_measured(ranked)}".rstrip()
    return f"{text} To settle it, train the best anew with fresh seeds: python run_search.py confirm {address}"


def search_notes(search: SearchResults, importance: pd.DataFrame | None = None, address: str = "RUN_DIR") -> list[str]:
    """Sentences beside a search's tables and figures: what importance is computed from, and `search_note`; none for an
    ablation."""
    if not search.records.is_search:
        return []
    return [note for note in (importance_note(search.observed, importance), search_note(search, address)) if note]


def _ties(ranked: pd.DataFrame) -> int:
    """How many configurations share the best validation value; their order in the ranking has no meaning."""
    return int((ranked["val_mean"] == ranked["val_mean"].iloc[0]).sum())


def _which(ranked: pd.DataFrame) -> str:
    ties = _ties(ranked)
    return f"one of {ties} with the same validation figure, which" if ties > 1 else "the one whose validation figure"


def _measured(ranked: pd.DataFrame) -> str:
    """What the test data, which were not used for the choice, show about it."""
    tested = ranked.loc[ranked["test_mean"].notna()]
    if len(tested) < MINIMUM_RANKED or tested["val_mean"].nunique() < 2 or tested["test_mean"].nunique() < 2:
        return ""
    best, metric = ranked.iloc[0], str(ranked["metric"].iloc[0])
    parts = [f"Over all of them the ranks in validation and test agree with Spearman's ρ {spearman(tested):.2f}"]
    if pd.notna(best["test_rank"]):
        ties = _ties(ranked)
        first = f"the first listed of the {ties} that are first" if ties > 1 else "the first"
        parts.append(f"{first} in validation is {_place(int(best['test_rank']), tested)} in test")
    text = " and ".join(parts) + "."
    if len(tested) > TOP:
        text += _flattery(tested, metric)
    return text


def _flattery(tested: pd.DataFrame, metric: str) -> str:
    """How much larger the gap of validation over test is among the best TOP than among the others (medians)."""
    top, others = (part["gap"].median() for part in (tested.head(TOP), tested.iloc[TOP:]))
    noise = rounding(tested[["val_mean", "test_mean"]].to_numpy())
    top, others, apart = (0.0 if abs(gap) <= noise else gap for gap in (top, others, top - others))
    gap = "Validation minus test" if maximised(metric) else "Test minus validation"
    return (
        f" {gap} {metric_label(metric)} has the median {_signed(top)} over the best {TOP} and {_signed(others)} over "
        f"the others, a difference of {_signed(apart)}; above 0 the choice flatters."
    )


def spearman(tested: pd.DataFrame) -> float:
    """Rank correlation of validation and test."""
    return float(tested["val_mean"].rank().corr(tested["test_mean"].rank()))


def _place(rank: int, tested: pd.DataFrame) -> str:
    if (tested["test_rank"] == rank).sum() > 1:
        return f"one of several that share place {rank} of {len(tested)}"
    return f"number {rank} of {len(tested)}"


def _signed(value: float) -> str:
    return number(value, 2, signed=True).replace("-", "−") if value else "0"
