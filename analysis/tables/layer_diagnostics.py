"""Activations, gradients and updates by layer and epoch, where a run recorded `diagnostics`: as rows, as a table of the
last epoch, and as sentences on the faults that RULES find.
"""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.records.columns import last_epochs, read_parquet, unless_damaged
from analysis.records.run_directory import RunDirectory
from analysis.records.run_records import Records
from analysis.records.schema import DIVERGED
from analysis.tables.ranking import best_cell
from analysis.tables.spec import TableSpec, register
from core.value_words import listed

register(
    TableSpec(
        "diagnostics", caption="Activations, gradients and weights by layer in the last epoch, mean over seeds ({n})."
    )
)
MEASURES = ("mean", "std", "dead", "gradient_norm", "weight_norm", "update_ratio")
COLUMNS = ("cell", "layer", "kind", "epoch", "n", *MEASURES)
MAXIMUM_CELLS = 6
CANDIDATES = 40  # cells that are searched for recorded diagnostics
DEAD = 0.99  # share of a layer's units above which they count as dead
VANISHED = 1e-8  # gradient norm of a layer below which it counts as vanished
UNMOVED = 1e-4  # relative change in an epoch: if no layer ever changes more, the network counts as unmoved
NAMED_LAYERS = 3  # named in one sentence; of the others the number is given
RULES = (
    f"Said of what holds in every seed: over {100 * DEAD:g} % of a layer's units dead in the last epoch; a gradient's "
    f"norm below 1e-8 there; weights that no epoch changed by {100 * UNMOVED:g} % of their norm; a last layer that is "
    "rectified."
)


def activation_rows(records: Records, run: RunDirectory, ranking: pd.DataFrame) -> pd.DataFrame:
    """One row per layer and epoch of each finished or diverged trial, of up to MAXIMUM_CELLS cells with diagnostics:
    the baseline, the best, then the study's others, a search's in the order of its ranking.

    `place` counts layers from the input on. Batch norm and dropout placed after a layer change no name.
    """
    first = [records.baseline_cell, best_cell(records, ranking)]
    others = ranking["cell"] if records.is_search else list(records.cells)
    cells = dict.fromkeys(records.resolve(str(cell)) for cell in [*first, *others] if cell is not None)
    found = (rows for cell in islice(cells, CANDIDATES) for rows in _of_cell(records, run, cell))
    kept = list(islice(found, MAXIMUM_CELLS)) if run.artifacts.is_dir() else []
    return pd.concat(kept, ignore_index=True) if kept else pd.DataFrame(columns=["cell", "seed", "place", *COLUMNS])


def _of_cell(records: Records, run: RunDirectory, cell: str) -> Iterator[pd.DataFrame]:
    """All trials of a cell as one frame, if any has a file."""
    parts = []
    for seed, trial in records.finished_trials(cell, DIVERGED).items():
        rows = read_diagnostics(run.artifact(trial, "diagnostics.parquet"))
        if rows is not None:
            parts.append(rows.assign(cell=cell, seed=seed))
    if parts:
        yield pd.concat(parts, ignore_index=True)


@unless_damaged
def read_diagnostics(path: Path) -> pd.DataFrame | None:
    """epoch, place, layer, kind and MEASURES; None where the file is missing or has other columns."""
    table = read_parquet(path)
    if table is None or not {"epoch", "layer", "kind", *MEASURES} <= set(table) or table.empty:
        return None
    text = all(pd.api.types.is_string_dtype(table[name]) for name in ("layer", "kind"))
    if not text or not pd.api.types.is_integer_dtype(table["epoch"]):
        return None
    table["layer"] = table["layer"].astype("str").str.removesuffix(".layer")
    table["place"] = table.groupby("epoch").cumcount()
    return table.astype(dict.fromkeys(MEASURES, "float64")).replace([np.inf, -np.inf], np.nan)


def diagnostics_table(rows: pd.DataFrame) -> pd.DataFrame:
    """COLUMNS: each layer in its trial's last epoch, means over the `n` seeds; layers from the input on."""
    grouped = rows.loc[last_epochs(rows, "cell", "seed")].groupby(["cell", "place", "layer", "kind"], sort=False)
    table = grouped.agg(epoch=("epoch", "max"), n=("seed", "nunique"), **{name: (name, "mean") for name in MEASURES})
    return table.reset_index()[list(COLUMNS)]


def rectifies(kinds: pd.Series) -> "pd.Series[bool]":
    """Whether layers of these kinds can have dead units: rectifiers of any sort."""
    return kinds.str.contains("relu|rectified", case=False)


def has_weights(kinds: pd.Series) -> "pd.Series[bool]":
    """Whether layers of these kinds multiply by weights: convolutions and linear ones."""
    return kinds.str.contains("conv|linear", case=False)


def findings(rows: pd.DataFrame) -> list[str]:
    """A sentence for each fault found in all seeds of a cell by RULES."""
    sentences = []
    for cell, own in rows.groupby("cell", sort=False):
        n = own["seed"].nunique()
        seeds = {1: "one seed", 2: "both seeds"}.get(n, f"all {n} seeds")
        said = filter(None, (_dead(own), _vanished(own), _unmoved(own), _cut_off(own)))
        sentences += [f"{cell}, {seeds}: {fault}." for fault in said]
    return sentences


def _dead(own: pd.DataFrame) -> str:
    """The rectifiers with more than DEAD of their units dead in the last epoch of all seeds, by the first epoch."""
    layers = own.loc[rectifies(own["kind"])]
    since: dict[int, list[str]] = {}
    share: list[float] = []
    for layer, part in layers.groupby("layer", sort=False):
        begun = [_since(trial.set_index("epoch")["dead"] > DEAD) for _, trial in part.groupby("seed")]
        if all(epoch is not None for epoch in begun):
            since.setdefault(max(epoch for epoch in begun if epoch is not None), []).append(str(layer))
            share.append(float(part.loc[part["epoch"] == part["epoch"].max(), "dead"].min()))
    if not since:
        return ""
    how_many = "100 %" if min(share) == 1 else f"more than {100 * DEAD:g} %"
    parts = [f"in {listed(names, NAMED_LAYERS)} from epoch {epoch} on" for epoch, names in sorted(since.items())]
    return f"{how_many} of the units are dead {', '.join(parts)}"


def _since(flags: "pd.Series[bool]") -> int | None:
    """The epoch from which all flags are true; None where the last one is not."""
    flags = flags.sort_index()
    if not bool(flags.iloc[-1]):
        return None
    false = flags.index[~flags.to_numpy()]
    return int(flags.index[flags.index > false.max()].min() if len(false) else flags.index.min())


def _vanished(own: pd.DataFrame) -> str:
    last = own.loc[last_epochs(own, "seed")].dropna(subset="gradient_norm")
    worst = last.groupby("layer", sort=False)["gradient_norm"].max()
    layers = [str(layer) for layer in worst.index[worst < VANISHED]]
    return f"no gradient reaches {listed(layers, NAMED_LAYERS)} in the last epoch" if layers else ""


def _unmoved(own: pd.DataFrame) -> str:
    most = own.loc[has_weights(own["kind"]), "update_ratio"].max()
    if not most < UNMOVED:
        return ""
    return f"no epoch changed any layer's weights by {100 * UNMOVED:g} % of their size"


def _cut_off(own: pd.DataFrame) -> str:
    last = own.loc[own["place"] == own["place"].max()].iloc[0]
    if not bool(rectifies(own["kind"]).loc[last.name]):
        return ""
    return f"the last layer, {last['layer']}, is not linear ({last['kind']}): what is below 0 is lost"
