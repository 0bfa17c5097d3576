"""What a search varied: settings as they were drawn, missing where they did not exist."""

import math

import pandas as pd
import pytest

from analysis.records.search_space import best_last, evenly, observe, settings_of
from analysis.records.store import read_records
from analysis.tables.ranking import ranking_table
from tests.analysis import runs, searches


def points(n=12):
    """Every other configuration has a step schedule and with it a gamma."""
    for place in range(n):
        point = {"optimizer.lr": 10 ** (-4 + place / 3), "schedule.name": "step" if place % 2 else "constant"}
        yield point | ({"schedule.gamma": 0.1 + place / 20} if place % 2 else {})


def observed(tmp_path, space=(searches.LR, searches.SCHEDULE, searches.GAMMA), **changes):
    trials = [searches.trial(f"c{i}", point, 0.5 + i / 100) for i, point in enumerate(points())]
    return observe(read_records(searches.write(tmp_path, list(space), trials, **changes)))


def test_a_setting_whose_condition_does_not_hold_is_missing_though_the_configuration_shows_its_default(tmp_path):
    table = observed(tmp_path).table
    assert table["schedule.gamma"].isna().tolist() == [True, False] * 6
    assert table["schedule.gamma"].iloc[3] == pytest.approx(0.1 + 3 / 20)
    assert table["schedule.name"].tolist() == ["constant", "step"] * 6
    assert [setting.condition for setting in observed(tmp_path / "b").settings] == ["", "", "schedule.name is step"]


@pytest.mark.parametrize(
    ("domain", "labels"),
    [
        (searches.LAYERS, ["none", "conv1", "conv1+conv2"]),
        (searches.CROP, ["none", "[0.5, 1.0]", "[0.08, 1.0]"]),
        ({**searches.LAYERS, "choices": [None, []]}, ["null", "[]"]),
        ({**searches.LAYERS, "choices": [False, True]}, ["false", "true"]),
        ({**searches.LAYERS, "choices": [1, 2.5]}, ["1", "2.5"]),
        ({**searches.LAYERS, "choices": ["a", 1, None]}, ["a", "1", "none"]),
    ],
)
def test_choices_of_any_kind_come_back_as_their_labels(tmp_path, domain, labels):
    chosen = [domain["choices"][i % len(labels)] for i in range(12)]
    trials = [searches.trial(f"c{i}", {domain["key"]: value}, 0.5 + i / 100) for i, value in enumerate(chosen)]
    run = searches.write(tmp_path, [domain], trials)
    observations = observe(read_records(run))
    assert observations.settings[0].choices == tuple(labels)
    assert observations.table[domain["key"]].tolist() == [labels[i % len(labels)] for i in range(12)]


def test_a_condition_on_a_list_names_the_choices_of_the_table(tmp_path):
    rate = {**searches.GAMMA, "key": "model.dropout_rate", "when": {"model.bn_after": [["conv1"], ["conv1", "conv2"]]}}
    trials = [
        searches.trial("c0", {"model.bn_after": [], "model.dropout_rate": 0.5}, 0.5),
        searches.trial("c1", {"model.bn_after": ["conv1"], "model.dropout_rate": 0.25}, 0.6),
    ]
    records = read_records(searches.write(tmp_path, [searches.LAYERS, rate], trials))
    assert observe(records).table["model.dropout_rate"].fillna(-1).tolist() == [-1, 0.25]
    assert settings_of(records)[1].condition == "model.bn_after is conv1 or conv1+conv2"


