"""Which epoch counts, and how steady the validation curve was."""

import itertools
import math

import pandas as pd
import pytest

from analysis.records.selection import selected_epochs, steadiness


def curve(values, metric="val_reference", trial="t"):
    return pd.DataFrame({"trial": trial, "epoch": range(1, len(values) + 1), metric: values})


@pytest.mark.parametrize(
    ("metric", "values", "expected"),
    [
        ("val_reference", [3.0, 1.0, 2.0, 1.0], 2),
        ("val_accuracy", [0.1, 0.7, 0.7, 0.6], 2),
        ("val_reference", [math.nan, 2.0, math.nan, 3.0], 2),
        ("val_reference", [-math.inf, 2.0, math.inf], 2),
        ("val_accuracy", [math.nan, math.inf, 0.2], 3),
    ],
)
def test_best_is_the_first_best_finite_value(metric, values, expected):
    assert selected_epochs(curve(values, metric), {"rule": "best", "metric": metric}).to_dict() == {"t": expected}


def test_a_trial_without_a_finite_value_has_no_selected_epoch():
    epochs = pd.concat([curve([math.nan, math.nan], trial="a"), curve([2.0, 1.0], trial="b")])
    assert selected_epochs(epochs, {"rule": "best", "metric": "val_reference"}).to_dict() == {"b": 2}


def test_last_and_fixed_epochs_look_at_no_metric():
    epochs = pd.concat([curve([1.0, 2.0, 3.0], trial="a"), curve([1.0], trial="b")])
    assert selected_epochs(epochs, {"rule": "last"}).to_dict() == {"a": 3, "b": 1}
    assert selected_epochs(epochs, {"rule": "epoch", "epoch": 2}).to_dict() == {"a": 2}


def test_rows_in_any_order_give_the_same_epoch():
    epochs = curve([3.0, 1.0, 1.0, 2.0]).sample(frac=1, random_state=0)
    assert selected_epochs(epochs, {"rule": "best", "metric": "val_reference"}).to_dict() == {"t": 2}


def test_test_data_never_chooses():
    with pytest.raises(ValueError, match="'test_accuracy' is not a validation metric; nearest: 'val_accuracy'"):
        selected_epochs(curve([1.0]), {"rule": "best", "metric": "test_accuracy"})


def test_an_unknown_rule_is_refused_with_the_nearest_one():
    with pytest.raises(ValueError, match="'lats' is none of best, last, epoch; nearest: 'last'"):
        selected_epochs(curve([1.0]), {"rule": "lats"})


def test_roughness_and_jumps_leave_out_the_first_tenth_of_the_epochs():
    values = [100.0, 50.0] + [1.0, 2.0, 1.0, 1.6] + [1.6] * 14
    row = steadiness(curve(values)).loc["t"]
    steps = [abs(math.log(b / a)) for a, b in itertools.pairwise(values[2:])]
    assert row["val_roughness"] == pytest.approx(sum(steps) / len(steps), abs=1e-12)
    assert row["val_jumps"] == 2


def test_a_rise_of_less_than_half_and_a_fall_are_no_jumps():
    assert steadiness(curve([1.0, 1.49, 0.5, 0.7])).loc["t", "val_jumps"] == 0


def test_steadiness_needs_two_epochs_of_positive_values():
    epochs = pd.concat([curve([1.0], trial="a"), curve([0.0, math.nan, 1.0], trial="b"), curve([1.0, 2.0], trial="c")])
    assert steadiness(epochs).index.tolist() == ["c"]
