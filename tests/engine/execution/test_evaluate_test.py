"""Whole runs under `training.evaluate_test: selected`: the same keys, tables and reruns as when every epoch is."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from analysis.records.store import read_records
from analysis.report.build import write_report
from analysis.tables.ranking import ranking_table
from core.errors import PlanError
from engine.execution.replay import TO_THE_BIT, rerun
from search_spaces.factors import Factor
from search_spaces.spaces import Number
from search_spaces.study import AblationStudy, SearchStudy
from search_spaces.trial_schedulers import ASHA, PBT, Median
from tests.engine.planning.test_extensions import ablation
from tests.engine.sequential import BASELINE, Drive
from tests.records import VARIES, events

pytestmark = pytest.mark.usefixtures("undrawn")

# Rates at which no epoch is sure to be the best.
RATE = {**BASELINE, "optimizer.lr": 1.0, "selection.metric": "val_loss"}
SELECTED = {"training.evaluate_test": "selected"}
LR = Number(key="optimizer.lr", low=0.01, high=2.0, log=True)
GAMMA = Number(key="loss.gamma", low=0.1, high=4.0)


def search(**fields: Any) -> SearchStudy:
    known: dict[str, Any] = {"name": "s", "workload": "digits", "epochs": 6, "samples": 6, "sampler": "random"}
    return SearchStudy(**{**known, "metric": "test_ce", "space": (LR,), "baseline": RATE, **fields})


STUDIES: dict[str, AblationStudy | SearchStudy] = {
    "ablation": ablation(seeds=2, baseline=RATE),
    "asha": search(trial_scheduler=ASHA(grace=0.3)),
    "median": search(trial_scheduler=Median(minimum=2)),
    "pbt": search(
        trial_scheduler=PBT(),
        space=(LR, GAMMA),
        baseline={**RATE, "loss.name": "focal"},
        further_metrics=("test_loss",),
    ),
}


def trials(run: Path) -> pd.DataFrame:
    """All that a trial's row tells, but for time and place and for the setting."""
    table = read_records(run).trials
    return table.drop(columns=[name for name in table if name in VARIES | {"config/training.evaluate_test"}])


def null_tests(run: Path) -> "pd.Series[bool]":
    """Of each row of epochs.parquet, in the order of the table, whether its test metrics are all null."""
    epochs = read_records(run).epochs
    return epochs.filter(regex="^test_").isna().all(axis=1)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name == "asha" else [pytest.mark.matrix]) for name in STUDIES]
)
def test_trials_are_the_same_and_rerun_to_the_bit(name: str, tmp_path: Path, drive: Drive) -> None:
    study = STUDIES[name]
    every = drive(study, tmp_path / "every")
    seldom = drive(study, tmp_path / "seldom", settings=SELECTED)
    pd.testing.assert_frame_equal(trials(seldom), trials(every), check_exact=True)
    theirs, own = read_records(every).epochs, read_records(seldom).epochs
    others = [column for column in own if not column.startswith("test_") and column != "seconds"]
    pd.testing.assert_frame_equal(own[others], theirs[others], check_exact=True)
    left_out = null_tests(seldom)
    pd.testing.assert_frame_equal(
        own.loc[~left_out].drop(columns="seconds"), theirs.loc[~left_out].drop(columns="seconds"), check_exact=True
    )
    assert not null_tests(every).any()
    assert left_out.any()
    tables = [ranking_table(read_records(run)).to_csv() for run in (every, seldom)]
    assert tables[0] == tables[1]
    for trial in list(trials(seldom)["trial"])[:3]:
        assert rerun(seldom, trial, lambda row: None) == (trial, TO_THE_BIT, [])


def test_a_rerun_finds_a_changed_test_metric_of_the_selected_epoch(tmp_path: Path, drive: Drive) -> None:
    run = drive(ablation(seeds=1, baseline=RATE), tmp_path / "run", settings=SELECTED)
    end = next(event for event in events(run) if event["event"] == "end")
    changed = []
    for event in events(run):
        if event["event"] == "epoch" and event["trial"] == end["trial"] and event["test_ce"] is not None:
            event["test_ce"] += 1e-9
        changed.append(json.dumps(event))
    (run / "log.jsonl").write_text("\n".join(changed) + "\n")
    _, _, (difference,) = rerun(run, end["trial"], lambda row: None)
    assert difference.startswith(f"epoch {end['selected_epoch']}: test_ce ")