def test_seeds_are_averaged_and_only_finished_trials_count(tmp_path):
    trials = [
        searches.trial("a", {"optimizer.lr": 0.1}, 0.5, seed=0),
        searches.trial("a", {"optimizer.lr": 0.1}, 0.8, seed=1),
        searches.trial("b", {"optimizer.lr": 0.2}, 0.9, seed=0),
        searches.trial("b", {"optimizer.lr": 0.2}, 0.1, seed=1, status="diverged"),
        searches.trial("c", {"optimizer.lr": 0.3}, 0.4, seed=0, status="failed"),
        searches.trial("d", {"optimizer.lr": 0.3}, 0.4, seed=0, status="running"),
        searches.trial("e", {"optimizer.lr": 0.3}, 0.4, seed=0, status="stopped"),
    ]
    table = observe(read_records(searches.write(tmp_path, [searches.LR], trials, seeds=[0, 1]))).table
    assert table["cell"].tolist() == ["a", "b"]
    assert table["value"].tolist() == pytest.approx([0.65, 0.9])
    assert table["n"].tolist() == [2, 1]


def test_where_most_were_stopped_all_are_compared_at_the_first_stop(tmp_path):
    curve = [0.1, 0.2, 0.3, 0.4]
    trials = [searches.trial("whole", {"optimizer.lr": 0.1}, [0.15, 0.5, 0.7, 0.9])]
    trials += [searches.trial("second", {"optimizer.lr": 0.2}, curve[:2], status="stopped")]
    trials += [searches.trial("third", {"optimizer.lr": 0.3}, curve[:3], status="stopped")]
    trials += [searches.trial("broken", {"optimizer.lr": 0.3}, curve[:3], status="diverged")]
    observations = observe(read_records(searches.write(tmp_path, [searches.LR], trials)))
    assert observations.epoch == 2
    assert dict(observations.table[["cell", "value"]].to_numpy().tolist()) == {
        "whole": 0.5,
        "second": 0.2,
        "third": 0.2,
    }
    assert observations.basis == "3 configurations after 2 epochs, which is as far as all of them came"


def test_a_population_a_short_and_a_flat_search_say_why_nothing_can_be_said(tmp_path):
    population = observed(tmp_path / "p", trial_scheduler={"name": "pbt"})
    assert "change their settings while they train" in population.too_little
    trials = [searches.trial(f"c{i}", {"optimizer.lr": 0.1}, 0.5) for i in range(12)]
    flat = observe(read_records(searches.write(tmp_path / "f", [searches.LR], trials)))
    assert "all 12 configurations have the same val_accuracy" in flat.too_little
    one = observe(read_records(searches.write(tmp_path / "o", [searches.LR], trials[:1])))
    assert one.too_little.endswith("needs 10 configurations with a val_accuracy to compare; 1 configuration has one.")
    none = observe(read_records(searches.write(tmp_path / "n", [searches.LR], [])))
    assert "no configurations have one" in none.too_little


def test_an_older_record_without_ranges_has_no_settings(tmp_path):
    run = runs.write_outcomes(tmp_path, runs.search(), {"c0": [0.7]})
    assert settings_of(read_records(run)) == ()


def test_an_even_sample_keeps_the_best_the_worst_and_the_order(tmp_path):
    table = observed(tmp_path).table
    shuffled = table.sample(frac=1, random_state=0)
    sample = evenly(shuffled, 4, maximise=True)
    assert sorted(sample["value"]) == pytest.approx([0.5, 0.54, 0.57, 0.61])
    assert sample["cell"].tolist() == [cell for cell in shuffled["cell"] if cell in set(sample["cell"])]
    assert len(evenly(table, 100, maximise=False)) == len(table)
    assert math.isclose(evenly(table, 2, maximise=False)["value"].min(), 0.5)


def test_of_equal_configurations_the_first_is_the_best_as_in_the_ranking(tmp_path):
    outcomes = {"c0": [0.5], "c1": [0.9], "c2": [0.9], "c3": [0.7]}
    records = read_records(runs.write_outcomes(tmp_path, runs.search(), outcomes))
    table = pd.DataFrame({"cell": list(outcomes), "value": [0.5, 0.9, 0.9, 0.7]})
    assert best_last(table, runs.METRIC)["cell"].tolist() == ["c0", "c3", "c2", "c1"]
    assert ranking_table(records)["cell"].iloc[0] == "c1"
    assert best_last(table, "val_loss")["cell"].iloc[-1] == "c0"
