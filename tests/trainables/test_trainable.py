"""Ray's side of trials, driven without a cluster: setting up, stepping, changing trials."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.trainables.small_trials import EVERYTHING, finish, small_config, small_spec, timeless
from trainables.trainable import VisionTrainable
from trainables.trial.spec import TrialSpec
from trainables.trial.trial import Trial
from trainables.workloads.digits import DigitsSmallCNN


@pytest.fixture(autouse=True)
def own_log_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not in the user's home, where Ray puts a trial's log folder."""
    monkeypatch.setattr("ray.tune.trainable.trainable.DEFAULT_STORAGE_PATH", str(tmp_path))


def config(*specs: TrialSpec | dict[str, Any]) -> dict[str, Any]:
    return {"bundle": [{"spec": spec.to_dict() if isinstance(spec, TrialSpec) else spec} for spec in specs]}


def made(*specs: TrialSpec | dict[str, Any]) -> VisionTrainable:
    return DigitsSmallCNN(config(*specs))


def steps(trainable: VisionTrainable) -> Iterator[dict[str, Any]]:
    """Results until the one that says `done`."""
    while True:
        result = trainable.train()
        yield result
        if result["done"]:
            return


def rows_of(result: dict[str, Any]) -> list[dict[str, Any]]:
    return [row for report in result["reports"] for row in report["rows"]]


def test_an_epoch_is_a_step_and_the_last_one_is_done(tmp_path: Path) -> None:
    results = list(steps(made(small_spec(tmp_path / "ray", EVERYTHING))))
    outcome = finish(small_spec(tmp_path / "plain", EVERYTHING))
    assert [result["done"] for result in results] == [False, False, True]
    assert [timeless(row) for result in results for row in rows_of(result)] == outcome.rows
    assert results[-1]["reports"][0]["end"]["status"] == "finished"


def test_one_actor_runs_one_trial_after_the_other(tmp_path: Path) -> None:
    specs = [small_spec(tmp_path / str(seed), EVERYTHING, seed) for seed in (0, 1)]
    trainable, rows = made(specs[0]), []
    for spec in specs:
        assert trainable.reset_config(config(spec))
        rows.append([timeless(row) for result in steps(trainable) for row in rows_of(result)])
    expected = [finish(small_spec(tmp_path / f"plain {seed}", EVERYTHING, seed)).rows for seed in (0, 1)]
    assert rows == expected
    trainable.cleanup()
    assert not trainable.runner.busy


def test_a_bundle_gives_what_its_trials_give_alone_and_reports_short_ones_together(tmp_path: Path) -> None:
    broken = {**small_spec(tmp_path / "broken").to_dict(), "fingerprint": "beef"}
    specs = [small_spec(tmp_path / str(seed), EVERYTHING, seed) for seed in (0, 1)]
    results = list(steps(made(specs[0], broken, specs[1])))
    assert len(results) < 7
    reports = [report for result in results for report in result["reports"]]
    assert [report["end"]["status"] for report in reports if report["end"]] == ["finished", "failed", "finished"]
    found = [timeless(row) for report in reports for row in report["rows"]]
    alone = [finish(small_spec(tmp_path / f"plain {seed}", EVERYTHING, seed)).rows for seed in (0, 1)]
    assert found == alone[0] + alone[1]


def test_an_actor_that_takes_over_a_dropped_trial_reports_all_of_its_rows(tmp_path: Path) -> None:
    spec = small_spec(tmp_path / "run", EVERYTHING)
    made(spec).train()
    rows = [timeless(row) for result in steps(made(spec)) for row in rows_of(result)]
    assert [row["epoch"] for row in rows] == [1, 2, 3]


def test_a_trial_that_cannot_be_set_up_ends_as_failed_with_its_reason(tmp_path: Path) -> None:
    spec = small_spec(tmp_path)
    for broken, reason in (
        ({**spec.to_dict(), "fingerprint": "beef"}, "the data changed: fingerprint"),
        ({**spec.to_dict(), "dataset_file": str(tmp_path / "absent.arrow")}, "its data are not those"),
        ({**spec.to_dict(), "config": {}}, "dataset: is missing"),
    ):
        trainable = made(broken)
        (result,) = steps(trainable)
        assert rows_of(result) == []
        assert result["reports"][0]["end"]["status"] == "failed"
        assert reason in result["reports"][0]["end"]["error"]
        assert not result["reports"][0]["end"]["verified"]


def test_a_trial_that_fails_in_an_epoch_says_where_and_the_actor_takes_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Trial, *trained: object, lanes: int) -> None:
        raise ZeroDivisionError("of our making")

    trainable = made(small_spec(tmp_path / "first"))
    with monkeypatch.context() as patch:
        patch.setattr(Trial, "end_epoch", broken)
        (result,) = steps(trainable)
    assert result["reports"][0]["end"]["status"] == "failed"
    assert "ZeroDivisionError: of our making" in result["reports"][0]["end"]["error"]
    assert trainable.reset_config(config(small_spec(tmp_path / "next")))
    assert [*steps(trainable)][-1]["reports"][0]["end"]["status"] == "finished"


def test_a_trial_that_is_not_verified_ends_as_failed_without_a_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainables.training.batches.apply", lambda images, draws: images)
    (result,) = steps(made(small_spec(tmp_path, {"augmentation.flip": True})))
    assert result["reports"][0]["end"]["status"] == "failed"
    assert result["reports"][0]["end"]["error"].startswith("not verified: augmentation")
    assert "Traceback" not in result["reports"][0]["end"]["error"]


def test_a_specification_survives_being_a_dict(tmp_path: Path) -> None:
    spec = small_spec(tmp_path, EVERYTHING)
    assert TrialSpec(**spec.to_dict()) == spec
    assert Trial(spec).config == small_config(EVERYTHING)
