"""From the log to one row a trial and one row an epoch."""

import json
import re

import numpy as np
import pandas as pd
import pytest

from analysis.records.columns import metric_columns
from analysis.records.run_directory import RunDirectory
from analysis.records.store import read_records, write_parquet
from analysis.records.study_json import RecordError
from tests.analysis import runs


def one(records, cell="baseline", seed=0):
    rows = records.trials.loc[(records.trials["cell"] == cell) & (records.trials["seed"] == seed)]
    assert len(rows) == 1
    return rows.iloc[0]


def test_columns_stand_in_the_contracts_order(tmp_path):
    run = runs.write_outcomes(tmp_path, runs.study(), {"baseline": [0.8, 0.81, 0.82]})
    write_parquet(run)
    trials, epochs = pd.read_parquet(run / "trials.parquet"), pd.read_parquet(run / "epochs.parquet")
    assert list(trials) == [
        *("trial", "cell", "seed", "status", "epochs", "selected_epoch"),
        *("train_loss", "val_loss", "test_loss"),
        *("val_balanced_accuracy", "test_balanced_accuracy", "val_reference"),
        *("val_roughness", "val_jumps", "seconds", "node", "device", "verified", "error", "execution"),
        *("started_at", "ended_at", "parameters", "multiply_adds", "config/loss.name", "config/optimizer.lr"),
    ]
    assert list(epochs) == [
        *("trial", "epoch", "lr", "train_loss", "val_loss", "test_loss"),
        *("val_balanced_accuracy", "test_balanced_accuracy", "val_reference", "seconds"),
    ]
    assert len(epochs) == 3 * runs.EPOCHS


def test_a_finished_trial_shows_its_metrics_at_the_selected_epoch(tmp_path):
    run = runs.write_outcomes(tmp_path, runs.study(), {"baseline": [0.8]})
    row = one(read_records(run))
    assert (row["status"], row["epochs"], row["selected_epoch"]) == ("finished", runs.EPOCHS, runs.BEST_EPOCH)
    assert row["test_balanced_accuracy"] == 0.8
    assert row["val_reference"] == 1.0
    assert bool(row["verified"]) is True
    assert row["seconds"] == 6.0
    assert json.loads(row["execution"])["attempts"] == 1


@pytest.mark.parametrize("status", ["diverged", "failed"])
def test_a_broken_trial_keeps_its_epochs_but_shows_no_metric(tmp_path, status):
    records = read_records(runs.write_outcomes(tmp_path, runs.study(), {"baseline": [status]}))
    row = one(records)
    assert (row["status"], row["epochs"]) == (status, 4)
    assert row[["selected_epoch", "test_balanced_accuracy", "val_loss", "val_roughness", "val_jumps"]].isna().all()
    assert len(records.epochs) == 4


def test_a_trial_without_an_end_is_running_and_shows_its_best_epoch_so_far(tmp_path):
    row = one(read_records(runs.write_outcomes(tmp_path, runs.study(), {"baseline": ["running"]})))
    assert (row["status"], row["epochs"], row["selected_epoch"]) == ("running", 4, 4)
    assert row["test_balanced_accuracy"] == 0.5
    assert row["seconds"] == pytest.approx(2.0)
    assert pd.isna(row["verified"])
    assert pd.isna(row["ended_at"])


def test_a_trial_that_started_and_has_no_epoch_is_running_with_nulls(tmp_path):
    row = one(read_records(runs.write(tmp_path, runs.study(), [runs.start("baseline", 0)])))
    assert (row["status"], row["epochs"]) == ("running", 0)
    assert row[["selected_epoch", "seconds", "train_loss"]].isna().all()


def test_of_a_repeated_epoch_the_last_row_counts(tmp_path):
    events = [runs.start("baseline", 0), *(runs.epoch("baseline", 0, 1, val_reference=x) for x in (3.0, 2.0))]
    epochs = read_records(runs.write(tmp_path, runs.study(), events)).epochs
    assert epochs["val_reference"].tolist() == [2.0]


def test_a_failed_trial_that_starts_again_is_running_with_its_epochs_kept(tmp_path):
    again = runs.start("baseline", 0, node="other", time="later", config={"ignored": 1})
    events = [*runs.trial("baseline", 0, "failed"), again]
    row = one(read_records(runs.write(tmp_path, runs.study(), events)))
    assert (row["status"], row["epochs"], row["node"]) == ("running", 4, "other")
    assert row["started_at"] == "2026-01-01T00:00:00+00:00"
    assert row["config/loss.name"] == "ce"
    assert pd.isna(row["error"])


def test_the_last_end_of_a_trial_counts_and_a_late_start_does_not_undo_a_finish(tmp_path):
    events = [*runs.trial("baseline", 0, "failed"), runs.end("baseline", 0), runs.start("baseline", 0)]
    assert one(read_records(runs.write(tmp_path, runs.study(), events)))["status"] == "finished"


