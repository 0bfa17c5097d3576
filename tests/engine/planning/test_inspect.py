"""Which trials of a study draw, and that what is drawn makes no trial and no cell another."""

from pathlib import Path

import pytest

from core.errors import PlanError
from engine.planning.plan import make_plan
from engine.planning.run_options import Options
from search_spaces.factors import Factor
from search_spaces.spaces import Choice
from search_spaces.study import AnyStudy, SearchStudy
from tests.engine.planning.test_extensions import ablation
from tests.engine.sequential import BASELINE, Drive
from tests.records import ends, events


def search(**fields: object) -> SearchStudy:
    space = (Choice(key="optimizer.momentum", choices=(0.0, 0.5, 0.9)),)
    known = {"name": "s", "workload": "digits", "epochs": 1, "space": space, "samples": 2, "baseline": BASELINE}
    return SearchStudy(**{**known, **fields})  # type: ignore[arg-type]


def drawing(study: AnyStudy, folder: Path, drive: Drive) -> set[tuple[str, int]]:
    """(cell, seed) of the trials that left feature maps."""
    run = drive(study, folder)
    left = {path.parent.parent.name for path in run.glob("artifacts/*/feature_maps/about.json")}
    return {(event["cell"], event["seed"]) for event in events(run) if event.get("trial") in left and "cell" in event}


def faults(study: AnyStudy, folder: Path) -> list[str]:
    with pytest.raises(PlanError) as refusal:
        make_plan(study, Options(), folder)
    return refusal.value.faults


def test_the_first_seed_of_every_cell_of_an_ablation_draws(tmp_path: Path, drive: Drive) -> None:
    found = drawing(ablation(epochs=1, seeds=2, first_seed=3), tmp_path, drive)
    assert found == {("baseline", 3), ("momentum=0.9", 3), ("momentum=0.5", 3)}


def test_no_trial_of_a_search_draws_unless_it_is_asked_for(tmp_path: Path, drive: Drive) -> None:
    assert drawing(search(), tmp_path / "plain", drive) == set()
    asked = search(baseline={**BASELINE, "inspect.pictures": True})
    assert len(drawing(asked, tmp_path / "asked", drive)) == 2


def test_pictures_can_be_switched_off_and_on_for_every_seed(tmp_path: Path, drive: Drive) -> None:
    none, every = (ablation(epochs=1, seeds=2, baseline={**BASELINE, "inspect.pictures": on}) for on in (False, True))
    assert drawing(none, tmp_path / "none", drive) == set()
    assert len(drawing(every, tmp_path / "every", drive)) == 6


def test_what_is_drawn_is_no_part_of_a_trial(tmp_path: Path) -> None:
    other = ablation(baseline={**BASELINE, "inspect.pictures": True, "inspect.image": "1066"})
    plans = [make_plan(study, Options(), tmp_path) for study in (ablation(), other)]
    assert [spec.trial for spec in plans[0].trials] == [spec.trial for spec in plans[1].trials]
    assert {spec.pictures for spec in plans[1].trials} == {True}


@pytest.mark.matrix
def test_a_begun_run_goes_on_with_another_picture(tmp_path: Path, drive: Drive) -> None:
    whole = drive(ablation(epochs=2, seeds=1), tmp_path / "whole")
    run = drive(ablation(epochs=2, seeds=1), tmp_path / "run", lines=4)
    drive(ablation(epochs=2, seeds=1), run, settings={"inspect.image": "1066"})
    assert ends(run) == ends(whole)
    more = drive(ablation(epochs=3, seeds=1), run, epochs=3, settings={"inspect.image": "1066"})
    assert len(ends(more)) == 6


def test_a_picture_that_the_data_set_lacks_is_refused_before_anything_runs(tmp_path: Path) -> None:
    (fault,) = faults(ablation(baseline={**BASELINE, "inspect.image": "10667"}), tmp_path)
    assert fault.startswith("inspect.image: '10667' is none of the ")
    assert "1066" in fault.partition("nearest: ")[2].split(", ")


def test_a_picture_that_no_trial_would_draw_is_refused(tmp_path: Path) -> None:
    wanted = "inspect.image: '1066' is drawn by no trial; with it, give inspect.pictures=true"
    assert faults(search(baseline={**BASELINE, "inspect.image": "1066"}), tmp_path) == [wanted]
    off = {"inspect.image": "1066", "inspect.pictures": False}
    assert faults(ablation(baseline={**BASELINE, **off}), tmp_path) == [wanted]


def test_a_study_cannot_vary_what_changes_no_number(tmp_path: Path) -> None:
    factor = Factor.of("picture", {"one": {}, "other": {"inspect.image": "1066"}})
    wanted = "inspect.image: varied by the study, but it changes no number; give it to all trials by --set"
    assert any(fault.startswith(wanted) for fault in faults(ablation(factors=(factor,)), tmp_path))
