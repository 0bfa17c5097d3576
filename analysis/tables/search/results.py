"""The tables of a search's report beside its ranking, and the results that they share with figures and notes."""

from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from analysis.records.run_records import Records
from analysis.records.schema import STOPPED
from analysis.records.search_space import Observations, observe
from analysis.statistics.random_forest import RandomForest
from analysis.tables.ranking import ranking_table, settings_columns
from analysis.tables.search.importance import importance_table
from analysis.tables.search.marginals import marginals_table
from analysis.tables.spec import TableSpec, register
from core.metrics import counterpart, maximised

register(
    TableSpec(
        "rungs",
        caption="{metric} at the rungs of the trial scheduler (the best value), and the trials that reached each rung, "
        "were stopped there and went on.",
        section="search",
        heading="Rungs",
        text="The epochs after which the trial scheduler stopped trials; the last row is the whole budget.",
    )
)
register(
    TableSpec(
        "top",
        caption="{metric} of the best configurations, which were chosen by it and are flattered by that, beside their "
        "test figures, which chose nothing.",
        section="search",
        heading="The best, and what test says of them",
        text="Test rank is the place that test gives among all configurations; gap is how much better validation "
        "is than test.",
    )
)
TOP = 10
TOP_COLUMNS = ("rank", "cell", "n", "metric", "val_mean", "test_mean", "test_rank", "gap")
RUNG_COLUMNS = ("rung", "epoch", "metric", "reached", "stopped", "went_on", "best_value")


@dataclass(frozen=True)
class SearchResults:
    """A run's records, with results that a search's tables, figures and sentences share; each is computed once."""

    records: Records

    @cached_property
    def ranking(self) -> pd.DataFrame:
        return ranking_table(self.records)

    @cached_property
    def ranked(self) -> pd.DataFrame:
        """ranking.csv's rows of configurations all of whose trials finished, with `test_rank` and `gap`."""
        metric = self.records.ranked_metric
        kept = self.ranking["val_mean"].notna() & (self.ranking.get("n_stopped", 0) == 0)
        table = self.ranking.loc[kept].reset_index(drop=True)
        if counterpart(metric, "test") == metric:  # a metric without a split, such as seconds
            table["test_mean"] = float("nan")
        table["test_rank"] = table["test_mean"].rank(method="min", ascending=not maximised(metric)).astype("Int64")
        table["gap"] = (table["val_mean"] - table["test_mean"]) * (1 if maximised(metric) else -1)
        return table

    @cached_property
    def by_objective(self) -> list[Observations]:
        """The observations by each of several objectives, in order; else by the metric of the ranking."""
        several = self.records.objectives
        metrics = several if len(several) > 1 else [self.records.ranked_metric]
        return [observe(self.records, metric) for metric in metrics]

    @cached_property
    def observed(self) -> Observations:
        """The observations by the metric of the ranking."""
        metric = self.records.ranked_metric
        known = {observed.metric: observed for observed in self.by_objective}
        return known.get(metric) or observe(self.records, metric)

    @cached_property
    def forest(self) -> RandomForest:
        """A random forest that predicts the first objective."""
        return RandomForest(self.by_objective[0])

    def keys(self, importance: pd.DataFrame) -> list[str]:
        """The settings, most important for the first objective first."""
        return list(importance.loc[importance["metric"] == self.by_objective[0].metric, "setting"])


def search_tables(search: SearchResults) -> dict[str, pd.DataFrame]:
    """The tables importance, marginals, rungs and top, those that are not empty; none for an ablation."""
    if not search.records.is_search:
        return {}
    importance = importance_table(search.by_objective)
    tables = {"importance": importance, "marginals": _marginals(search, importance)}
    tables |= {"rungs": rungs_table(search.records), "top": top_table(search)}
    return {name: table for name, table in tables.items() if len(table)}


def _marginals(search: SearchResults, importance: pd.DataFrame) -> pd.DataFrame:
    """marginals.csv of the first objective, its settings in the order of their importance."""
    if importance.empty:
        return pd.DataFrame()
    return marginals_table(search.forest, search.keys(importance))


def top_table(search: SearchResults) -> pd.DataFrame:
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
    """rungs.csv, one row per epoch after which the trial scheduler stopped trials, and one for the whole budget:
    `rung, epoch, metric, reached, stopped, went_on, best_value`.

    `reached` counts the trials that trained to this epoch, whatever their status, `stopped` those stopped there,
    `went_on` those with a further epoch; `best_value` is the best of the metric among the trials at that epoch.
    Empty where no trial was stopped.
    """
    trials, metric = records.trials, records.ranked_metric
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
