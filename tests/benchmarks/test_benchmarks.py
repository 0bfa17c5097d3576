"""The benchmarks at a size that says nothing about speed: both sides run, and the figures are what their names say."""

import importlib
import json
import math
import os
import random
from contextlib import nullcontext

import optuna
import pandas as pd
import pytest
from click.testing import CliRunner

from analysis.records.store import read_records
from analysis.report.contents import report_tables
from benchmarks import __main__ as program
from benchmarks import epoch, forecast, fuse, overhead, photos, report, report_peer, study, study_peers
from benchmarks.measure import apart, compare, summary
from benchmarks.overhead import Run
from search_spaces.registry import STUDIES
from search_spaces.spaces import Number

SEARCH = STUDIES["folder/search"]
FIELDS = {"name", "ratio", "peer", "runs", "median_ours", "median_peer", "spread", "threads", "load"}
FIELDS |= {"processor", "amx", "avx512_bf16"}


@pytest.mark.parametrize("name", list(program.BENCHMARKS))
def test_every_name_is_a_benchmark(name):
    assert callable(importlib.import_module(f"benchmarks.{name}").run)


def test_an_unknown_name_is_refused():
    done = CliRunner().invoke(program.main, ["epochs"])
    assert done.exit_code == 2
    assert "'epochs' is not one of" in done.output


def test_with_json_the_last_line_is_the_result(monkeypatch):
    result = summary("data", [(1.0, 3.0)], "another") | {"notes": ["a note"]}
    monkeypatch.setattr("benchmarks.data.run", lambda: result)
    lines = CliRunner().invoke(program.main, ["data", "--json"]).output.splitlines()
    assert json.loads(lines[-1]) == result
    assert lines[0].startswith("data: ")
    assert "3 × (ours 1 s, another 3 s; 1 pair, ratios from 3 to 3" in lines[0]


def test_pairs_alternate_after_one_warm_up_of_each():
    calls: list[str] = []
    result = compare("x", lambda: calls.append("a"), lambda: calls.append("b"), "b", runs=3)
    assert "".join(calls) == "abababab"
    assert result["runs"] == 3


def test_the_ratio_is_the_median_of_the_pairs_and_larger_where_ours_is_quicker():
    result = summary("x", [(1.0, 2.0), (2.0, 20.0), (4.0, 12.0)], "peer")
    assert result["ratio"] == 3.0
    assert result["spread"] == [2.0, 10.0]
    assert (result["median_ours"], result["median_peer"]) == (2.0, 12.0)
    assert set(result) == FIELDS


def process():
    """A callable that tells the process it is made in, as an error."""
    made = os.getpid()

    def tell():
        raise LookupError(f"made in {made}, called in {os.getpid()}")

    return tell


@pytest.mark.matrix
def test_a_side_has_a_process_of_its_own_and_its_errors_are_told():
    with apart(process) as call, pytest.raises(LookupError, match=r"made in (\d+), called in \1") as told:
        call()
    assert f"made in {os.getpid()}" not in str(told.value)


@pytest.mark.matrix
def test_an_epoch_of_either_side(monkeypatch):
    monkeypatch.setattr(epoch, "apart", lambda make, *given: nullcontext(make(*given)))
    monkeypatch.setattr(epoch, "keep_freed", lambda: None)
    result = epoch.run(pictures=24, face_photos=16, runs=1, seeds=2, epochs=1, digits=150)
    assert FIELDS | {"ratio_fp32", "ratio_narrow", "ratio_stage3"} <= set(result)
    for case in (result, *result["cases"]):
        assert case["ratio"] == pytest.approx(case["median_peer"] / case["median_ours"])
    assert sum("validation accuracy" in note for note in result["notes"]) == 2


@pytest.mark.matrix
def test_both_sides_of_the_overhead_end_every_trial(tmp_path, local_ray):
    with overhead._registered():
        ours = overhead._ours(4, tmp_path / "ours")
    peer = overhead._peer(4, tmp_path / "peer")
    for run in (ours, peer):
        assert run.ends == sorted(run.ends)
        assert 0 <= run.planned < run.ends[0] <= run.ends[-1] <= run.seconds + 0.1
    assert ours.planned > 0


