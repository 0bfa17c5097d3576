"""A run that grows: more seeds, levels or epochs, or another run's trials; only what is new is trained."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from analysis.records.store import read_records
from analysis.report.build import write_report
from core.errors import PlanError
from engine.planning.run_options import seconds_of
from search_spaces.factors import Factor
from search_spaces.spaces import Choice, Number
from search_spaces.study import AblationStudy, SearchStudy
from tests.engine.search.test_search_runs import VARIES
from tests.engine.sequential import BASELINE, Drive
from tests.records import ends, events

MOMENTUM = Factor.of("momentum", {"off": {}, "0.9": {"optimizer.momentum": 0.9}, "0.5": {"optimizer.momentum": 0.5}})


def ablation(**fields: Any) -> AblationStudy:
    known: dict[str, Any] = {"name": "a", "workload": "digits", "epochs": 4, "seeds": 3, "design": "one_at_a_time"}
    return AblationStudy(**{**known, "factors": (MOMENTUM,), "baseline": BASELINE, **fields})


@pytest.fixture(autouse=True)
def only_what_is_compared(tables_only: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """No projections either, which take most of a small report's time."""
    monkeypatch.setattr("analysis.tables.feature_projections.Projections.table", lambda self: pd.DataFrame())


def assert_equal_tables(run: Path, whole: Path) -> None:
    """Records and reports, bit for bit; a run's own time and place apart."""
    first, second = (read_records(folder).trials.drop(columns=VARIES) for folder in (run, whole))
    pd.testing.assert_frame_equal(first, second, check_exact=True)
    epochs = [read_records(folder).epochs.drop(columns="seconds") for folder in (run, whole)]
    pd.testing.assert_frame_equal(*epochs, check_exact=True)
    for folder in (run, whole):
        write_report(folder)
    for name in ("ranking", "ablation", "confusion", "per_class", "curves"):
        texts = [(folder / "report" / f"{name}.csv").read_text() for folder in (run, whole)]
        assert texts[0] == texts[1], name


@pytest.mark.matrix
def test_six_epochs_after_four_train_two_more_and_equal_six_at_once(
    tmp_path: Path, drive: Drive, trained: list[int]
) -> None:
    run = drive(ablation(seeds=2), tmp_path / "run")
    trained.clear()
    drive(ablation(seeds=2), run, epochs=6)
    assert sorted(trained) == [5] * 6 + [6] * 6
    assert_equal_tables(run, drive(ablation(seeds=2, epochs=6), tmp_path / "whole"))


@pytest.mark.matrix
def test_eight_seeds_after_five_train_three_more(tmp_path: Path, drive: Drive, trained: list[int]) -> None:
    study = ablation(epochs=2, seeds=5)
    run = drive(study, tmp_path / "run")
    trained.clear()
    drive(study, run, seeds=8)
    assert sorted(trained) == [1] * 9 + [2] * 9
    assert_equal_tables(run, drive(study, tmp_path / "whole", seeds=8))


def test_another_level_trains_its_own_cell(tmp_path: Path, drive: Drive, trained: list[int]) -> None:
    run = drive(ablation(epochs=1), tmp_path / "run", levels={"momentum": ("off", "0.9")})
    trained.clear()
    drive(ablation(epochs=1), run, levels={"momentum": ("off", "0.9", "0.5")})
    assert trained == [1, 1, 1]
    assert_equal_tables(run, drive(ablation(epochs=1), tmp_path / "whole"))


