"""Recompute delta, interval and p-values of RUN/report/ablation.csv from RUN/trials.parquet, by another route.

Run as a program of its own, so that nothing of the project is imported; exit status 1 where a figure is off by 1e-9.
"""

import itertools
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats


def expected(level: pd.Series, baseline: pd.Series) -> dict[str, float]:
    pairs = pd.concat([level, baseline], axis=1, join="inner").dropna().to_numpy()
    differences = pairs[:, 0] - pairs[:, 1]
    test = stats.ttest_rel(pairs[:, 0], pairs[:, 1])
    low, high = test.confidence_interval(0.95)
    flips = np.array(list(itertools.product([1, -1], repeat=len(differences)))) * differences
    extreme = np.abs(flips.sum(1)) >= abs(differences.sum()) - 1e-12
    figures = {"delta": differences.mean(), "ci_low": low, "ci_high": high}
    return {**figures, "p_value": test.pvalue, "p_permutation": extreme.mean()}


def main(run: Path) -> int:
    trials = pd.read_parquet(run / "trials.parquet")
    table = pd.read_csv(run / "report" / "ablation.csv")
    cells = {cell: rows.set_index("seed") for cell, rows in trials.groupby("cell")}
    worst = []
    for row in table.to_dict("records"):
        names = zip(row["factor"].split(" + "), row["level"].split(" + "), strict=True)
        cell = " + ".join(f"{factor}={level}" for factor, level in names)
        figures = expected(cells[cell][row["metric"]], cells["baseline"][row["metric"]])
        worst.append(max(abs(figures[name] - row[name]) for name in figures))
    order = np.argsort(table["p_value"])
    steps = (len(table) - np.arange(len(table))) * table["p_value"].to_numpy()[order]
    holm = np.minimum(np.maximum.accumulate(steps), 1)
    worst.append(np.abs(holm - table["p_holm"].to_numpy()[order]).max())
    agree = max(worst) < 1e-9 and "torch" not in sys.modules
    print(f"{len(table)} rows agree" if agree else f"off by {max(worst)}")
    return 0 if agree else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
