"""A path: greedy steps from the default to its end, each trained, the same however often the run is killed."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from ray.tune.search import Searcher

from analysis.records.store import read_records
from analysis.report.contents import report_tables
from core.errors import PlanError
from engine.planning.plan import make_plan
from engine.planning.remaining_work import remaining_work
from engine.planning.run_options import Options
from engine.runlog.history import History
from engine.search.ablation_path import PathQueue, best_candidate
from search_spaces.factors import Factor
from search_spaces.study import AblationStudy
from tests.analysis import runs
from tests.engine.sequential import BASELINE, Drive, driven
from tests.records import ends, epoch_rows, events
from trainables.trial.trial import Trial, failure

LR = Factor.of("lr", {"0.01": {}, "0.2": {"optimizer.lr": 0.2}})
MOMENTUM = Factor.of("momentum", {"0": {}, "0.9": {"optimizer.momentum": 0.9}})
BN = Factor.of("bn", {"none": {}, "conv1": {"model.bn_after": ["conv1"]}})
DECAY = Factor.of("decay", {"0": {}, "0.01": {"optimizer.weight_decay": 0.01}})


def path(*factors: Factor, **fields: Any) -> AblationStudy:
    known: dict[str, Any] = {"name": "p", "workload": "digits", "epochs": 2, "seeds": 2, "design": "path"}
    known |= {"metric": "test_ce"}  # no two trials have the same
    return AblationStudy(**{**known, "factors": factors or (LR, MOMENTUM, BN), "baseline": BASELINE, **fields})


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`path()` that nothing disturbed, to be read only."""
    return driven(path(), tmp_path_factory.mktemp("path") / "run")


def record(run: Path) -> dict[str, Any]:
    return json.loads((run / "study.json").read_text())


def greedy(run: Path) -> list[str]:
    """The choices by brute force, from the rows of the log and the settings of each trial alone."""
    study = record(run)
    ended = {trial: end for trial, end in ends(run).items() if end["status"] == "finished"}
    rows = epoch_rows(run)
    levels = {cell["name"]: cell["levels"] for cell in study["cells"]}
    second = {factor["name"]: factor["levels"][1]["name"] for factor in study["factors"]}
    scores: dict[frozenset[str], list[float]] = {}
    for event in events(run):
        if event["event"] == "start" and event["trial"] in ended:
            on = frozenset(name for name, level in levels[event["cell"]].items() if level == second[name])
            chosen = ended.pop(event["trial"])["selected_epoch"]
            scores.setdefault(on, []).append(rows[event["trial"], chosen]["val_ce"])
    chosen_so_far: list[str] = []
    while len(chosen_so_far) < len(second):
        left = [name for name in second if name not in chosen_so_far]
        means = {name: sum(scores[frozenset([*chosen_so_far, name])]) for name in left}
        chosen_so_far.append(min(left, key=lambda name: means[name]))
    return chosen_so_far


def outcome(run: Path) -> Any:
    tables = {name: table.to_csv() for name, table in report_tables(read_records(run)).items()}
    assert {"ablation", "ranking", "path"} <= set(tables)
    return record(run)["path"], epoch_rows(run), ends(run), tables


