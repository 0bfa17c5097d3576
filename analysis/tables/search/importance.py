"""How much each setting of a search mattered, by Optuna's fANOVA and PED-ANOVA over an in-memory study.

fANOVA (Hutter et al., 2014) gives the share of the metric's variance over the whole space that a setting explains by
itself, here divided by the sum over all settings; PED-ANOVA (Watanabe et al., 2023, in its conditional form for
settings that do not always exist) gives its importance for being among the best. A setting may be large in one and
small in the other: a learning rate that ruins half of the space explains its variance, but not that of the good half.

Optuna is imported inside functions only: nothing else in the analysis needs it.
"""

import logging
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from analysis.records.columns import rows_of
from analysis.records.search_space import MINIMUM_CONFIGURATIONS, Observations, Setting, evenly
from analysis.tables.spec import TableSpec, register
from core.metrics import maximised

if TYPE_CHECKING:
    import optuna


register(
    TableSpec(
        "importance",
        caption="{metric}: what each setting matters, by fANOVA (of what settings explain of the variance by "
        "themselves, the share of this one; what they explain only together is not in it) and PED-ANOVA (for coming "
        "among the best); either sums to 1 over the settings; n configurations have the setting.",
        section="search",
        heading="Which settings matter",
        text="Either importance sums to 1 over the settings: fANOVA’s is, of what settings explain by themselves over "
        "the whole space, the share of this one, and what they explain only together is not in it; PED-ANOVA’s is for "
        "coming among the best. n configurations have the setting, of which fANOVA takes n fanova.",
    )
)
COLUMNS = ("rank", "setting", "metric", "importance_fanova", "importance_ped_anova", "n", "n_fanova", "condition")
FANOVA_CONFIGURATIONS = 150  # its time grows with their square: 1 s for 200 with nine settings
PED_ANOVA_CONFIGURATIONS = 2000
TOP_SHARE, TOP_LEAST = 0.1, 5  # PED-ANOVA's best: a tenth, but at least five, as its authors advise
SEED = 0
BY_THEMSELVES = "by_themselves"  # key in `attrs`: by metric, the sum of fANOVA's shares before rescaling
WELL_BELOW_ALL = 0.8


def importance_table(by_objective: Iterable[Observations]) -> pd.DataFrame:
    """importance.csv, one row per setting, most important first: `rank, setting, metric, importance_fanova,
    importance_ped_anova, n, n_fanova, condition`; the rows of each metric of `by_objective` in turn.

    Either importance sums to 1 over the settings of a metric; fANOVA's sum before that, the share of the variance that
    settings explain by themselves, is in `attrs[BY_THEMSELVES]` by metric. Values are those of `observe`; `n` counts
    the configurations in which the setting existed. fANOVA takes `n_fanova` of them, at most FANOVA_CONFIGURATIONS, and
    PED-ANOVA at most PED_ANOVA_CONFIGURATIONS of all, evenly spaced in the order of the metric. Settings on a log scale
    enter as logarithms. `condition` says when a setting existed, empty if always: its fANOVA share is then that of a
    forest over the configurations in which it did, times their share of all, and missing with fewer than
    MINIMUM_CONFIGURATIONS of them. The table is empty where there are too few observations.
    """
    known = [part for part in map(_of_metric, by_objective) if len(part)]
    if not known:
        return pd.DataFrame(columns=list(COLUMNS))
    sums = {metric: total for part in known for metric, total in part.attrs[BY_THEMSELVES].items()}
    table = pd.concat(known, ignore_index=True)
    table.attrs[BY_THEMSELVES] = sums
    return table


def importance_note(observed: Observations, importance: pd.DataFrame | None = None) -> str:
    """Sentences: what importance.csv is computed from, and how much variance settings explain by themselves where that
    is well below all; or why there is no such table."""
    if observed.too_little:
        return observed.too_little
    if not observed.settings:
        return "What each setting matters cannot be told: study.json does not describe the space."
    text = f"What each setting matters is judged over {observed.basis}."
    if observed.epoch is not None:
        text += " What matters early need not matter at the end."
    if len(observed.table) > FANOVA_CONFIGURATIONS:
        text += f" fANOVA takes {FANOVA_CONFIGURATIONS} of them, evenly spaced in order of merit."
    if len(observed.table) > PED_ANOVA_CONFIGURATIONS:
        text += f" PED-ANOVA takes {PED_ANOVA_CONFIGURATIONS:,} in the same way."
    return text + ("" if importance is None else _by_themselves(importance))


def _by_themselves(importance: pd.DataFrame) -> str:
    """A sentence for each metric of whose variance settings explain less than WELL_BELOW_ALL by themselves."""
    sums: dict[str, float] = importance.attrs.get(BY_THEMSELVES, {})
    return "".join(
        f" Settings by themselves explain {100 * total:.0f} % of the variance of {metric}; the rest is what several do "
        "only together, and chance."
        for metric, total in sums.items()
        if total < WELL_BELOW_ALL
    )