def test_rows_follow_the_studys_cells_then_the_seeds_whatever_the_order_of_the_log(tmp_path):
    study = runs.study(["baseline", "loss=b", "loss=a"])
    places = [("loss=a", 1), ("baseline", 2), ("loss=b", 0), ("loss=a", 0), ("baseline", 0)]
    events = [event for place in places for event in runs.trial(*place, 0.5)]
    records = read_records(runs.write(tmp_path, study, events))
    assert list(zip(records.trials["cell"], records.trials["seed"], strict=True)) == [
        ("baseline", 0),
        ("baseline", 2),
        ("loss=b", 0),
        ("loss=a", 0),
        ("loss=a", 1),
    ]
    assert records.epochs["trial"].unique().tolist() == records.trials["trial"].tolist()
    assert records.epochs["epoch"].tolist() == list(range(1, runs.EPOCHS + 1)) * 5


@pytest.mark.parametrize(
    ("proposals", "cells"),
    [({"c2": 1, "c0": 2, "c1": 0}, ["c1", "c2", "c0"]), ({}, ["c0", "c1", "c2"]), ({"c1": 7}, ["c1", "c0", "c2"])],
)
def test_a_search_is_in_the_order_of_its_proposals_not_of_their_starts(tmp_path, proposals, cells):
    events = [
        event | ({"proposal": proposals[cell]} if event["event"] == "start" and cell in proposals else {})
        for cell, seed in (("c2", 1), ("c0", 0), ("c1", 1), ("c1", 0), ("c2", 0), ("c0", 1))
        for event in runs.trial(cell, seed, 0.5)
    ]
    trials = read_records(runs.write(tmp_path, runs.search(seeds=(0, 1)), events)).trials
    assert trials[["cell", "seed"]].to_numpy().tolist() == [[cell, seed] for cell in cells for seed in (0, 1)]


@pytest.mark.parametrize("kind", ["ablation", "search"])
def test_of_two_budgets_of_one_cell_and_seed_the_current_one_counts(tmp_path, kind):
    study = runs.study() if kind == "ablation" else runs.search()
    old, new = "f" * 12, runs.trial_id("baseline", 0)
    before = [event | {"trial": old} for event in runs.trial("baseline", 0, 0.1)]
    records = read_records(runs.write(tmp_path, study, [*before, *runs.trial("baseline", 0, 0.9)]))
    assert records.trials["trial"].tolist() == [new]
    assert set(records.epochs["trial"]) == {new}


def test_of_two_trials_of_a_searchs_cell_and_seed_the_one_started_later_counts_whatever_its_state(tmp_path):
    """A search's study.json lists no trials, so only the order of the starts can tell which budget is the latest."""
    short, long = "a" * 12, "b" * 12
    events = [
        *(event | {"trial": short} for event in runs.trial("c0", 0, 0.9)),
        *runs.trial("c1", 0, 0.5),
        runs.start("c0", 0, trial=long),
        runs.epoch("c0", 0, 1, val_reference=1.0) | {"trial": long},
        runs.start("c0", 1, trial="c" * 12),
    ]
    records = read_records(runs.write(tmp_path, runs.search(seeds=(0, 1)), events))
    assert records.trials["trial"].tolist() == [long, "c" * 12, runs.trial_id("c1", 0)]
    assert one(records, "c0")["status"] == "running"
    assert short not in set(records.epochs["trial"])
    assert read_records(runs.write(tmp_path, runs.search(), events[:-3])).trials["trial"].tolist()[0] == short


def test_settings_become_columns_lists_and_mixtures_as_json(tmp_path):
    configs = [
        {"a": {"b": 1, "c": [1, 2]}, "flag": True, "mixed": "x", "whole": 3},
        {"a": {"b": 0.5}, "flag": False, "mixed": ["x"], "whole": None, "empty": {}},
    ]
    events = [runs.start("baseline", seed, config) for seed, config in enumerate(configs)]
    run = runs.write(tmp_path, runs.study(), events)
    write_parquet(run)
    trials = pd.read_parquet(run / "trials.parquet")
    assert trials["config/a.b"].tolist() == [1.0, 0.5]
    assert trials["config/a.c"].tolist()[0] == "[1, 2]"
    assert pd.isna(trials["config/a.c"][1])
    assert trials["config/flag"].tolist() == [True, False]
    assert trials["config/mixed"].tolist() == ['"x"', '["x"]']
    assert trials["config/whole"][0] == 3
    assert pd.isna(trials["config/whole"][1])
    assert trials["config/empty"][1] == "{}"


def test_metrics_of_later_versions_are_read_without_being_known(tmp_path):
    events = [
        runs.start("baseline", 0),
        runs.epoch("baseline", 0, 1, test_error_px=2.5, val_reference=1.0),
        runs.end("baseline", 0),
    ]
    assert one(read_records(runs.write(tmp_path, runs.study(), events)))["test_error_px"] == 2.5


