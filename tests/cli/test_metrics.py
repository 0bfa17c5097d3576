"""A metric that is asked for as primary gives the ablation table that one computes by hand from `predictions/`."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from scipy import stats
from sklearn.metrics import f1_score

from core.metrics import BUILT_IN, METRICS
from run_search import main

MINE = """
def shortfall(scores, targets):
    return 1 - scores[range(len(targets)), targets].astype(float).mean()
"""
STUDY = """
name: asked
workload: digits
epochs: 2
seeds: 3
design: one_at_a_time
metrics: [{entry}]
metric: test_{column}
baseline: {{selection.metric: val_{column}, dataset.limit_train: 200}}
factors:
- name: momentum
  levels: [{{name: "off"}}, {{name: "on", settings: {{optimizer.momentum: 0.9}}}}]
"""


def by_hand(column: str, scores: np.ndarray, targets: np.ndarray) -> float:
    if column == "f1_macro":
        return float(f1_score(targets, scores.argmax(1), average="macro"))
    return float(np.mean([1 - float(row[target]) for row, target in zip(scores, targets, strict=True)]))


@pytest.mark.matrix
@pytest.mark.parametrize(
    ("entry", "column", "larger"),
    [
        ("f1_macro", "f1_macro", True),
        ("{name: mine.py:shortfall, maximise: false}", "shortfall", False),
    ],
)
def test_the_table_is_that_of_the_predictions(entry: str, column: str, larger: bool, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MINE, encoding="utf-8")
    file, run = tmp_path / "s.yaml", tmp_path / "run"
    file.write_text(STUDY.format(entry=entry, column=column), encoding="utf-8")
    try:
        done = CliRunner().invoke(main, ["run", str(file), "--out", str(run)])
        assert done.exit_code == 0, done.output
    finally:
        for name in set(METRICS) - BUILT_IN:
            del METRICS[name]
    trials = pd.read_parquet(run / "trials.parquet")
    values = []
    for trial in trials["trial"]:
        told = pd.read_parquet(run / "predictions" / f"{trial}.parquet")
        values.append(by_hand(column, told.filter(regex=r"score_\d").to_numpy(), told["target"].to_numpy()))
    assert trials[f"test_{column}"].to_numpy() == pytest.approx(values, rel=1e-9)
    assert f"train_{column}" not in trials
    table = trials.assign(value=values).pivot(index="seed", columns="cell", values="value")
    differences = table["momentum=on"] - table["baseline"]
    (row,) = pd.read_csv(run / "report" / "ablation.csv").to_dict("records")
    assert (row["metric"], row["n_pairs"]) == (f"test_{column}", 3)
    assert row["delta"] == pytest.approx(differences.mean(), rel=1e-6)
    p_value = stats.ttest_1samp(differences, 0).pvalue
    assert row["p_value"] == pytest.approx(p_value, rel=1e-4)
    settled = "better" if (differences.mean() > 0) == larger else "worse"
    assert row["verdict"] == (settled if p_value < 0.05 else "no clear difference")
