"""What differs between two runs, whatever the types of their columns."""

from analysis.tables.compare import compare_runs
from tests.analysis import runs
from tests.analysis.tables.test_compare import BASE, OTHER, SAME, cell, lr, pair, search, write


def differences(comparison):
    table = comparison.tables["compare_differences"].set_index("what")
    return {what: (row["a"], row["b"]) for what, row in table.iterrows()}


def test_what_differs_is_listed_and_what_does_not_is_not(tmp_path):
    changes = {"config": OTHER, "epochs": 20, "versions": {"python": "3.11", "torch": "2.12"}}
    changes |= {
        "git": {"commit": "feed", "dirty": True},
        "data": {"fingerprint": "beef"},
        "request": {"options": {"cpus": 2}},
    }
    comparison = pair(tmp_path, {"baseline": BASE}, {"baseline": BASE[:4]}, None, changes)
    assert differences(comparison) == {
        "directory": (str(tmp_path / "a"), str(tmp_path / "b")),
        "epochs": ("10", "20"),
        "trials": ("5 finished, of 5 planned trials", "4 finished, of 5 planned trials"),
        "option cpus": ("not recorded", "2"),
        "data fingerprint": ("f00d", "beef"),
        "version torch": ("2.11", "2.12"),
        "git commit": ("0123abc", "feed"),
        "git dirty": ("false", "true"),
        "setting optimizer.lr": ("0.01", "0.02"),
    }
    assert comparison.notes == [
        "The runs used different data, so no seeds are paired.",
        "B is not finished: 4 finished, of 5 planned trials.",
    ]


def test_a_setting_that_an_earlier_version_did_not_know_is_no_difference_of_configuration(tmp_path):
    comparison = pair(tmp_path, {"baseline": BASE}, {"baseline": BASE}, None, {"config": {**SAME, "new": 0}})
    assert differences(comparison)["setting new"] == ("not recorded", "0")
    assert cell(comparison)["verdict"] == "identical"
    assert comparison.notes == [
        "5 finished trials stand in both runs with the same data, seed and settings (of those that both recorded); "
        "5 of them with the same numbers in every metric."
    ]


def test_the_seeds_the_levels_and_the_space_are_part_of_it(tmp_path):
    a, b = {"baseline": BASE, "loss=a": BASE}, {"baseline": BASE, "loss=b": BASE}
    found = differences(pair(tmp_path / "1", a, b, None, {"study": runs.study(b, range(3))}))
    assert found["levels of loss"] == ("ce, a", "ce, b")
    assert found["seeds"] == ("0, 1, 2, 3, 4", "0, 1, 2")
    spaces = [{"space": [{"key": "optimizer.lr", "low": low}]} for low in (0.1, 0.2)]
    runs_of = [search(tmp_path / "2" / str(i), [("h", lr(0.1), [0.5])], **space) for i, space in enumerate(spaces)]
    assert differences(compare_runs(*runs_of))["space of optimizer.lr"] == ('{"low": 0.1}', '{"low": 0.2}')


def test_a_searchs_settings_are_those_that_all_its_configurations_share(tmp_path):
    a = search(tmp_path / "a", [("h1", lr(0.1), [0.5]), ("h2", lr(0.2), [0.5])])
    b = search(tmp_path / "b", [("k1", lr(0.3, schedule={"warmup": 0.2}), [0.5])])
    found = {what for what in differences(compare_runs(a, b)) if what.startswith("setting")}
    assert found == {"setting schedule.warmup"}


def test_before_a_run_starts_the_settings_asked_for_are_compared(tmp_path):
    a, b = write(tmp_path / "a", {"baseline": BASE}), write(tmp_path / "b", {}, baseline={"loss.name": "focal"})
    found = {what: both for what, both in differences(compare_runs(a, b)).items() if what.startswith("setting")}
    assert found == {"setting loss.name": ("ce", "focal")}
