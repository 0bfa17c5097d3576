"""Which split rule a run has: the one of its record, and that of the time before where the record names none."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from datasets.base import DatasetInfo
from engine.planning.plan import make_plan
from engine.planning.run_options import Options
from engine.planning.study_record import recorded_request, study_record
from search_spaces.factors import Factor
from search_spaces.study import AblationStudy
from tests import records
from tests.datasets.makers import make_animals
from tests.engine.sequential import Drive

RATE = Factor.of("rate", {"0.001": {"optimizer.lr": 0.001}, "0.1": {"optimizer.lr": 0.1}})
SMALL = {"dataset.image_size": 8, "model.channels": [4], "model.hidden": 8, "inspect.pictures": False}


def study(workload: str = "folder", **baseline: Any) -> AblationStudy:
    return AblationStudy(
        name="s",
        workload=workload,
        design="one_at_a_time",
        epochs=1,
        seeds=1,
        factors=(RATE,),
        baseline={**(SMALL if workload == "folder" else {}), **baseline},
        metric="test_accuracy",
    )


def record_of(asked: AblationStudy, root: Path, **options: Any) -> dict[str, Any]:
    plan = make_plan(asked, Options(data_root=str(root), **options), root / "run")
    return json.loads(json.dumps(study_record(plan, [])))


def planned_again(record: dict[str, Any], root: Path) -> tuple[str, DatasetInfo]:
    """(split rule, data) of the plan that a record asks for."""
    plan = make_plan(*recorded_request(record), root / "run")
    return plan.baseline.dataset.split_rule, plan.factory.data(plan.baseline).info  # type: ignore[union-attr]


def before(record: dict[str, Any]) -> dict[str, Any]:
    """The record as it was before there was a split rule."""
    data = {name: value for name, value in record["data"].items() if name not in ("split_rule", "audit", "leaks")}
    return {**record, "data": data}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_animals(tmp_path / "data") / "animals"


@pytest.mark.parametrize(
    ("given", "rule"), [({}, "stratified"), ({"settings": {"dataset.split_rule": "by_name"}}, "by_name")]
)
def test_a_record_that_names_its_rule_keeps_it(given: dict[str, Any], rule: str, root: Path) -> None:
    record = record_of(study(), root, **given)
    assert record["data"]["split_rule"] == rule
    assert planned_again(record, root)[0] == rule


def test_a_record_that_names_none_is_of_the_time_before(root: Path) -> None:
    old = record_of(study(**{"dataset.split_rule": "by_name"}), root)
    rule, info = planned_again(before(record_of(study(), root)), root)
    assert (rule, info.fingerprint) == ("by_name", old["data"]["fingerprint"])
    assert record_of(study(), root)["data"]["fingerprint"] != info.fingerprint


def test_a_data_set_without_a_rule_is_not_given_one(tmp_path: Path) -> None:
    record = record_of(study("digits"), tmp_path)
    assert "split_rule" not in record["data"]
    assert recorded_request(before(record))[1].settings == {}


def test_an_old_run_is_resumed_reused_and_keeps_its_rule(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import engine.execution.launch

    drive = Drive()
    monkeypatch.setattr(engine.execution.launch, "carry_out", drive.carry_out)
    run = drive(study(**{"dataset.split_rule": "by_name"}), tmp_path / "run", data_root=str(root))
    record = json.loads((run / "study.json").read_text())
    del record["request"]["study"]["baseline"]["dataset.split_rule"]
    (run / "study.json").write_text(json.dumps(before(record)))
    lines = [json.dumps(event) + "\n" for event in records.events(run)]  # of before there were checksums
    log = "".join(lines).replace('"split_rule": "by_name", ', "")
    assert "split_rule" not in log
    (run / "log.jsonl").write_text(log)
    shutil.copy(root / "cat" / "cat (1).png", root / "cat" / "more.bin")  # which runs of then did not read
    keys = {trial["trial"] for trial in record["trials"]}

    drive(study(), run, seeds=2)
    after = json.loads((run / "study.json").read_text())
    assert after["data"]["split_rule"] == "by_name"
    assert keys < {trial["trial"] for trial in after["trials"]}
    assert "2 of 4 trials are finished" in drive.printed

    drive(study(**{"dataset.split_rule": "by_name"}), tmp_path / "new", data_root=str(root), reuse_from=str(run))
    assert "2 finished trials are taken over" in drive.printed


def test_a_run_tells_leaks_before_its_first_trial_and_records_them(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import engine.execution.launch

    shutil.copy(root / "cat" / "cat (1).png", root / "dog" / "copy.png")
    (root / "dog" / "notes.txt").write_text("")
    drive, told = Drive(), []

    def carry_out(*arguments: Any) -> None:
        told.append(arguments[4].console.file.getvalue())
        drive.carry_out(*arguments)

    monkeypatch.setattr(engine.execution.launch, "carry_out", carry_out)
    run = drive(study(), tmp_path / "run", data_root=str(root))
    (text,) = told
    leaks = json.loads((run / "study.json").read_text())["data"]["leaks"]
    assert any("2 identical pictures across classes" in leak and "dog/copy.png" in leak for leak in leaks)
    assert all(f"data: {leak}\n" in text for leak in leaks)
    assert "data: not read, as they are no JPEG" in text
    assert text.index("identical") < text.index("not read")
