"""Run directories that earlier commits made: every later one reads them, reruns their trials and goes on with them."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from engine.runlog.signature import is_valid
from run_search import main
from tests import records
from tests.conftest import ROOT
from trainables.training.learner import Learner

KEPT = sorted(path.parent for path in (ROOT / "tests" / "runs").glob("*/study.json"))
assert KEPT


@pytest.fixture(params=KEPT, ids=lambda path: path.name)
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of one."""
    return Path(shutil.copytree(request.param, tmp_path / "run"))


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments], catch_exceptions=False)


def edited(run: Path, change: Callable[[dict[str, Any]], None]) -> None:
    changed = records.events(run)
    for event in changed:
        change(event)
    (run / "log.jsonl").write_text("".join(json.dumps(event) + "\n" for event in changed), encoding="utf-8")


def events(run: Path, kind: str) -> list[dict[str, Any]]:
    return [event for event in records.events(run) if event["event"] == kind]


def by_other_code(event: dict[str, Any]) -> None:
    """The same trials under the keys and versions of code that was never this one."""
    if "trial" in event:
        before, event["trial"] = event["trial"], f"{event['trial'][:10]}ff"
        if "outputs" in event:
            event["outputs"] = {name.replace(before, event["trial"]): value for name, value in event["outputs"].items()}
    if "code" in event:
        event["code"] = f"other {event['code'][:6]}"


def test_it_is_small(run: Path) -> None:
    assert sum(file.stat().st_size for file in run.rglob("*") if file.is_file()) <= 200_000


def test_status_report_and_compare_read_it(run: Path, tmp_path: Path) -> None:
    assert "finished" in call("status", run).output
    assert call("report", run).exit_code == 0
    assert (run / "report" / "index.html").exists()
    compared = call("compare", run, run, "--out", tmp_path / "compared")
    assert compared.exit_code == 0, compared.output


def test_a_trial_trained_again_has_the_same_numbers(run: Path) -> None:
    done = call("rerun", run, events(run, "end")[0]["trial"])
    assert done.exit_code == 0, done.output
    assert "equal to its record" in done.output


@pytest.mark.parametrize("other", [False, True], ids=["as it is", "by other code"])
def test_it_is_resumed_with_no_trial_but_those_that_prove(
    run: Path, other: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if other:
        edited(run, by_other_code)
        for path in [*run.glob("predictions/*"), *run.glob("artifacts/*"), *run.glob("checkpoints/*")]:
            path.rename(path.with_name(f"{path.stem[:10]}ff{path.suffix}"))
    trained: list[int] = []
    real = Learner.train_epoch
    monkeypatch.setattr(Learner, "train_epoch", lambda self, most=None: (trained.append(1), real(self, most))[1])
    before = len(events(run, "start"))
    done = call("resume", run)
    assert done.exit_code == 0, done.output
    assert is_valid(json.loads((run / "study.json").read_text()))  # so from now on it is this user's
    assert len(events(run, "start")) == before
    epochs = json.loads((run / "study.json").read_text())["epochs"]
    assert len(trained) == len(events(run, "proof")) * epochs
    if other:
        assert len(events(run, "proof")) == len({event["code"] for event in events(run, "start")})


@pytest.mark.parametrize("metric", ["train_loss", "val_ce", "test_accuracy"])
def test_with_one_number_changed_by_a_hundredth_it_is_refused(run: Path, metric: str) -> None:
    edited(run, by_other_code)
    trial = events(run, "end")[-1]["trial"]

    def change(event: dict[str, Any]) -> None:
        if event["event"] == "epoch" and event["trial"] == trial:
            event[metric] *= 1.01

    edited(run, change)
    done = call("resume", run)
    assert done.exit_code == 2
    assert f"epoch 1: {metric}" in done.output
    assert trial in done.output
