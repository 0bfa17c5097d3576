"""Designs around a search's winner: which it is, what is asked of it, what is inherited, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from analysis.records.schema import FINISHED
from analysis.records.store import read_records
from analysis.report.contents import report_tables
from analysis.tables.ranking import ranking_table
from core.errors import PlanError
from engine.planning.plan import make_plan
from engine.planning.run_options import Options
from engine.search.winner import around, ranked
from search_spaces.designs import DESIGNS
from search_spaces.factors import Factor
from search_spaces.spaces import Choice, Number
from search_spaces.study import AblationStudy, SearchStudy, StudyError
from search_spaces.trial_schedulers import ASHA, PBT
from tests.analysis import runs
from tests.engine.sequential import BASELINE, Drive
from tests.records import ends, events
from trainables.config import flatten, from_tree

SPACE = (
    Number(key="optimizer.lr", low=0.02, high=0.5, log=True),
    Choice(key="model.bn_after", choices=([], ["conv1"])),
    Choice(key="schedule.name", choices=("step", "cosine")),
    Number(key="schedule.gamma", when={"schedule.name": ("step",)}),
)
FIRST = {"optimizer.lr": 0.1, "model.bn_after": ["conv1"], "schedule.name": "step", "schedule.gamma": 0.5}


def search(**fields: Any) -> SearchStudy:
    known: dict[str, Any] = {"name": "s", "workload": "digits", "epochs": 2, "samples": 3, "sampler": "random"}
    return SearchStudy(**{**known, "metric": "test_ce", "space": SPACE, "baseline": BASELINE, **fields})


def asked(study: SearchStudy, run: Path, **options: Any) -> tuple[AblationStudy, Options]:
    return around(study, Options(**options), run)


def refused(study: Any, run: Path, **options: Any) -> str:
    with pytest.raises((PlanError, StudyError)) as caught:
        around(study, Options(**options), run)
    return "\n".join(caught.value.faults)


def best_config(run: Path) -> dict[str, Any]:
    """Settings of the cell that the ranking puts first, by the log."""
    winner = ranking_table(read_records(run))["cell"][0]
    return next(flatten(from_tree(e["config"])) for e in events(run) if e.get("cell") == winner)


@pytest.mark.parametrize("metric", ["test_ce", "test_accuracy"])
@pytest.mark.parametrize("seeds", [1, 2])
def test_the_winner_is_the_ranking_s_first(metric: str, seeds: int, tmp_path: Path, drive: Drive) -> None:
    run = drive(search(metric=metric, seeds=seeds, samples=6, trial_scheduler=ASHA(reduction_factor=2)), tmp_path)
    records = read_records(run)
    table = ranking_table(records)
    whole = table.loc[(table["n"] > 0) & (table.get("n_stopped", 0) == 0), "cell"]
    assert ranked(records) == list(whole)
    assert set(records.trials.loc[records.trials["cell"].isin(ranked(records)), "status"]) == {FINISHED}


def test_a_cell_that_a_scheduler_stopped_is_no_winner_whatever_its_value(tmp_path: Path) -> None:
    outcomes: dict[str, list[float | str]] = {"a": [0.6, 0.6], "b": [0.9, "stopped"], "c": [0.7, "diverged"]}
    run = runs.write_outcomes(tmp_path, runs.search(seeds=range(2)), outcomes)
    assert ranked(read_records(run)) == ["c", "a"]


@pytest.mark.parametrize("design", [name for name in DESIGNS if name != "confirm"])
@pytest.mark.matrix
def test_every_design_goes_between_the_default_and_the_winner(design: str, tmp_path: Path, drive: Drive) -> None:
    run = drive(search(), tmp_path / "search")
    study, options = asked(search(), run, design=design)
    plan = make_plan(study, options, tmp_path / "made")
    names = [factor.name for factor in study.factors]
    assert set(names) <= {"lr", "bn_after", "schedule"}
    configs = {item.cell.name: flatten(item.config) for item in plan.cells if item.config}
    best, default = best_config(run), flatten(make_plan(search(), Options(), tmp_path / "x").baseline)
    whole = {"leave_one_out": "full", "one_at_a_time": None, "path": None}.get(design, list(configs)[-1])
    if whole:
        assert configs[whole] == best
    if design == "leave_one_out":
        back = configs["without lr"]
        assert back == {**best, "optimizer.lr": default["optimizer.lr"]}
    else:
        assert next(iter(configs.values())) == default
        assert {**default, "optimizer.lr": best["optimizer.lr"]} in configs.values()


def test_what_a_component_has_by_default_stays_when_another_is_chosen(tmp_path: Path, drive: Drive) -> None:
    """SGD's own default rate is 0.01 and Adam's 0.001: with the optimizer alone turned on, the rate is still Adam's."""
    space = (Choice(key="optimizer.name", choices=("sgd", "rmsprop")), Number(key="optimizer.lr"))
    base = {**BASELINE, "optimizer.name": "adam"}
    point = {"optimizer.name": "sgd", "optimizer.lr": 0.3}
    study = search(space=space, baseline=base, samples=1, enqueue=(point,))
    run = drive(study, tmp_path / "search")
    made, options = asked(study, run, design="factorial")
    configs = {item.cell.name: item.config for item in make_plan(made, options, tmp_path / "made").cells}
    rates = {name: config.optimizer.lr for name, config in configs.items() if config}
    assert rates == {"baseline": 0.001, "lr=0.3": 0.3, "optimizer=sgd": 0.001, "optimizer=sgd + lr=0.3": 0.3}


