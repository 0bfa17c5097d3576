"""Whatever part of a log a crash leaves can be read and gone on from: every prefix of its bytes, down to none."""

import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import hypothesis
import hypothesis.strategies as st
import pytest

from analysis.records.log import read_log
from analysis.records.run_directory import RunDirectory
from analysis.records.store import read_records
from engine.planning.plan import Plan, make_plan
from engine.planning.remaining_work import remaining_work
from engine.planning.run_options import Options
from engine.runlog.history import History
from engine.runlog.run_log import RunLog
from search_spaces.factors import Factor
from search_spaces.spaces import Number
from search_spaces.study import AblationStudy, AnyStudy, SearchStudy
from search_spaces.trial_schedulers import ASHA
from tests.engine.sequential import BASELINE, Drive, driven
from tests.records import ends, epoch_rows, events

STUDIES: dict[str, AnyStudy] = {
    "ablation": AblationStudy(
        name="a",
        question="Does momentum help, as in « élan »?",  # more bytes than characters
        workload="digits",
        design="one_at_a_time",
        epochs=3,
        seeds=2,
        baseline=BASELINE,
        factors=(Factor.of("élan", {"off": {}, "0.9": {"optimizer.momentum": 0.9}}),),
    ),
    "search": SearchStudy(
        name="s",
        workload="digits",
        epochs=4,
        samples=5,
        sampler="random",
        baseline=BASELINE,
        space=(Number(key="optimizer.lr", low=0.001, high=0.5, log=True),),
        trial_scheduler=ASHA(),
    ),
}


@dataclass(frozen=True)
class Finished:
    """A run that nothing disturbed."""

    directory: Path
    plan: Plan

    @cached_property
    def log(self) -> bytes:
        return (self.directory / "log.jsonl").read_bytes()

    @cached_property
    def events(self) -> list[dict[str, Any]]:
        return events(self.directory)


@pytest.fixture(scope="module", params=STUDIES)
def finished(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    study = STUDIES[request.param]
    run = driven(study, tmp_path_factory.mktemp("finished") / "run")
    assert len(ends(run)) == (4 if request.param == "ablation" else 5)
    return Finished(run, make_plan(study, Options(), run))


@hypothesis.given(data=st.data())
@hypothesis.settings(max_examples=150, deadline=None)
@pytest.mark.matrix
def test_every_prefix_keeps_its_whole_lines_and_leaves_the_trials_without_an_end(
    data: st.DataObject, finished: Finished, tmp_path_factory: pytest.TempPathFactory
) -> None:
    cut = data.draw(st.integers(0, len(finished.log)))
    run = RunDirectory(tmp_path_factory.mktemp("prefix"))
    run.log.write_bytes(finished.log[:cut])
    kept = finished.events[: finished.log[:cut].count(b"\n")]

    assert list(read_log(run.log)) == kept, "readable while it is torn"
    with RunLog(run) as log:
        assert run.log.read_bytes() == finished.log[:cut].rpartition(b"\n")[0] + b"\n" * bool(kept)
        log.append(event="session", time="later")
        history = log.history
    assert list(read_log(run.log)) == [*kept, {"event": "session", "time": "later"}]

    now = remaining_work(finished.plan, history)
    over = [event["trial"] for event in kept if event["event"] == "end"]
    begun = [event["trial"] for event in kept if event["event"] == "start"]
    known = [spec.trial for spec in finished.plan.trials] or begun
    assert [spec.trial for spec in now.todo] == [trial for trial in known if trial not in over]
    assert (now.done, now.total) == (len(over), len(ends(finished.directory)))
    assert {(t, e) for t, rows in history.rows.items() for e in rows} == {
        (event["trial"], event["epoch"]) for event in kept if event["event"] == "epoch"
    }


@pytest.mark.parametrize("share", [*(pytest.param(share, marks=pytest.mark.matrix) for share in (0.02, 0.97)), 0.5])
@pytest.mark.parametrize("files", ["with its checkpoints", "without its checkpoints"])
def test_a_prefix_resumed_ends_with_the_same_records(
    share: float, files: str, finished: Finished, drive: Drive, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished.directory, run)
    (run / "log.jsonl").write_bytes(finished.log[: int(share * len(finished.log))])
    if files == "without its checkpoints":
        shutil.rmtree(run / "checkpoints")
    # What is in study.json names the first folder, and a plan for this one is the same but for it.
    drive(finished.plan.study, run)
    assert epoch_rows(run) == epoch_rows(finished.directory)
    assert ends(run) == ends(finished.directory)
    rows = [event for event in read_log(run / "log.jsonl") if event["event"] == "epoch"]  # of trials anew the new ones
    assert len(rows) == len(epoch_rows(run)), "a row stands twice in the log"
    ignored = ["seconds", "node", "device", "error", "execution", "started_at", "ended_at"]
    tables = [
        read_records(folder).trials.drop(columns=ignored, errors="ignore") for folder in (run, finished.directory)
    ]
    first, second = (table.sort_values("trial", ignore_index=True) for table in tables)
    assert first.equals(second)


def test_a_whole_line_that_is_damaged_is_named(finished: Finished, tmp_path: Path) -> None:
    lines = finished.log.splitlines(keepends=True)
    lines[2] = b"\0" * (len(lines[2]) - 1) + b"\n"
    (tmp_path / "log.jsonl").write_bytes(b"".join(lines))
    assert "log.jsonl:3: holds" in str(History.of(RunDirectory(tmp_path)).findings[0])