def test_lanes_are_no_metric_and_one_where_a_row_has_none(tmp_path, monkeypatch):
    """A trial that was given back went on by itself. The log is parsed in blocks, of which the first has no lanes."""
    events = [
        runs.start("baseline", 0),
        runs.epoch("baseline", 0, 1),
        runs.start("baseline", 1),
        *(runs.epoch("baseline", 1, number, lanes=4, val_reference=0.5) for number in (1, 2)),
        runs.epoch("baseline", 1, 3, val_reference=0.25),
        *(runs.end("baseline", seed) for seed in (0, 1)),
    ]
    run = runs.write(tmp_path, runs.study(), events)
    for block in (2**24, 2**9):
        monkeypatch.setattr("analysis.records.epoch_rows.BLOCK", block)
        write_parquet(run)
        trials, epochs = pd.read_parquet(run / "trials.parquet"), pd.read_parquet(run / "epochs.parquet")
        assert epochs["lanes"].tolist() == [1, 4, 4, 1]
        assert epochs["lanes"].dtype == np.int64
        assert list(epochs)[-2:] == ["lanes", "seconds"]
        assert metric_columns(epochs) == ["train_loss", "val_loss", "test_loss", "val_reference"]
        assert "lanes" not in trials
        assert trials["selected_epoch"].tolist()[1] == 3


def test_a_metric_that_is_always_null_stays_a_number(tmp_path):
    events = [runs.start("baseline", 0), runs.epoch("baseline", 0, 1, val_reference=None)]
    assert read_records(runs.write(tmp_path, runs.study(), events)).epochs["val_reference"].dtype == np.float64


@pytest.mark.parametrize(
    ("events", "message"),
    [
        ([runs.epoch("x", 0, 1)], r"log.jsonl: has no start event before its others \(trial .*\)"),
        ([{"event": "start", "trial": "t"}], r"log.jsonl:3: trial: 't' is no trial's key"),
        ([runs.start("x", 0) | {"cell": 5}], r"log.jsonl:3: cell: takes text"),
        ([runs.start("x", 0), runs.end("x", 0, "done")], r"log.jsonl:4: status: 'done' is unknown; .*finished"),
        ([runs.start("x", 0), runs.epoch("x", 0, 0)], r"log.jsonl:4: epoch: 0 is out of range"),
        ([runs.start("x", 0), runs.epoch("x", 0, 1, val_loss="low")], r"log.jsonl:4: val_loss: takes a number"),
    ],
)
def test_an_impossible_line_is_named_with_file_and_line_and_its_trial_left_out(tmp_path, events, message):
    good = [runs.start("baseline", 1), runs.epoch("baseline", 1, 1)]
    records = read_records(runs.write(tmp_path, runs.study(), [*good, *events]))
    (found,) = records.findings
    assert re.search(message, str(found))
    assert records.trials["seed"].tolist() == [1]
    assert len(records.epochs) == 1


def test_events_of_no_concern_are_passed_over(tmp_path):
    events = [{"event": "session", "command": []}, {"event": "rung"}, runs.start("baseline", 0)]
    assert len(read_records(runs.write(tmp_path, runs.study(), events)).trials) == 1


def test_a_folder_without_a_study_is_refused_by_name(tmp_path):
    with pytest.raises(RecordError, match=r"holds no study\.json"):
        read_records(tmp_path)


def test_an_empty_run_gives_empty_tables_with_the_fixed_columns(tmp_path):
    run = runs.write(tmp_path, runs.study(), [])
    write_parquet(run)
    trials, epochs = pd.read_parquet(run / "trials.parquet"), pd.read_parquet(run / "epochs.parquet")
    assert len(trials) == len(epochs) == 0
    assert {"trial", "status", "verified", "execution"} <= set(trials)
    assert list(epochs) == ["trial", "epoch", "lr", "train_loss", "val_loss", "test_loss", "seconds"]


def test_rewriting_is_idempotent_and_leaves_no_temporary_file(tmp_path):
    run = runs.write_outcomes(tmp_path, runs.study(), {"baseline": [0.8, "failed", "running"]})
    write_parquet(run)
    first = [path.read_bytes() for path in (RunDirectory(run).trials, RunDirectory(run).epochs)]
    write_parquet(run)
    assert [path.read_bytes() for path in (RunDirectory(run).trials, RunDirectory(run).epochs)] == first
    assert sorted(path.name for path in run.iterdir()) == [
        "epochs.parquet",
        "log.jsonl",
        "study.json",
        "trials.parquet",
    ]


def test_blocks_of_the_log_are_joined_without_loss(tmp_path, monkeypatch):
    study, outcomes = runs.study(["baseline", "loss=a"]), {"baseline": [0.8, 0.7, 0.6], "loss=a": [0.5, "failed", 0.4]}
    whole = read_records(runs.write_outcomes(tmp_path, study, outcomes))
    monkeypatch.setattr("analysis.records.epoch_rows.BLOCK", 2**9)
    chunked = read_records(tmp_path)
    pd.testing.assert_frame_equal(whole.epochs, chunked.epochs)
    pd.testing.assert_frame_equal(whole.trials, chunked.trials)