def test_the_overhead_of_a_trial_leaves_out_the_start_of_processes():
    def took(size: int, start: float, trial: float) -> list[Run]:
        return [Run(start + size * trial, [start + i * trial for i in range(1, size + 1)])]

    def planned(runs: list[Run], seconds: float) -> list[Run]:
        return [Run(run.seconds + seconds, run.ends, seconds) for run in runs]

    runs = {
        name: {size: took(size, start=5.0, trial=trial) for size in (10, 100, 1000)}
        for name, trial in (("ours", 0.01), ("peer", 0.04), ("quiet", 0.02))
    }
    result = overhead._result(runs, took(10, 5.0, 0.03))
    assert result["ratio"] == pytest.approx(4)
    assert result["ratio_quiet"] == pytest.approx(2)
    assert result["median_ours"] == pytest.approx(0.01)
    assert result["search_seconds"] == pytest.approx(0.03)
    assert result["growth"] == pytest.approx(1)
    assert any("40.00 ms a further trial" in note for note in result["notes"])
    assert set(result) >= FIELDS
    runs["ours"] = {size: planned(own, size * 0.01) for size, own in runs["ours"].items()}
    assert overhead._result(runs, took(10, 5.0, 0.03))["ratio"] == pytest.approx(2, rel=0.01)  # the plan counts


def test_a_cost_that_grows_with_the_number_of_trials_shows_as_growth():
    def squares(size: int) -> list[Run]:
        return [Run(float(size**2), [float(i**2) for i in range(size + 1)])]

    costs = {size: squares(size) for size in (10, 50, 100)}
    result = overhead._result({"ours": costs, "peer": costs, "quiet": costs}, squares(10))
    assert result["growth"] == pytest.approx(10)
    assert result["growth_halves"] == pytest.approx(3)


SAME = {
    "optimizer.name": "optimizer",
    "optimizer.lr": "lr",
    "optimizer.momentum": "momentum",
    "optimizer.weight_decay": "weight_decay",
    "schedule.name": "schedule",
    "augmentation.flip": "flip",
    "augmentation.crop_scale": "scale",
    "model.bn_after": "batch_norm",
    "model.dropout_after": "dropout",
    "model.dropout_rate": "rate",
    "training.batch_size": "batch_size",
}


def test_the_peers_of_a_search_draw_from_the_same_space():
    assert set(SAME) == SEARCH.varied
    peers = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    trials = [peers.ask() for _ in range(40)]
    for trial in trials:
        study_peers.suggest(trial)
    suggested = {name: found for trial in trials for name, found in trial.distributions.items()}
    assert set(suggested) == set(SAME.values())
    for parameter in SEARCH.space:
        theirs = suggested[SAME[parameter.key]]
        if isinstance(parameter, Number):
            assert (theirs.low, theirs.high, theirs.log) == (parameter.low, parameter.high, parameter.log)
        else:
            assert len(theirs.choices) == len(parameter.choices)


def test_random_configurations_have_every_setting_of_that_space():
    rng = random.Random(0)
    drawn = [study_peers.draw(rng) for _ in range(40)]
    assert {name for config in drawn for name in config} == set(SAME.values()) - {"dropout"}
    assert all(1e-4 <= config["lr"] <= 1e-1 and 16 <= config["batch_size"] <= 256 for config in drawn)


@pytest.mark.matrix
def test_a_peer_of_the_search_trains_all_its_trials(tmp_path):
    root = photos.gratings(tmp_path, {"train": 24, "validation": 12}, study_peers.SIDE)
    found = study_peers.joblib_parallel(root, samples=2, epochs=1)
    assert (found["trials"], found["epochs"]) == (2, 2)
    assert 0 <= found["accuracy"] <= 1


