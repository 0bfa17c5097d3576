"""`--keep best`: ended trials keep best.pt alone, and whatever goes on from a last state still finds it."""

import random
from pathlib import Path

import pytest

from analysis.console import describe
from core.errors import PlanError
from engine.cli.options import parsed_options
from engine.forecast.forecast import forecast
from engine.planning.plan import make_plan
from engine.planning.run_options import Options
from search_spaces.study import AblationStudy, SearchStudy
from search_spaces.trial_schedulers import ASHA, PBT
from tests.engine.planning.test_extensions import ablation, assert_equal_tables
from tests.engine.search.test_search_runs import search
from tests.engine.sequential import Drive, driven
from tests.records import ends, epoch_rows, events
from trainables.trial.trial import Trial

pytestmark = pytest.mark.usefixtures("tables_only")

STUDIES: dict[str, AblationStudy | SearchStudy] = {
    "ablation": ablation(seeds=2),
    "asha": search(trial_scheduler=ASHA()),
    "pbt": search(trial_scheduler=PBT()),
}


def last_states(run: Path) -> set[str]:
    """Trials that have a last state."""
    return {file.parent.name for name in ("last.pt", "previous.pt") for file in run.glob(f"checkpoints/*/{name}")}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name == "ablation" else [pytest.mark.matrix]) for name in STUDIES]
)
def test_a_run_killed_anywhere_ends_as_one_that_keeps_all_and_with_models_alone(
    name: str, tmp_path: Path, drive: Drive
) -> None:
    study = STUDIES[name]
    whole = driven(study, tmp_path / "whole")
    run, chance, kills = tmp_path / "run", random.Random(name), 0
    while kills == 0 or len(ends(run)) < len(ends(whole)):
        drive(study, run, lines=chance.randint(2, 20), keep="best")
        kills += 1
        assert len(last_states(run) & ends(run).keys()) <= kills  # of each trial after whose end it was killed
    assert kills > 2
    drive(study, run)
    assert (epoch_rows(run), ends(run)) == (epoch_rows(whole), ends(whole))
    assert last_states(whole)
    models = [{file.parent.name for file in folder.glob("checkpoints/*/best.pt")} for folder in (run, whole)]
    assert models[0] == models[1]
    left = {file.name for file in run.glob("checkpoints/*/*") if not file.name.startswith("epoch-")}
    assert left == {"best.pt"}  # and a population's states between generations


def test_more_epochs_train_anew_and_say_so(tmp_path: Path, drive: Drive, trained: list[int]) -> None:
    run = drive(ablation(seeds=1), tmp_path / "run", keep="best")
    trained.clear()
    drive(ablation(seeds=1), run, epochs=5)
    said = "3 trials train anew: the last checkpoint of their smaller budget is gone (--keep best and --disk-budget"
    assert said in drive.printed
    assert len(trained) == 15
    assert_equal_tables(run, drive(ablation(seeds=1, epochs=5), tmp_path / "whole"))


def test_a_finished_run_is_trimmed_by_resume_and_nothing_is_trained(
    tmp_path: Path, drive: Drive, trained: list[int]
) -> None:
    run = drive(ablation(seeds=1), tmp_path / "run")
    held = sum(file.stat().st_size for file in run.rglob("last.pt"))
    assert f"; --keep best would free {held // 1000}." in _weight(run)
    trained.clear()
    drive(ablation(seeds=1), run, keep="best")
    assert f"--keep best: {held // 1000}." in drive.printed
    assert not trained
    assert not last_states(run)
    assert "free" not in _weight(run)
    drive(ablation(seeds=1), run)  # the run's own option from now on
    assert "--keep best" not in drive.printed


def test_trials_of_a_larger_budget_go_on_from_the_last_states_that_then_go(
    tmp_path: Path, drive: Drive, trained: list[int]
) -> None:
    run = drive(ablation(seeds=2), tmp_path / "run")
    first = last_states(run)
    trained.clear()
    drive(ablation(seeds=2), run, lines=9, epochs=6, keep="best", checkpoint_every=0.0)
    assert events(run)[-1]["event"] == "end"
    assert last_states(run) >= first
    assert "free" not in _weight(run)
    drive(ablation(seeds=2), run)
    assert "train anew:" not in drive.printed
    assert trained == [5, 6] * 6
    assert not last_states(run)
    assert len(list(run.glob("checkpoints/*/best.pt"))) == 12


def test_what_failed_keeps_its_last_state(tmp_path: Path, drive: Drive, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Trial.begin_epoch

    def broken(self: Trial) -> None:
        real(self)
        if self.learner.epoch == 2 and self.spec.seed == 1:
            raise ValueError("broken")

    with monkeypatch.context() as patch:
        patch.setattr(Trial, "begin_epoch", broken)
        with pytest.raises(ValueError, match="broken"):  # the driver of the tests has no process to lose
            drive(ablation(seeds=2), tmp_path / "run", keep="best", checkpoint_every=0.0)
    run = tmp_path / "run"
    assert len(last_states(run)) == 1
    drive(ablation(seeds=2), run)
    assert not last_states(run)


@pytest.mark.usefixtures("probes")
def test_the_disk_that_a_plan_needs_is_that_of_the_models(tmp_path: Path) -> None:
    made = [
        forecast(make_plan(ablation(), Options(keep=keep), tmp_path))  # type: ignore[arg-type]
        for keep in (None, "last", "best")
    ]
    assert made[0].disk == made[1].disk > made[2].disk


def test_another_word_is_refused_with_those_that_are_allowed() -> None:
    with pytest.raises(PlanError, match=r"--keep: 'bst' is unknown; allowed: last, best; did you mean 'best'\?"):
        parsed_options({"keep": "bst"})


def _weight(run: Path) -> str:
    (line,) = (line for line in describe(run, at_work=False) if line.startswith("checkpoints: "))
    return line