def test_a_path_trains_every_candidate_and_takes_the_best_of_each_step(tmp_path: Path, drive: Drive) -> None:
    run = drive(path(LR, MOMENTUM, BN, DECAY), tmp_path)
    chosen = record(run)["path"]
    assert chosen == greedy(run)
    assert sorted(chosen) == ["bn", "decay", "lr", "momentum"]
    assert len(ends(run)) == (1 + 4 * 5 // 2) * 2
    starts = [event["trial"] for event in events(run) if event["event"] == "start"]
    assert len(starts) == len(set(starts)), "a trial was run twice"
    assert f"step 1 of 4: {chosen[0]}, the best of 4 by val_ce" in drive.printed


def test_the_last_step_s_settings_are_those_of_all_second_levels(whole: Path) -> None:
    last = f"3 + {record(whole)['path'][-1]}"
    (config,) = {json.dumps(e["config"]) for e in events(whole) if e["event"] == "start" and e["cell"] == last}
    found = json.loads(config)
    assert (found["optimizer"]["lr"], found["optimizer"]["momentum"]) == (0.2, 0.9)
    assert found["model"]["bn_after"] == ["conv1"]


@pytest.mark.matrix
def test_a_path_killed_after_any_line_of_its_log_chooses_the_same(whole: Path, tmp_path: Path, drive: Drive) -> None:
    undisturbed = outcome(whole)
    total, run = len(events(whole)), tmp_path / "killed"
    chance, kills = random.Random(3), 0
    while kills == 0 or len(ends(run)) < len(undisturbed[2]):
        drive(path(), run, lines=chance.randint(2, total // 3))
        kills += 1
        assert kills < 100, "the path goes on for ever"
    assert kills >= 3
    assert outcome(run) == undisturbed
    written = [(e["trial"], e["epoch"]) for e in events(run) if e["event"] == "epoch"]
    assert len(written) == len(set(written)), "a row was written twice"


@pytest.mark.parametrize("moment", [pytest.param("before", marks=pytest.mark.matrix), "after"])
@pytest.mark.matrix
def test_a_kill_between_a_step_s_last_trial_and_what_study_json_says_of_it(
    moment: str, whole: Path, tmp_path: Path, drive: Drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    import engine.search.ablation_path
    from tests.engine.sequential import Killed

    undisturbed = outcome(whole)
    rewrite = engine.search.ablation_path.rewrite

    def killed(*arguments: Any) -> None:
        if moment == "after":
            rewrite(*arguments)
        raise Killed

    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(engine.search.ablation_path, "rewrite", killed)
        for _ in range(3):
            drive(path(), run)
    assert len(record(run)["path"]) == (0 if moment == "before" else 3)
    drive(path(), run)
    assert outcome(run) == undisturbed


def test_the_rows_of_the_table_are_the_steps(whole: Path) -> None:
    first, second, third = (f"{i} + {name}" for i, name in enumerate(record(whole)["path"], 1))
    pairs = [(c["factor"], c["cell"], c["baseline_cell"]) for c in record(whole)["comparisons"]]
    assert pairs == [
        ("path", first, "0 default"),
        ("path", second, first),
        ("path", second, "0 default"),
        ("path", third, second),
        ("path", third, "0 default"),
    ]


@pytest.mark.matrix
def test_more_seeds_keep_the_path_and_train_only_themselves(tmp_path: Path, drive: Drive) -> None:
    run = drive(path(), tmp_path)
    before, chosen = set(ends(run)), record(run)["path"]
    drive(path(), run, seeds=3)
    assert record(run)["path"] == chosen
    assert before < set(ends(run))
    assert len(ends(run)) == 7 * 3


@pytest.mark.matrix
def test_the_total_is_told_as_the_most_that_there_may_be(tmp_path: Path, drive: Drive) -> None:
    study = path(LR, MOMENTUM, BN, DECAY)
    plan = make_plan(study, Options(), tmp_path / "nothing")
    assert remaining_work(plan, History()).total == (1 + 4 * 5 // 2) * 2
    assert len(plan.trials) == (1 + 4) * 2
    run = drive(study, tmp_path / "run", lines=8)
    assert record(run)["trials_ahead"] == 6 * 2
    drive(study, run)
    assert record(run)["trials_ahead"] == 0
    assert len(record(run)["trials"]) == 22


def test_candidates_of_one_configuration_run_once(tmp_path: Path, drive: Drive) -> None:
    nothing = Factor.of("nothing", {"same": {}, "as ever": {"optimizer.weight_decay": 0.0}})
    run = drive(path(LR, nothing), tmp_path)
    assert len(ends(run)) == 2 * 2
    assert record(run)["path"] == greedy_of_two(run)


def greedy_of_two(run: Path) -> list[str]:
    values = read_records(run)
    better = values.values("1 + lr", "val_ce").mean() <= values.values("0 default", "val_ce").mean()
    return ["lr", "nothing"] if better else ["nothing", "lr"]


def test_a_factor_that_cannot_be_alone_waits_until_it_can(tmp_path: Path, drive: Drive) -> None:
    nesterov = Factor.of("nesterov", {"off": {}, "on": {"optimizer.nesterov": True}})
    run = drive(path(nesterov, MOMENTUM, LR), tmp_path)
    chosen = record(run)["path"]
    assert sorted(chosen) == ["lr", "momentum", "nesterov"]
    assert chosen.index("nesterov") > chosen.index("momentum")
    assert "'1 + nesterov' cannot run and is no candidate: optimizer.nesterov = True: needs a" in drive.printed
    invalid = [cell["name"] for cell in record(run)["cells"] if cell["invalid"]]
    assert invalid[0] == "1 + nesterov"
    assert not [event for event in events(run) if event.get("cell") in invalid]


def test_factors_of_which_none_can_be_alone_end_the_path_and_a_resume_runs_nothing(
    tmp_path: Path, drive: Drive
) -> None:
    wide = {"model.channels": [4, 8, 8], "optimizer.nesterov": True}  # which needs a momentum
    deep = {"model.bn_after": ["conv3"], "optimizer.momentum": 0.9}  # which needs a third layer
    study = path(LR, Factor.of("wide", {"no": {}, "yes": wide}), Factor.of("deep", {"no": {}, "yes": deep}))
    run = drive(study, tmp_path)
    assert record(run)["path"] == ["lr"]
    assert record(run)["trials_ahead"] == 0
    assert "The path ends here: none of the 2 factors that are left can be turned on alone." in drive.printed
    before = len(ends(run))
    drive(study, run)
    assert "4 of 4 trials are finished" in drive.printed
    assert len(ends(run)) == before == 2 * 2


def test_a_path_whose_end_cannot_be_is_refused(tmp_path: Path) -> None:
    lost = Factor.of("lost", {"no": {}, "yes": {"model.bn_after": ["conv9"]}})
    with pytest.raises(PlanError, match=r"the end of the path: model\.bn_after: no layer 'conv9'"):
        make_plan(path(LR, lost), Options(), tmp_path)
    three = Factor.of("lr", {"a": {}, "b": {"optimizer.lr": 0.1}, "c": {"optimizer.lr": 0.2}})
    with pytest.raises(PlanError, match="takes factors of two levels, off and on; lr has 3"):
        make_plan(path(three, design="one_at_a_time"), Options(design="path"), tmp_path)


@pytest.mark.matrix
def test_any_ablation_of_two_levels_walks_a_path_and_another_design_forgets_it(tmp_path: Path, drive: Drive) -> None:
    study = path(design="one_at_a_time", references={"baseline": "as published"})
    run = drive(study, tmp_path, design="path")
    assert record(run)["path"] == greedy(run)
    drive(study, run, design="one_at_a_time")
    assert "path" not in record(run)
    assert len(ends(run)) == 7 * 2


def test_a_path_that_would_choose_by_what_it_trains_on_is_refused(tmp_path: Path) -> None:
    settings = {"dataset.train_on_validation": True, "selection.rule": "last"}
    with pytest.raises(PlanError, match="validation cannot choose a path's steps"):
        make_plan(path(), Options(settings=settings), tmp_path)


@pytest.mark.parametrize("status", ["failed", pytest.param("diverged", marks=pytest.mark.matrix)])
@pytest.mark.matrix
def test_a_candidate_that_lost_a_seed_is_behind_those_that_lost_none(
    status: str, tmp_path: Path, drive: Drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    best = record(drive(path(), tmp_path / "whole"))["path"][0]
    advance = Trial.advance

    def broken(self: Trial) -> dict[str, Any]:
        found = advance(self)
        if (self.spec.cell, self.spec.seed) == (f"1 + {best}", 1) and found["end"]:
            lost = failure(RuntimeError("as the test wants it")) if status == "failed" else {}
            found["end"] = {**found["end"], "status": status, **lost}
        return found

    monkeypatch.setattr(Trial, "advance", broken)
    run = drive(path(), tmp_path / "run")
    assert record(run)["path"][0] != best
    assert len(read_records(run).trials) == 7 * 2
    assert set(read_records(run).trials["status"]) == {"finished", status}
    assert len(record(run)["path"]) == 3


@pytest.mark.parametrize(
    "cell", ["0 default", *(pytest.param(cell, marks=pytest.mark.matrix) for cell in ("1 + lr", "3 + bn"))]
)
@pytest.mark.matrix
def test_a_trial_out_of_memory_holds_its_step_up_until_it_was_tried_with_more(
    cell: str, whole: Path, tmp_path: Path, drive: Drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed = outcome(whole)
    if cell not in {event.get("cell") for event in events(whole)}:
        cell = f"3 + {undisturbed[0][-1]}"
    advance, tried = Trial.advance, []

    def starved(self: Trial) -> dict[str, Any]:
        if (self.spec.cell, self.spec.seed) == (cell, 0) and not tried:
            tried.append(self.spec.trial)
            return {"rows": [], "end": failure(MemoryError("as the test wants it")), "end_if_stopped": None}
        return advance(self)

    monkeypatch.setattr(Trial, "advance", starved)
    run = drive(path(), tmp_path / "run")
    assert tried
    assert f"{cell} seed 0: out of memory" in drive.printed
    assert outcome(run) == undisturbed


def test_a_step_is_chosen_by_finished_seeds_first_then_by_their_mean_then_by_order(tmp_path: Path) -> None:
    outcomes: dict[str, list[float | str]] = {
        "baseline": [0.5, 0.5, 0.5],
        "loss=a": [0.9, 0.9, "diverged"],
        "loss=b": [0.6, 0.8, 0.7],
        "loss=c": [0.7, 0.7, 0.7],
        "loss=d": [0.6, 0.6, 0.6],
    }
    records = read_records(runs.write_outcomes(tmp_path, runs.study(outcomes, range(3)), outcomes))
    cells = {name: f"loss={name}" for name in "abcd"}
    assert best_candidate(records, cells, runs.METRIC) == "b"
    assert best_candidate(records, {"d": "loss=d", "a": "loss=a"}, runs.METRIC) == "d"
    assert best_candidate(records, {"c": "loss=c", "b": "loss=b"}, runs.METRIC) == "c"


@pytest.mark.matrix
def test_a_time_budget_that_is_spent_leaves_a_path_that_goes_on(whole: Path, tmp_path: Path, drive: Drive) -> None:
    """What Ray's stopper does to it: the loop ends between two trials, without an end of the step."""
    undisturbed = outcome(whole)
    run, rounds = tmp_path / "run", 0
    while not (run / "study.json").exists() or len(ends(run)) < 14:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(PathQueue, "suggest", _spent(PathQueue.suggest, 5))
            drive(path(), run)
        rounds += 1
    assert rounds == 3
    drive(path(), run)
    assert outcome(run) == undisturbed


def _spent(suggest: Any, after: int) -> Any:
    count = 0

    def limited(self: PathQueue, trial_id: str) -> Any:
        nonlocal count
        count += 1
        return suggest(self, trial_id) if count <= after else Searcher.FINISHED

    return limited


@pytest.mark.matrix
def test_a_path_takes_over_what_another_run_finished_at_every_step(
    tmp_path: Path, drive: Drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = drive(path(), tmp_path / "first")
    monkeypatch.setattr(Trial, "advance", None)  # nothing is left to train
    second = drive(path(), tmp_path / "second", reuse_from=str(first))
    chosen, _, _, tables = outcome(second)
    assert (chosen, tables["path"]) == (outcome(first)[0], outcome(first)[3]["path"])


@pytest.mark.matrix
def test_a_path_that_becomes_another_design_keeps_the_trials_that_it_shares(tmp_path: Path, drive: Drive) -> None:
    run = drive(path(), tmp_path)
    drive(path(), run, design="one_at_a_time")
    records = read_records(run)
    cells = [cell["name"] for cell in record(run)["cells"]]
    assert cells == ["baseline", "lr=0.2", "momentum=0.9", "bn=conv1"]
    counted = records.trials["cell"].value_counts()
    assert [counted[cell] for cell in cells] == [2] * 4
    assert report_tables(records)["ablation"]["n_pairs"].tolist() == [2] * 3