@pytest.mark.matrix
def test_a_path_around_a_winner_begins_with_seeds_that_the_search_did_not_use(tmp_path: Path, drive: Drive) -> None:
    study = search(seeds=2, samples=2, enqueue=(FIRST,))
    run = drive(study, tmp_path / "search")
    made, options = asked(study, run, seeds=2, max_concurrent=3)
    assert (made.design, made.first_seed, made.seeds, options.seeds) == ("path", 2, 5, 2)
    assert options.max_concurrent == 3
    assert made.question.startswith("Which of the settings that s changed in its best of 2 configurations (")
    walked = drive(made, tmp_path / "path", **options.model_dump(exclude_defaults=True))
    record = json.loads((walked / "study.json").read_text())
    assert record["seeds"] == [2, 3]
    assert {event["seed"] for event in events(walked) if event["event"] == "start"} == {2, 3}
    assert sorted(record["path"]) == sorted(factor.name for factor in made.factors)
    last = f"{len(record['path'])} + {record['path'][-1]}"
    (config,) = {json.dumps(e["config"]) for e in events(walked) if e["event"] == "start" and e["cell"] == last}
    assert flatten(from_tree(json.loads(config))) == best_config(run)


@pytest.mark.matrix
def test_a_resumed_path_reads_the_search_no_more(tmp_path: Path, drive: Drive) -> None:
    study = search(samples=2, enqueue=(FIRST,))
    run = drive(study, tmp_path / "search")
    made, options = asked(study, run, seeds=2)
    given = options.model_dump(exclude_defaults=True)
    whole = drive(made, tmp_path / "whole", **given)
    part = drive(made, tmp_path / "part", lines=9, **given)
    run.rename(tmp_path / "elsewhere")
    drive(made, part)
    assert ends(part) == ends(whole)
    tables = [report_tables(read_records(folder)) for folder in (part, whole)]
    for name in ("ablation", "path"):
        pd.testing.assert_frame_equal(tables[0][name], tables[1][name], check_exact=True)


def test_the_search_s_own_options_hold_unless_others_are_given(tmp_path: Path, drive: Drive) -> None:
    study = search(samples=2, enqueue=(FIRST,))
    run = drive(study, tmp_path, settings={"training.batch_size": 16}, epochs=1)
    made, options = asked(study, run)
    assert made.baseline["training.batch_size"] == 16
    assert made.epochs == 1
    assert make_plan(made, options, tmp_path / "a").baseline.training.epochs == 1
    made, options = asked(study, run, settings={"training.batch_size": 8}, epochs=3)
    baseline = make_plan(made, options, tmp_path / "b").baseline
    assert (baseline.training.batch_size, baseline.training.epochs) == (8, 3)


def test_what_a_resumed_search_was_told_to_draw_is_no_other_setting(tmp_path: Path, drive: Drive) -> None:
    run = drive(search(samples=2, enqueue=(FIRST,)), tmp_path)
    drive(search(), run, settings={"inspect.pictures": True})
    assert "--set inspect.pictures: is for the trials that are left; 2 finished ones" in drive.printed
    made, _ = asked(search(), run)
    assert made.factors


def test_a_search_s_patience_is_left_behind(tmp_path: Path, drive: Drive) -> None:
    study = search(samples=2, enqueue=(FIRST,), baseline={**BASELINE, "training.patience": 1})
    run = drive(study, tmp_path)
    made, options = asked(study, run)
    assert make_plan(made, options, tmp_path / "a").baseline.training.patience == 0
    run = drive(search(samples=2, enqueue=(FIRST,)), tmp_path / "second", settings={"training.patience": 1})
    made, options = asked(search(), run)
    assert make_plan(made, options, tmp_path / "b").baseline.training.patience == 0


def test_what_is_no_finished_run_of_the_search_is_refused(tmp_path: Path, drive: Drive) -> None:
    study = search(samples=1, enqueue=(FIRST,))
    run = drive(study, tmp_path / "search")
    factor = Factor.of("lr", {"a": {}, "b": {"optimizer.lr": 0.1}})
    ablation = AblationStudy(name="a", workload="digits", epochs=1, design="ladder", factors=(factor,), seeds=1)
    other = drive(ablation.model_copy(update={"baseline": BASELINE}), tmp_path / "ablation")
    assert "a is an ablation; a search has a winner" in refused(study, other)
    assert "a is an ablation, which has factors of its own" in refused(ablation, run)
    assert "is a run of workload digits, and s of folder" in refused(search(workload="folder"), run)
    narrow = (SPACE[0].model_copy(update={"high": 0.05}), *SPACE[1:])
    assert "is no point of s: optimizer.lr: 0.1 is outside of the space" in refused(search(space=narrow), run)
    assert "model.hidden 16, now 8" in refused(search(baseline={**BASELINE, "model.hidden": 8}), run)
    assert "--set optimizer.lr: the study varies it" in refused(study, run, settings={"optimizer.lr": 0.1})
    assert "did you mean 'path'" in refused(study, run, design="pth")


def test_a_search_without_an_end_a_population_and_the_default_itself_have_no_factors(
    tmp_path: Path, drive: Drive
) -> None:
    begun = drive(search(), tmp_path / "begun", lines=3)
    assert "no trial has finished its whole budget" in refused(search(), begun)
    wide = search(trial_scheduler=PBT(), samples=4)
    assert "so its winner is no one configuration" in refused(wide, drive(wide, tmp_path / "bred"))
    space = (Choice(key="schedule.name", choices=("constant",)), Choice(key="model.bn_after", choices=([],)))
    plain = search(space=space, samples=1)
    assert "is the default configuration, so there is nothing to ask" in refused(plain, drive(plain, tmp_path / "same"))