def _of_metric(observed: Observations) -> pd.DataFrame:
    if observed.too_little or not observed.settings:
        return pd.DataFrame()
    with _quiet():
        fanova = _fanova(observed)
        ped_anova = _ped_anova(observed)
    table = pd.DataFrame({"setting": [setting.key for setting in observed.settings], "metric": observed.metric})
    table["importance_fanova"] = _shares([fanova[key][0] for key in table["setting"]])
    by_themselves = float(np.nansum([share for share, _ in fanova.values()]))
    table["importance_ped_anova"] = _shares([ped_anova[key] for key in table["setting"]])
    table["n"] = [int(observed.table[key].notna().sum()) for key in table["setting"]]
    table["n_fanova"] = [fanova[key][1] for key in table["setting"]]
    table["condition"] = pd.Series([setting.condition for setting in observed.settings], dtype="str")
    order = ["importance_fanova", "importance_ped_anova"]
    table = table.sort_values(order, ascending=False, na_position="last", kind="stable").reset_index(drop=True)
    table["rank"] = range(1, len(table) + 1)
    table = table[list(COLUMNS)]
    table.attrs[BY_THEMSELVES] = {observed.metric: by_themselves}
    return table


def _fanova(observed: Observations) -> dict[str, tuple[float, int]]:
    """By setting: (share of the variance times the share of configurations that have it, configurations used)."""
    from optuna.importance import FanovaImportanceEvaluator

    found: dict[str, tuple[float, int]] = {}
    groups: dict[bytes, list[Setting]] = {}
    for setting in observed.settings:
        groups.setdefault(observed.table[setting.key].notna().to_numpy().tobytes(), []).append(setting)
    for group in groups.values():
        there = observed.table.loc[observed.table[group[0].key].notna()]
        used = evenly(there, FANOVA_CONFIGURATIONS, maximised(observed.metric))
        if len(used) < MINIMUM_CONFIGURATIONS:
            found |= {setting.key: (float("nan"), len(used)) for setting in group}
            continue
        features = [setting for setting in observed.settings if used[setting.key].notna().all()]
        try:
            shares = FanovaImportanceEvaluator(seed=SEED).evaluate(_study(used, features, observed.metric))
        except RuntimeError:  # no tree found anything to split
            shares = {}
        weight = len(there) / len(observed.table)
        found |= {setting.key: (weight * float(shares.get(setting.key, 0.0)), len(used)) for setting in group}
    return found


def _ped_anova(observed: Observations) -> dict[str, float]:
    """By setting: the divergence of its distribution among the best from that among all configurations."""
    from optuna.importance import PedAnovaImportanceEvaluator

    used = evenly(observed.table, PED_ANOVA_CONFIGURATIONS, maximised(observed.metric))
    evaluator = PedAnovaImportanceEvaluator(target_quantile=top_share(len(used)))
    found = evaluator.evaluate(_study(used, observed.settings, observed.metric))
    return {setting.key: float(found.get(setting.key, 0.0)) for setting in observed.settings}


def top_share(n: int) -> float:
    """The share of `n` configurations that PED-ANOVA takes as the best."""
    return max(TOP_SHARE, TOP_LEAST / n)


def _study(table: pd.DataFrame, settings: Sequence[Setting], metric: str) -> "optuna.Study":
    """An Optuna study of finished trials, a row of the table each."""
    import optuna

    domains = {setting.key: _domain(setting) for setting in settings}
    study = optuna.create_study(direction="maximize" if maximised(metric) else "minimize")
    for row in rows_of(table):
        params = {s.key: _param(s, row[s.key]) for s in settings if not pd.isna(row[s.key])}
        study.add_trial(
            optuna.trial.create_trial(
                params=params, distributions={key: domains[key] for key in params}, value=float(row["value"])
            )
        )
    return study


def _domain(setting: Setting) -> "optuna.distributions.BaseDistribution":
    """A setting's Optuna distribution; a log range becomes a range of logarithms, as Optuna's fANOVA weighs log ranges
    linearly: nine tenths of the weight of a rate from 0.0001 to 1 would lie above 0.1."""
    import optuna

    if setting.choices:
        return optuna.distributions.CategoricalDistribution(setting.choices)
    if setting.whole and not setting.log:
        return optuna.distributions.IntDistribution(int(setting.low), int(setting.high), step=int(setting.step or 1))
    low, high = setting.scaled(np.array([setting.low, setting.high]))
    return optuna.distributions.FloatDistribution(float(low), float(high), step=setting.step or None)


def _param(setting: Setting, value: Any) -> Any:
    if setting.choices:
        return value
    if setting.whole and not setting.log:
        return int(value)
    return float(setting.scaled(np.array([value]))[0])


def _shares(values: Sequence[float]) -> "pd.Series[float]":
    """Values divided by their sum; zeros where all are zero."""
    numbers = pd.Series(values, dtype="float64").clip(lower=0)
    total = numbers.sum()
    return numbers / total if total > 0 else numbers


@contextmanager
def _quiet() -> Iterator[None]:
    """Mutes Optuna's log lines about new studies and its warnings about few trials, which `n` shows."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(logging.ERROR)
    try:
        with warnings.catch_warnings(action="ignore", category=UserWarning):
            yield
    finally:
        optuna.logging.set_verbosity(before)