@pytest.mark.matrix
def test_more_epochs_of_an_unfinished_run_go_on_from_where_each_trial_is(
    tmp_path: Path, drive: Drive, trained: list[int]
) -> None:
    run = drive(ablation(), tmp_path / "run", lines=22, checkpoint_every=0.0)
    done = len(trained)
    drive(ablation(), run, epochs=5, checkpoint_every=0.0)
    assert len(trained) - done <= 9 * 5 - done + 1, "more than the epoch since the last checkpoint was trained again"
    assert_equal_tables(run, drive(ablation(epochs=5), tmp_path / "whole"))


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"schedule.name": "cosine"}, "the schedule cosine is spread over the whole budget: in epoch 2"),
        pytest.param(
            {"optimizer.name": "adam_then_sgd", "optimizer.switch": 0.5},
            "adam_then_sgd switches at a share of the budget",
            marks=pytest.mark.matrix,
        ),
    ],
    ids=["cosine", "switch"],
)
@pytest.mark.matrix
def test_a_schedule_over_the_whole_budget_trains_anew_and_says_so(
    settings: dict[str, Any], reason: str, tmp_path: Path, drive: Drive, trained: list[int]
) -> None:
    factor = Factor.of("decay", {"off": {}, "on": {"optimizer.weight_decay": 0.001}})
    study = ablation(factors=(factor,), baseline={**BASELINE, **settings}, seeds=1)
    run = drive(study, tmp_path / "run")
    trained.clear()
    drive(study, run, epochs=6)
    assert (
        f"2 trials train anew: {reason}" in drive.printed
        or f"2 trials train anew: adam_then_sgd {reason}" in drive.printed
    )
    assert len(trained) == 12
    assert_equal_tables(run, drive(study, tmp_path / "whole", epochs=6))


def test_a_checkpoint_that_is_gone_is_trained_again_and_said(tmp_path: Path, drive: Drive) -> None:
    run = drive(ablation(seeds=1), tmp_path / "run")
    for file in run.glob("checkpoints/*/last.pt"):
        file.unlink()
    drive(ablation(seeds=1), run, epochs=5)
    assert "3 trials train anew: the last checkpoint of their smaller budget is gone" in drive.printed


def test_fewer_epochs_and_other_settings_are_refused(tmp_path: Path, drive: Drive) -> None:
    run = drive(ablation(seeds=1), tmp_path / "run")
    with pytest.raises(PlanError, match="was begun with 4; a smaller budget is another run"):
        drive(ablation(), run, epochs=2)
    with pytest.raises(PlanError, match=r"optimizer.lr from 0.01 to 0.5"):
        drive(ablation(), run, settings={"optimizer.lr": 0.5})
    space = (Number(key="optimizer.lr", low=0.01, high=0.1),)
    study = SearchStudy(name="s", workload="digits", epochs=1, samples=2, space=space, baseline=BASELINE)
    run = drive(study, tmp_path / "search")
    with pytest.raises(PlanError, match=r"model.hidden from 16 to 8"):
        drive(study, run, settings={"model.hidden": 8})


@pytest.mark.matrix
def test_finished_trials_of_another_run_are_taken_over(tmp_path: Path, drive: Drive, trained: list[int]) -> None:
    first = drive(ablation(seeds=2), tmp_path / "first")
    trained.clear()
    run = drive(ablation(seeds=3), tmp_path / "run", reuse_from=str(first))
    assert "6 finished trials are taken over from" in drive.printed
    assert len(trained) == 3 * 4
    assert_equal_tables(run, drive(ablation(seeds=3), tmp_path / "whole"))
    shared = next(iter(ends(first)))
    assert (run / "checkpoints" / shared / "best.pt").exists()
    sources = [event["execution"].get("reused_from") for event in events(run) if event["event"] == "end"]
    assert sources == [str(first)] * 6 + [None] * 3
    drive(ablation(seeds=3), run)
    assert len(ends(run)) == 9


@pytest.mark.parametrize("lines", [3, *(pytest.param(lines, marks=pytest.mark.matrix) for lines in (5, 8, 12))])
@pytest.mark.matrix
def test_a_kill_while_taking_over_leaves_no_half(lines: int, tmp_path: Path, drive: Drive) -> None:
    first = drive(ablation(seeds=2, epochs=2), tmp_path / "first")
    run = drive(ablation(seeds=2, epochs=2), tmp_path / "run", lines=lines, reuse_from=str(first))
    drive(ablation(seeds=2, epochs=2), run)
    assert_equal_tables(run, first)


