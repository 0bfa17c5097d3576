"""A trial selects the epoch that the analysis selects from its rows."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.records.selection import selected_epochs
from tests.trainables.small_trials import finish, small_config, small_spec
from trainables.config import SELECTABLE
from trainables.trial.selected_epoch import selected_epoch

METRICS = SELECTABLE
# few different values, so that ties are common; null is what a record says of a value that is not finite
values = st.none() | st.sampled_from([0.0, 0.25, 0.5]) | st.floats(0, 10)


def chosen(rows: list[dict[str, Any]], rule: dict[str, Any]) -> int | None:
    """The trial's own choice among these rows."""
    config = small_config({f"selection.{key}": value for key, value in rule.items()})
    return selected_epoch(config.selection, rows)


def rows_of(column: list[float | None], metric: str) -> list[dict[str, Any]]:
    return [{"epoch": epoch, metric: value} for epoch, value in enumerate(column, 1)]


@pytest.mark.parametrize("metric", METRICS)
@given(column=st.lists(values, min_size=1, max_size=12))
def test_the_best_epoch_is_the_analysis_s(metric: str, column: list[float | None]) -> None:
    rule = {"rule": "best", "metric": metric}
    rows = rows_of(column, metric)
    theirs = selected_epochs(pd.DataFrame(rows).assign(trial="t"), rule)
    assert chosen(rows, rule) == theirs.get("t")


@given(length=st.integers(1, 8), epoch=st.integers(1, 10), fixed=st.booleans())
def test_the_last_and_a_fixed_epoch_are_the_analysis_s(length: int, epoch: int, fixed: bool) -> None:
    rule = {"rule": "epoch", "epoch": epoch} if fixed else {"rule": "last"}
    rows = rows_of([1.0] * length, "val_reference")
    theirs = selected_epochs(pd.DataFrame(rows).assign(trial="t"), rule)
    assert chosen(rows, rule) == theirs.get("t")


@pytest.mark.parametrize(("metric", "expected"), [("val_ce", 2), ("val_accuracy", 3)])
def test_the_first_of_equals_wins_and_accuracies_are_maximised(metric: str, expected: int) -> None:
    column = [0.5, 0.1, 0.9, 0.1, 0.9, None]
    assert chosen(rows_of(column, metric), {"rule": "best", "metric": metric}) == expected


def test_nothing_is_selected_where_nothing_is_finite() -> None:
    assert chosen(rows_of([None, None], "val_ce"), {"rule": "best", "metric": "val_ce"}) is None


@pytest.mark.parametrize(
    ("rule", "expected"),
    [({"rule": "last"}, 4), ({"rule": "epoch", "epoch": 2}, 2)],
    ids=["last", "epoch"],
)
def test_a_trial_predicts_with_the_model_of_its_selected_epoch(
    rule: dict[str, Any], expected: int, tmp_path: Path
) -> None:
    settings = {"training.epochs": 4, **{f"selection.{key}": value for key, value in rule.items()}}
    outcome = finish(small_spec(tmp_path, settings))
    assert outcome.selected_epoch == expected
    assert outcome.predictions is not None
    hits = (outcome.predictions["target"] == outcome.predictions["prediction"]).mean()
    assert hits == pytest.approx(outcome.rows[expected - 1]["test_accuracy"], rel=1e-12)