@pytest.mark.matrix
def test_both_values_may_be_mixed_in_a_run_and_taken_over(tmp_path: Path, drive: Drive, trained: list[int]) -> None:
    study = ablation(baseline=RATE)
    whole = drive(study, tmp_path / "whole")
    run = drive(study, tmp_path / "run", seeds=1, settings=SELECTED)
    drive(study, run, lines=5, seeds=3, settings={"training.evaluate_test": "every_epoch"})
    drive(study, run, settings=SELECTED)
    pd.testing.assert_frame_equal(trials(run), trials(whole), check_exact=True)
    trained.clear()
    taken = drive(study, tmp_path / "taken", reuse_from=str(run))
    assert not trained
    pd.testing.assert_frame_equal(trials(taken), trials(whole), check_exact=True)


def test_a_run_killed_before_and_after_a_row_is_completed_ends_as_an_undisturbed_one(
    tmp_path: Path, drive: Drive
) -> None:
    study = ablation(seeds=1, baseline={**BASELINE, "selection.rule": "epoch", "selection.epoch": 2})
    whole = drive(study, tmp_path / "whole", settings=SELECTED)
    lines = events(whole)
    written = [(event["trial"], event["epoch"]) for event in lines if event["event"] == "epoch"]
    twice = [place for place, event in enumerate(lines) if event["event"] == "end"]
    assert len(written) > len(set(written)), "no selected epoch was completed later: the test tests nothing"
    for place in twice[:2]:
        for before in (0, 1, 2):
            run = drive(study, tmp_path / f"{place}-{before}", lines=place - before, settings=SELECTED)
            drive(study, run)
            pd.testing.assert_frame_equal(trials(run), trials(whole), check_exact=True)
            assert null_tests(run).equals(null_tests(whole))


def test_a_run_without_any_test_metric_has_a_report(tmp_path: Path, drive: Drive) -> None:
    hopeless = {**BASELINE, "optimizer.lr": 1e12}
    run = drive(ablation(seeds=1, epochs=2, baseline=hopeless), tmp_path / "run", settings=SELECTED)
    assert set(read_records(run).trials["status"]) == {"diverged"}
    write_report(run)
    assert (run / "report" / "index.html").exists()


def test_what_goes_by_the_test_split_and_a_study_of_the_setting_are_refused(tmp_path: Path, drive: Drive) -> None:
    two = search(objectives=("test_accuracy", "seconds"), sampler="tpe")
    with pytest.raises(PlanError, match=r"objectives: 'test_accuracy' may not be one; .*did you mean 'val_accuracy'"):
        drive(two, tmp_path / "run", settings=SELECTED)
    factor = Factor.of("when", {"always": {}, "once": SELECTED})
    with pytest.raises(PlanError, match=r"training.evaluate_test: varied by the study, but it changes no number"):
        drive(ablation(factors=(factor,)), tmp_path / "run")


def test_it_is_said_that_finished_trials_stay_as_they_are(tmp_path: Path, drive: Drive) -> None:
    run = drive(ablation(seeds=1, epochs=1), tmp_path / "run")
    drive(ablation(seeds=1, epochs=1), run, settings=SELECTED, seeds=2)
    assert "--set training.evaluate_test: is for the trials that are left; 3 finished ones stay" in drive.printed


def test_epochs_log_has_the_test_metric_where_it_was_completed(tmp_path: Path, drive: Drive) -> None:
    run = drive(ablation(seeds=1, baseline=RATE), tmp_path / "run", settings=SELECTED)
    for end in (event for event in events(run) if event["event"] == "end"):
        lines = (run / "artifacts" / end["trial"] / "epochs.log").read_text().splitlines()
        told = [line.split(",")[0] for line in lines if "test accuracy" in line]
        assert told == [f"epoch {end['selected_epoch']}"]
        assert len(lines) == 4
