"""The peer of `report`: `python -m benchmarks.report_peer RUN_DIR TABLE.csv`, a hand-written table.

Each trial is taken at its best epoch by validation; each cell has n, mean, standard deviation and 95 % t interval.
"""

import json
import sys
from pathlib import Path

import pandas as pd
from scipy.stats import t

METRIC, SELECTED_BY = "test_balanced_accuracy", "val_reference"


def main(run_dir: Path, file: Path) -> None:
    """Read log.jsonl, write the table."""
    with (run_dir / "log.jsonl").open(encoding="utf-8") as lines:
        log = pd.DataFrame([json.loads(line) for line in lines])
    starts = log[log["event"] == "start"].set_index("trial")["cell"]
    epochs = log[log["event"] == "epoch"]
    best = epochs.loc[epochs.groupby("trial")[SELECTED_BY].idxmin()].set_index("trial")
    table = best.groupby(starts)[METRIC].agg(["count", "mean", "std"])
    half = t.ppf(0.975, table["count"] - 1) * table["std"] / table["count"] ** 0.5
    table["ci_low"], table["ci_high"] = table["mean"] - half, table["mean"] + half
    table.sort_values("mean", ascending=False).to_csv(file)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
