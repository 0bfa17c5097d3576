"""Whole searches, killed anywhere and resumed: the same decisions and the same records as undisturbed ones."""

import json
import random
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import hypothesis
import hypothesis.strategies as st
import optuna
import pandas as pd
import pytest
from optuna.storages.journal import JournalFileBackend

from analysis.records.store import read_records
from analysis.report.build import write_report
from core.errors import PlanError
from engine.execution.replay import TO_THE_BIT, rerun
from engine.execution.trial_schedulers import Decisions, LoggedScheduler
from engine.runlog.history import History
from search_spaces.spaces import Choice, Number
from search_spaces.study import SearchStudy
from search_spaces.trial_schedulers import ASHA, PBT, AnyTrialScheduler, HyperBand, Median
from tests.engine.sequential import BASELINE, Drive, driven
from tests.records import ends, epoch_rows, events

pytestmark = pytest.mark.usefixtures("undrawn")

SETTINGS = {**BASELINE, "optimizer.momentum": 0.9}
LR = Number(key="optimizer.lr", low=0.001, high=0.5, log=True)


def search(**fields: Any) -> SearchStudy:
    space = (LR, Choice(key="model.bn_after", choices=([], ["conv1"])))
    known: dict[str, Any] = {"name": "s", "workload": "digits", "epochs": 6, "samples": 8, "sampler": "random"}
    known |= {"metric": "test_ce"}  # no two trials have the same
    return SearchStudy(**{**known, "space": space, "baseline": SETTINGS, **fields})


STUDIES = {
    "none": search(epochs=3),
    "asha": search(trial_scheduler=ASHA()),
    "hyperband": search(trial_scheduler=HyperBand(), samples=16),
    "median": search(trial_scheduler=Median()),
    "pbt": search(trial_scheduler=PBT()),
    "two seeds of asha": search(trial_scheduler=ASHA(), seeds=2, samples=4),
    "two seeds of pbt": search(trial_scheduler=PBT(), seeds=2, samples=4),
}


