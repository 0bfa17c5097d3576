"""What a search's report says beyond its ranking: the tables, and how far its best can be believed."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from analysis.importance import importance_note, importance_table
from analysis.marginals import Forest, marginals_table
from analysis.ranking import ranked_metric, ranking_table, settings_columns
from analysis.schema import STOPPED
from analysis.space import Observations, objectives, observed, sign
from analysis.store import Records
from analysis.tables import number
from core.metrics import counterpart, maximised, metric_label

TOP = 10
TOP_COLUMNS = ("rank", "cell", "n", "metric", "val_mean", "test_mean", "test_rank", "gap")
RUNG_COLUMNS = ("rung", "epoch", "metric", "reached", "stopped", "went_on", "best_value")
MINIMUM_RANKED = 5


@dataclass(frozen=True)
class Search:
    """A run's records, with what the tables, figures and sentences of a search share, each computed once."""

    records: Records

    @cached_property
    def ranking(self) -> pd.DataFrame:
        return ranking_table(self.records)

    @cached_property
    def ranked(self) -> pd.DataFrame:
        """ranking.csv's rows of configurations all of whose trials finished, with `test_rank` and `gap`."""
        metric = ranked_metric(self.records)
        kept = self.ranking["val_mean"].notna() & (self.ranking.get("n_stopped", 0) == 0)
        table = self.ranking.loc[kept].reset_index(drop=True)
        if counterpart(metric, "test") == metric:  # one that has no split, such as seconds
            table["test_mean"] = float("nan")
        table["test_rank"] = table["test_mean"].rank(method="min", ascending=not maximised(metric)).astype("Int64")
        table["gap"] = -sign(metric) * (table["val_mean"] - table["test_mean"])
        return table

    @cached_property
    def judged(self) -> list[Observations]:
        """By each objective, the first one first."""
        return [observed(self.records, metric) for metric in objectives(self.records)]

    @cached_property
    def seen(self) -> Observations:
        """By what the search ranks by."""
        metric = ranked_metric(self.records)
        return next((seen for seen in self.judged if seen.metric == metric), None) or observed(self.records, metric)

    @cached_property
    def forest(self) -> Forest:
        """Over the first objective."""
        return Forest(self.judged[0])

    def keys(self, importance: pd.DataFrame) -> list[str]:
        """Settings by their importance for the first objective."""
        return list(importance.loc[importance["metric"] == self.judged[0].metric, "setting"])


def search_tables(search: Search) -> dict[str, pd.DataFrame]:
    """importance, marginals, rungs and top, each where there is enough to tell; none for an ablation."""
    if not search.records.is_search:
        return {}
    importance = importance_table(search.judged)
    tables = {"importance": importance, "marginals": _marginals(search, importance)}
    tables |= {"rungs": rungs_table(search.records), "top": top_table(search)}
    return {name: table for name, table in tables.items() if len(table)}


def _marginals(search: Search, importance: pd.DataFrame) -> pd.DataFrame:
    """marginals.csv of the first objective, its settings in the order of their importance."""
    if importance.empty:
        return pd.DataFrame()
    return marginals_table(search.forest, search.keys(importance))


def top_table(search: Search) -> pd.DataFrame:
    """top.csv, the TOP best configurations: `rank, cell, n, metric, val_mean, test_mean, test_rank, gap`, then their
    settings (of a population's member those that it began with).

    Only configurations all of whose trials finished are ranked, as in ranking.csv. `test_rank` is the place that the
    test metric, which chose nothing, gives the configuration among all of them; `gap` is how much better it is in
    validation than in test. Both, and `test_mean`, are missing where no test metric was recorded. Empty with fewer
    than two configurations.
    """
    ranked, records = search.ranked, search.records
    if len(ranked) < 2:
        return pd.DataFrame(columns=list(TOP_COLUMNS))
    settings = settings_columns(records).set_index(pd.Index(list(records.cells), dtype="str"))
    return ranked.head(TOP)[list(TOP_COLUMNS)].join(settings, on="cell")


def rungs_table(records: Records) -> pd.DataFrame:
    """rungs.csv, a row an epoch after which the trial scheduler stopped trials, and one for the whole budget:
    `rung, epoch, metric, reached, stopped, went_on, best_value`.

    `reached` counts the trials that trained so far, whatever became of them, `stopped` those that were stopped there,
    `went_on` those with a further epoch; `best_value` is the best of the metric among the trials at that epoch.
    Empty where no trial was stopped.
    """
    trials, metric = records.trials, ranked_metric(records)
    stopped = trials.loc[trials["status"] == STOPPED, "epochs"]
    if stopped.empty:
        return pd.DataFrame(columns=list(RUNG_COLUMNS))
    epochs = sorted({*map(int, stopped), max(int(records.study["epochs"]), int(trials["epochs"].max()))})
    values = records.epochs[metric] if metric in records.epochs else pd.Series(dtype="float64")
    by_epoch = values.groupby(records.epochs["epoch"]).agg("max" if maximised(metric) else "min")
    table = pd.DataFrame({"rung": range(1, len(epochs) + 1), "epoch": epochs, "metric": metric})
    table["reached"] = [int((trials["epochs"] >= epoch).sum()) for epoch in epochs]
    table["stopped"] = [int((stopped == epoch).sum()) for epoch in epochs]
    table["went_on"] = [int((trials["epochs"] > epoch).sum()) for epoch in epochs]
    table["best_value"] = by_epoch.reindex(epochs).to_numpy("float64")
    return table[list(RUNG_COLUMNS)]


def search_note(search: Search, address: str = "RUN_DIR") -> str:
    """How far the best of a search can be believed, with what was measured, and the command that settles it.

    `address` is what a command names the run by. Empty for an ablation and with fewer than two configurations to choose
    from.
    """
    ranked = search.ranked if search.records.is_search else pd.DataFrame()
    if len(ranked) < 2:
        return ""
    text = f"A search's best is optimistic: of {len(ranked)} configurations it is {_which(ranked)} came "
    text += f"out best, by merit and by luck. {_measured(ranked)}".rstrip()
    return f"{text} To settle it, train the best anew with fresh seeds: python run_search.py confirm {address}"


def search_notes(search: Search, importance: pd.DataFrame | None = None, address: str = "RUN_DIR") -> list[str]:
    """Sentences beside a search's tables and figures: what importance rests on, how far its best can be believed; none
    for an ablation."""
    if not search.records.is_search:
        return []
    return [note for note in (importance_note(search.seen, importance), search_note(search, address)) if note]


def _ties(ranked: pd.DataFrame) -> int:
    """How many configurations have the best validation figure; the ranking's first of them is only that."""
    return int((ranked["val_mean"] == ranked["val_mean"].iloc[0]).sum())


def _which(ranked: pd.DataFrame) -> str:
    ties = _ties(ranked)
    return f"one of {ties} with the same validation figure, which" if ties > 1 else "the one whose validation figure"


def _measured(ranked: pd.DataFrame) -> str:
    """What test data, which chose nothing, say of the choice."""
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
    """How much further validation stands above test among the best than among the others."""
    top, others = (part["gap"].median() for part in (tested.head(TOP), tested.iloc[TOP:]))
    noise = 16 * np.finfo("float64").eps * float(tested[["val_mean", "test_mean"]].abs().max().max())
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