def test_a_search_is_held_against_the_best_of_its_peers():
    def found(trials: int, seconds: float) -> dict[str, float]:
        return {"trials": trials, "epochs": 4 * trials, "accuracy": 0.5, "seconds": seconds}

    searches = {"asha": found(64, 32) | {"whole": 40.0}, "fp32": found(64, 64) | {"whole": 70.0}}
    searches["bf16"] = found(64, 16) | {"whole": 20.0}
    searches |= {"ray": found(64, 320), "optuna": found(65, 130), "joblib": found(64, 192)}
    result = study._result(searches, ("ray", "optuna", "joblib"))
    assert result["ratio"] == pytest.approx(8)  # Optuna's 2 s a trial against our 0.25 s
    assert result["ratio_fp32"] == pytest.approx(2)
    assert result["trials_an_hour"] == pytest.approx(4 * 3600)
    assert [round(case["ratio"]) for case in result["cases"]] == [10, 2, 3]
    assert set(result) >= FIELDS


def test_the_reports_peer_finds_the_reports_own_means(tmp_path):
    root = report._records(tmp_path / "run", seeds=3, epochs=4)
    report_peer.main(root, tmp_path / "table.csv")
    table = pd.read_csv(tmp_path / "table.csv", index_col="cell")
    ranking = report_tables(read_records(root))["ranking"].set_index("cell")
    assert len(table) == math.prod(report.FACTORS.values()) == 60
    for theirs, own in (("mean", "mean"), ("std", "std"), ("ci_low", "ci_low"), ("ci_high", "ci_high")):
        pd.testing.assert_series_equal(table[theirs], ranking[own].loc[table.index], check_names=False)


@pytest.mark.matrix
def test_trials_as_one_program_against_one_after_the_other(monkeypatch):
    monkeypatch.setattr(fuse, "keep_freed", lambda: None)
    result = fuse.run(lanes=(2, 8), runs=1, pictures=64, nets=("tiny", "tiny bf16"))
    assert FIELDS | {"ratio_tiny_bf16", "images_a_second"} <= set(result)
    assert result["case"] == "tiny, 8 lanes"
    assert [case["name"] for case in result["cases"]] == ["tiny, 2 lanes", "tiny bf16, 2 lanes", "tiny bf16, 8 lanes"]


def logged(folder, *events):
    (folder / "run").mkdir(parents=True)
    lines = [json.dumps({"event": kind, "time": f"2026-01-01T00:00:{second:02}+00:00"}) for kind, second in events]
    (folder / "run" / "log.jsonl").write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize(("low", "high", "inside"), [(20.0, 30.0, True), (26.0, 30.0, False), (10.0, 24.0, False)])
def test_a_forecast_is_held_against_the_whole_command(tmp_path, monkeypatch, low, high, inside):
    events = ("start", 1), ("end", 2), ("start", 10), ("start", 11), ("end", 20), ("end", 22)
    logged(tmp_path, *events)
    began = forecast._time({"time": "2026-01-01T00:00:03+00:00"})
    planned = {"seconds_low": low, "seconds_high": high, "seconds": (low + high) / 2}
    planned |= {f"{part}_seconds": 1.0 for part in ("start", "training", "report")} | {"based_on": "nothing"}
    found = forecast._compared(forecast.CASES[0], planned, began, began + 25, tmp_path / "run" / "log.jsonl")
    assert found["inside"] is inside
    assert found["seconds"] == 25
    assert found["parts"] == {"start": 7, "training": 12, "report": 6}
    assert f"took 25.0 s, {'inside' if inside else 'OUTSIDE'}; forecast / truth: start 1.0 / 7.0" in forecast._note(
        found
    )
    monkeypatch.setattr("benchmarks.forecast._case", lambda case, *_: {**found, "name": case.name})
    result = forecast.run(pictures={"train": 6, "validation": 6, "test": 6}, faces=1)
    assert (result["inside"], result["of"], len(result["notes"])) == (10 * inside, 10, 10)
    assert result["widest"] == pytest.approx((high - low) / (high + low))