def outcome(run: Path) -> Any:
    """Everything that must be equal, as trials may differ in their order."""
    generations = {(e["seed"], e["epoch"]): e["exploits"] for e in events(run) if e["event"] == "generation"}
    return epoch_rows(run), ends(run), generations


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """STUDIES by their names that nothing disturbed, to be read only."""
    return cache(lambda name: driven(STUDIES[name], tmp_path_factory.mktemp("whole") / "run"))


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name == "asha" else [pytest.mark.matrix]) for name in STUDIES]
)
@pytest.mark.matrix
def test_a_search_killed_after_any_line_of_its_log_ends_as_if_it_had_not_been(
    name: str, whole: Callable[[str], Path], tmp_path: Path, drive: Drive
) -> None:
    undisturbed = outcome(whole(name))
    assert len(undisturbed[1]) == STUDIES[name].samples * STUDIES[name].seeds
    total, run = len(events(whole(name))), tmp_path / "killed"
    chance, kills = random.Random(name), 0
    while kills == 0 or len(ends(run)) < len(undisturbed[1]):
        drive(STUDIES[name], run, lines=chance.randint(2, total // 3))
        kills += 1
        assert kills < 100, "the search goes on for ever"
    assert kills >= 3
    assert outcome(run) == undisturbed
    written = [(e["trial"], e["epoch"]) for e in events(run) if e["event"] == "epoch"]
    assert len(written) == len(set(written)), "a row was written twice"


def test_schedulers_stop_what_is_behind(whole: Callable[[str], Path]) -> None:
    for name in ("asha", "hyperband", "median"):
        trials = read_records(whole(name)).trials
        assert {"finished", "stopped"} == set(trials["status"])
        stopped = trials.loc[trials["status"] == "stopped"]
        assert (stopped["epochs"] < 6).all()
        assert stopped["verified"].all()
        best = trials.sort_values("val_ce").iloc[0]
        assert best["status"] == "finished", f"{name} stopped the best trial"


ROWS = st.lists(st.tuples(st.integers(0, 5), st.floats(0, 1)), min_size=1, max_size=40)
SCHEDULERS = st.sampled_from([ASHA(), ASHA(reduction_factor=2), HyperBand(), Median()])


@hypothesis.given(ROWS, st.integers(0, 40), SCHEDULERS)
def test_rebuilt_rungs_take_the_decisions_of_those_that_were_never_lost(
    arrivals: list[tuple[int, float]], cut: int, settings: AnyTrialScheduler
) -> None:
    """The same rows in the same order, with all state lost at `cut` and heard again from the log."""
    rows = []
    for trial, value in arrivals:
        epoch = sum(other == f"t{trial}" for other, _ in rows) + 1
        rows.append((f"t{trial}", {"event": "epoch", "trial": f"t{trial}", "epoch": epoch, "val_accuracy": value}))
    undisturbed = Decisions(settings, 20, "val_accuracy", True)
    expected = [undisturbed.stops(trial, row) for trial, row in rows]
    history = History.read(row for _, row in rows[:cut])
    rebuilt = LoggedScheduler(Decisions(settings, 20, "val_accuracy", True), history)
    assert [rebuilt._stops(trial, row) for trial, row in rows[cut:]] == expected[cut:]
    first = {
        trial: row["epoch"] for (trial, row), stop in reversed(list(zip(rows[:cut], expected, strict=False))) if stop
    }
    assert rebuilt.pending.keys() == first.keys()


@pytest.mark.matrix
def test_every_member_of_a_population_is_replayed_with_what_it_took_over(whole: Callable[[str], Path]) -> None:
    run = whole("pbt")
    lineages = [json.loads(text).get("lineage", []) for text in read_records(run).trials["execution"]]
    assert sum(map(len, lineages)) >= 4
    for trial in ends(run):
        assert rerun(run, trial, lambda row: None) == (trial, TO_THE_BIT, [])


def test_who_takes_over_changes_what_follows(whole: Callable[[str], Path], tmp_path: Path, drive: Drive) -> None:
    """The exploit is no mere entry: from its epoch on, the member's rows are not those of its own settings."""
    lonely = drive(STUDIES["none"].model_copy(update={"epochs": 6}), tmp_path / "alone")
    alone, together = epoch_rows(lonely), epoch_rows(whole("pbt"))
    cells = {e["trial"]: e["cell"] for run in (lonely, whole("pbt")) for e in events(run) if e["event"] == "start"}
    first = {(cells[trial], epoch): row["val_loss"] for (trial, epoch), row in alone.items()}
    second = {(cells[trial], epoch): row["val_loss"] for (trial, epoch), row in together.items()}
    assert {key for key in first if key[1] == 1 and first[key] != second[key]} == set()
    assert {key for key in first if key[1] == 6 and first[key] != second[key]}


def test_a_population_keeps_its_size(whole: Callable[[str], Path], drive: Drive) -> None:
    with pytest.raises(PlanError, match="keeps its space, size, epochs"):
        drive(STUDIES["pbt"], whole("pbt"), samples=12)


@pytest.mark.parametrize(
    "sampler", ["tpe", *(pytest.param(name, marks=pytest.mark.matrix) for name in ("random", "qmc", "cmaes"))]
)
def test_more_samples_run_only_the_new_ones(sampler: str, tmp_path: Path, drive: Drive) -> None:
    ranges = (LR, Number(key="optimizer.weight_decay", low=1e-6, high=1e-2, log=True))
    study = search(sampler=sampler, epochs=1, samples=5, space=ranges)
    run = drive(study, tmp_path / "run")
    before = set(ends(run))
    drive(study, run, samples=9)
    starts = [event["trial"] for event in events(run) if event["event"] == "start"]
    assert len(starts) == len(set(starts)) == len(ends(run)) == 9
    assert before < set(starts)
    if sampler != "cmaes":  # whose state is its own; it goes on from the outcomes alone
        whole = drive(study, tmp_path / "whole", samples=9)
        assert outcome(run) == outcome(whole)


@pytest.mark.matrix
def test_more_epochs_go_on_from_the_checkpoints(tmp_path: Path, drive: Drive) -> None:
    study = search(epochs=2, samples=4)
    run = drive(study, tmp_path / "run")
    drive(study, run, epochs=4)
    trained = [event for event in events(run) if event["event"] == "start" and "continues" in event]
    assert len(trained) == 4
    whole = drive(study, tmp_path / "whole", epochs=4)
    tables = [read_records(folder).trials.drop(columns=VARIES) for folder in (run, whole)]
    pd.testing.assert_frame_equal(*tables, check_exact=True)


VARIES = ["seconds", "node", "device", "error", "execution", "started_at", "ended_at"]


@pytest.mark.matrix
def test_a_grid_takes_every_choice_once_and_says_why_there_are_fewer_than_asked_for(
    tmp_path: Path, drive: Drive
) -> None:
    space = (
        Choice(key="optimizer.name", choices=("sgd", "adam", "rmsprop")),
        Choice(key="training.batch_size", choices=(16, 32)),
        Choice(key="model.bn_after", choices=([], ["conv1"])),
    )
    baseline = {key: BASELINE[key] for key in BASELINE if key != "training.batch_size"}
    for sampler in ("grid", "tpe", "qmc"):
        study = search(space=space, samples=40, sampler=sampler, epochs=1, baseline=baseline)
        run = drive(study, tmp_path / sampler)
        assert "holds 12 distinct configurations, fewer than the 40 asked for" in drive.printed
        assert len(ends(run)) == 12
        assert read_records(run).trials["cell"].nunique() == 12


def test_sobol_points_are_spread_more_evenly_than_random_ones(tmp_path: Path, drive: Drive) -> None:
    """By construction, 8 points of a Sobol sequence lie one in each eighth of every axis."""
    points = [
        event["point"]["optimizer.lr"]
        for event in events(drive(search(sampler="qmc", epochs=1), tmp_path / "run"))
        if event["event"] == "start"
    ]
    shares = [pd.Series(points).transform("log").sub(pd.Series([0.001]).transform("log")[0])]
    width = pd.Series([0.5 / 0.001]).transform("log")[0] / 8
    assert sorted((shares[0] // width).astype(int)) == list(range(8))


def test_what_is_enqueued_is_tried_first_and_once(tmp_path: Path, drive: Drive) -> None:
    wanted = ({"optimizer.lr": 0.25, "model.bn_after": ["conv1"]}, {"optimizer.lr": 0.125})
    study = search(epochs=1, samples=4)
    run = drive(study, tmp_path / "run", enqueue=wanted)
    points = [event["point"] for event in events(run) if event["event"] == "start"]
    assert points[0] == wanted[0]
    assert points[1]["optimizer.lr"] == 0.125
    drive(study, run, samples=6)
    points = [event["point"] for event in events(run) if event["event"] == "start"]
    assert [point["optimizer.lr"] for point in points].count(0.125) == 1


@pytest.mark.matrix
def test_several_objectives_are_told_and_their_front_is_reported(tmp_path: Path, drive: Drive) -> None:
    study = search(epochs=1, samples=6, objectives=("val_accuracy", "val_ce"), sampler="tpe")
    run = drive(study, tmp_path / "run")
    storage = optuna.storages.JournalStorage(JournalFileBackend(str(run / "optuna.journal")))
    told = optuna.load_study(study_name="s", storage=storage)
    assert told.metric_names == ["val_accuracy", "val_ce"]
    trials = read_records(run).trials
    assert sorted(trial.values for trial in told.trials) == sorted(
        trials[["val_accuracy", "val_ce"]].to_numpy().tolist()
    )
    write_report(run)
    front = pd.read_csv(run / "report" / "pareto.csv")
    assert set(front["val_accuracy"]) == {trial.values[0] for trial in told.best_trials}


def test_the_journal_holds_stopped_trials_as_pruned_and_opens_after_a_resume(tmp_path: Path, drive: Drive) -> None:
    run = drive(STUDIES["asha"], tmp_path / "run", lines=30)
    drive(STUDIES["asha"], run)
    storage = optuna.storages.JournalStorage(JournalFileBackend(str(run / "optuna.journal")))
    told = optuna.load_study(study_name="s", storage=storage)
    assert told.metric_names == ["val_ce"]
    states = sorted(trial.state.name for trial in told.trials)
    status = {"finished": "COMPLETE", "stopped": "PRUNED"}
    assert states == sorted(status[end["status"]] for end in ends(run).values())
    steps = sorted(len(trial.intermediate_values) for trial in told.trials)
    assert steps == sorted(read_records(run).trials["epochs"])


def test_patience_ends_a_trial_that_no_longer_improves(tmp_path: Path, drive: Drive) -> None:
    slow = (Number(key="optimizer.lr", low=1e-5, high=1e-3, log=True),)
    settings = {**SETTINGS, "training.patience": 2, "selection.metric": "val_accuracy"}
    study = search(epochs=12, samples=3, space=slow, baseline=settings)
    trials = read_records(drive(study, tmp_path / "run")).trials
    early = trials.loc[trials["epochs"] < 12]
    assert len(early)
    assert (early["epochs"] == early["selected_epoch"] + 2).all()
    assert (trials["status"] == "finished").all()
    assert "training.patience: ended after epoch" in early.iloc[0]["execution"]
