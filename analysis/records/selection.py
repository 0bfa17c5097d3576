"""Selects each trial's epoch by a named rule, and measures how unsteady its validation curve is.

Rules use validation columns only: a rule on a test metric is a ValueError. A non-finite value is never selected.
"""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

import numpy as np
import pandas as pd

from core.metrics import counterpart, maximised

RULES = ("best", "last", "epoch")
JUMP = float(np.log(1.5))


def selected_epochs(epochs: pd.DataFrame, rule: Mapping[str, Any]) -> pd.Series:
    """Selected epoch by trial, for {"rule": "best", "metric": …}, {"rule": "last"} or {"rule": "epoch", "epoch": N}.

    A trial that has no such epoch (yet) is absent from the result.
    """
    name = rule.get("rule")
    if name == "best":
        return _best(epochs, str(rule["metric"]))
    if name == "last":
        last: pd.Series = epochs.groupby("trial", sort=False)["epoch"].max()
        return last
    if name == "epoch":
        fixed: pd.Series = epochs.loc[epochs["epoch"] == rule["epoch"]].set_index("trial")["epoch"]
        return fixed
    near = get_close_matches(str(name), RULES, n=1, cutoff=0)[0]
    raise ValueError(f"selection.rule {name!r} is none of {', '.join(RULES)}; nearest: {near!r}")


def _best(epochs: pd.DataFrame, metric: str) -> pd.Series:
    """First epoch of the smallest (or largest) value of a validation metric."""
    if not metric.startswith("val_"):
        raise ValueError(
            f"selection.metric {metric!r} is not a validation metric; nearest: {counterpart(metric, 'val')!r}"
        )
    sign = -1.0 if maximised(metric) else 1.0
    if metric not in epochs:
        return pd.Series(dtype="int64", name="epoch", index=pd.Index([], name="trial"))
    rows = epochs[["trial", "epoch"]].assign(value=epochs[metric].to_numpy("float64") * sign)
    usable = rows.loc[np.isfinite(rows["value"].to_numpy())]
    ordered = usable.sort_values(["value", "epoch"], kind="stable")
    first: pd.Series = ordered.drop_duplicates("trial").set_index("trial")["epoch"]
    return first


def steadiness(epochs: pd.DataFrame) -> pd.DataFrame:
    """`val_roughness` (mean |Δ log val_reference|) and `val_jumps` (count of Δ log > log 1.5) by trial.

    The first 10 % of a trial's epochs are left out first, so that both epochs of every difference lie after them.
    A trial without two such epochs is absent.
    """
    if "val_reference" not in epochs:
        return pd.DataFrame({"val_roughness": [], "val_jumps": []}, index=pd.Index([], name="trial"))
    rows = epochs[["trial", "epoch", "val_reference"]].sort_values(["trial", "epoch"])
    length = rows.groupby("trial")["epoch"].transform("max")
    rows = rows.loc[10 * rows["epoch"] > length]
    reference = rows["val_reference"].astype("float64")
    log: pd.Series = reference.where(reference > 0).transform(np.log)
    steps = rows.assign(step=log.groupby(rows["trial"]).diff()).dropna(subset="step")
    by_trial = steps.assign(size=steps["step"].abs(), jump=steps["step"] > JUMP).groupby("trial")
    return pd.DataFrame({"val_roughness": by_trial["size"].mean(), "val_jumps": by_trial["jump"].sum()})
