"""Files damaged at random: a list of faults in the project's words, or a study that comes back from its record."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from core.errors import FaultError
from engine.planning import study_record
from engine.planning.plan import Plan, make_plan
from engine.planning.run_options import Options
from search_spaces.study import AnyStudy, StudyError, parse_study
from search_spaces.study_file import read_study
from tests.search_spaces.damaged_studies import study_files
from tests.search_spaces.test_study_files import FOREIGN

READ = [150, pytest.param(3000, marks=pytest.mark.matrix)]
PLANNED = [20, pytest.param(600, marks=pytest.mark.matrix)]
CALM = {"deadline": None, "suppress_health_check": list(HealthCheck)}


def read(data: bytes, file: Path) -> AnyStudy | None:
    """The study, or None where the file was refused, with one line a fault."""
    file.write_bytes(data)
    try:
        return read_study(file)
    except StudyError as error:
        for fault in error.faults:
            assert re.match(rf"{re.escape(str(file))}: line [1-9]\d*: ", fault), fault
            assert "\n" not in fault
            assert not FOREIGN.search(fault), fault
        return None


@pytest.mark.parametrize("examples", READ)
def test_a_damaged_file_is_refused_in_plain_words_or_read_as_it_is_recorded(examples: int, tmp_path: Path) -> None:
    @settings(max_examples=examples, **CALM)  # type: ignore[arg-type]
    @given(study_files())
    def check(data: bytes) -> None:
        if study := read(data, tmp_path / "study.yaml"):
            assert parse_study(json.loads(json.dumps(study.model_dump(mode="json"), allow_nan=False)), "") == study
            below = (tmp_path / "results" / study.name).resolve()
            assert below.is_relative_to(tmp_path / "results")
            assert below != tmp_path / "results"

    check()


@pytest.mark.parametrize("examples", PLANNED)
def test_what_is_planned_is_planned_the_same_from_its_record(
    examples: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that no run starts which cannot be resumed."""
    monkeypatch.setattr(study_record, "git_state", dict)

    @settings(max_examples=examples, **CALM)  # type: ignore[arg-type]
    @given(study_files())
    def check(data: bytes) -> None:
        if (study := read(data, tmp_path / "study.yaml")) and (plan := planned(study, tmp_path)):
            record = json.loads(json.dumps(study_record.study_record(plan, []), allow_nan=False))
            again = make_plan(*study_record.recorded_request(record), tmp_path, plan.factory)
            assert again.study == plan.study
            assert [spec.trial for spec in again.trials] == [spec.trial for spec in plan.trials]
            assert len({(spec.cell, spec.seed) for spec in plan.trials}) == len(plan.trials)

    check()


def planned(study: AnyStudy, directory: Path) -> Plan | None:
    try:
        return make_plan(study, Options(), directory)
    except FaultError:
        return None