def test_a_search_takes_over_points_of_its_space_and_no_others(tmp_path: Path, drive: Drive) -> None:
    lr = Number(key="optimizer.lr", low=0.01, high=0.1, log=True)
    known: dict[str, Any] = {"name": "s", "workload": "digits", "epochs": 1, "baseline": BASELINE, "sampler": "random"}
    first = drive(SearchStudy(**known, samples=6, space=(lr,)), tmp_path / "first")
    narrow = lr.model_copy(update={"high": 0.03})
    run = drive(SearchStudy(**known, samples=8, space=(narrow,)), tmp_path / "run", reuse_from=str(first))
    rates = {event["trial"]: event["point"]["optimizer.lr"] for event in events(first) if event["event"] == "start"}
    wanted = {trial for trial, rate in rates.items() if rate <= 0.03}
    taken = {e["trial"] for e in events(run) if e["event"] == "end" and "reused_from" in e["execution"]}
    assert taken == wanted
    assert 0 < len(taken) < 6
    assert len(ends(run)) == 8


def test_a_run_directory_to_reuse_must_be_one(tmp_path: Path, drive: Drive) -> None:
    with pytest.raises(PlanError, match="no run directory"):
        drive(ablation(), tmp_path / "run", reuse_from=str(tmp_path / "nothing"))


def test_patience_is_refused_in_an_ablation(tmp_path: Path, drive: Drive) -> None:
    with pytest.raises(PlanError, match=r"training\.patience: 3 ends trials early"):
        drive(ablation(baseline={**BASELINE, "training.patience": 3}), tmp_path / "run")


@pytest.mark.parametrize("option", ["sampler", "trial_scheduler", "samples", "enqueue", "objectives"])
def test_options_of_searches_are_refused_in_an_ablation(option: str, tmp_path: Path, drive: Drive) -> None:
    values: dict[str, Any] = {"samples": 3, "enqueue": ({},), "objectives": ("val_accuracy",), "sampler": "tpe"}
    with pytest.raises(PlanError, match=f"--{option.replace('_', '-')}: a is an ablation"):
        drive(ablation(), tmp_path / "run", **{option: values.get(option, "asha")})


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"sampler": "grid"}, "optimizer.lr are ranges"),
        ({"sampler": "cmaes"}, "takes two or more ranges"),
        ({"sampler": "tpee"}, "did you mean 'tpe'"),
        ({"trial_scheduler": {"name": "pbt"}}, "drawn by sampler random, not tpe"),
        ({"trial_scheduler": {"name": "pbt"}, "sampler": "random", "samples": 3}, "allowed: 4 and more"),
        ({"trial_scheduler": {"name": "asha"}, "objectives": ("val_accuracy", "seconds")}, "several objectives"),
        ({"enqueue": ({"optimizer.lr": 3.0},)}, "optimizer.lr: 3.0 is outside of the space"),
        ({"enqueue": ({"optimizer.rl": 0.1},)}, "did you mean 'optimizer.lr'"),
        ({"enqueue": ({"model.bn_after": ["fc1"]},)}, "outside of the space"),
    ],
)
def test_a_search_that_does_not_fit_together_is_refused(fields: dict[str, Any], words: str) -> None:
    space = (Number(key="optimizer.lr", low=0.01, high=0.1), Choice(key="model.bn_after", choices=([], ["conv1"])))
    with pytest.raises(ValueError, match=words.replace("(", "\\(")):
        SearchStudy(**{"name": "s", "workload": "digits", "epochs": 1, "space": space, **fields})


def test_objectives_must_be_recorded_and_no_test_metric(tmp_path: Path, drive: Drive) -> None:
    space = (Number(key="optimizer.lr", low=0.01, high=0.1),)
    study = SearchStudy(name="s", workload="digits", epochs=1, space=space, objectives=("test_accuracy", "seconds"))
    with pytest.raises(PlanError, match=r"'test_accuracy' may not be one.*did you mean 'val_accuracy'"):
        drive(study, tmp_path / "run")


@pytest.mark.parametrize(
    ("text", "seconds"), [("8h", 28800), ("1h30m", 5400), ("90s", 90), ("1.5m", 90), ("1d", 86400)]
)
def test_durations_are_read_as_people_write_them(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["8", "h", "8 h", "-8h", "8hh", ""])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="such as 8h"):
        seconds_of(text)
