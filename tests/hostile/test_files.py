"""A run directory with a link, a pipe, or hostile content in the place of any of its files and folders."""

import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from core.errors import PlanError
from core.files import OutsideError, inside, unfit
from engine.cli.locations import existing
from tests.hostile.files import CHECKPOINTS, LINKS, PICTURES, TABLES, Change, cases, replace
from tests.hostile.scene import KEPT, KEY, Scene, quiet
from trainables.trial import checkpoint_file

OF_REPORTS = ("artifacts", "predictions", "report")
EVERY = ("status", "report", "compare", "rerun", "predict", "export", "confirm", "incumbent", "reuse", "resume")


def attacked(scenes: Sequence[Scene], chosen: Sequence[tuple[str, str, Change]], rng: random.Random) -> None:
    """`scenes`: of a run with all artifacts, and of a run with checkpoints."""
    with quiet():
        for name, what, change in chosen:
            scene = scenes[0] if name.startswith(OF_REPORTS) else scenes[1]
            scene.begin()
            replace(scene.run / name.replace("KEY", scene.key), change)
            command = "report" if name.startswith(OF_REPORTS) else rng.choice(EVERY)
            try:
                scene.call(command)
            except AssertionError as error:
                raise AssertionError(f"{command}: {name}: {what}") from error


def test_a_hostile_file_costs_its_section_or_the_command_and_nothing_outside(
    tmp_path: Path, ablation: Path, key: str
) -> None:
    rng = random.Random(1)
    scenes = [Scene(tmp_path / "a", ablation, key), Scene(tmp_path / "b")]
    attacked(scenes, rng.sample(cases(), 6), rng)


@pytest.mark.matrix
@pytest.mark.parametrize("seed", range(2, 4))
def test_many_hostile_files(tmp_path: Path, ablation: Path, key: str, seed: int) -> None:
    rng = random.Random(seed)
    scenes = [Scene(tmp_path / "a", ablation, key), Scene(tmp_path / "b")]
    attacked(scenes, rng.sample(cases(), 60), rng)


@pytest.mark.parametrize("what", ["link to a file", "link to a folder", "link to itself", "pipe", "device"])
@pytest.mark.parametrize("name", ["x", f"checkpoints/{KEY}/best.pt", "a/b/c/d"])
def test_what_leads_out_or_is_no_file_is_named(tmp_path: Path, name: str, what: str) -> None:
    scene = Scene(tmp_path)
    assert existing(str(scene.run)) == scene.run
    replace(scene.run / name, LINKS[what])
    assert list(unfit(scene.run)) == [scene.run / name]
    with pytest.raises(PlanError, match=name.replace(".", r"\.")):
        existing(str(scene.run))
    if "/" not in name:
        with pytest.raises(OutsideError, match="nothing is read or written there"):
            inside(scene.run, name)


@pytest.mark.parametrize("what", [name for name in CHECKPOINTS if name != "other weights"][:3])
def test_a_checkpoint_of_anything_but_a_state_is_none(tmp_path: Path, what: str) -> None:
    replace(tmp_path / "best.pt", CHECKPOINTS[what])
    assert checkpoint_file.whole(tmp_path / "best.pt")
    assert checkpoint_file.load(tmp_path / "best.pt") is None


@pytest.mark.parametrize("what", PICTURES)
def test_a_picture_that_no_trial_leaves_is_none(tmp_path: Path, what: str) -> None:
    from analysis.figures.feature_map_gallery import read_grid
    from analysis.figures.thumbnails import read_thumbnail

    replace(tmp_path / "0.png", PICTURES[what])
    assert read_thumbnail(tmp_path / "0.png") is None
    assert read_grid(tmp_path / "0.png") is None


@pytest.mark.parametrize("what", [name for name in TABLES if name not in ("one row", "mixed", "truth")])
def test_a_table_of_other_values_is_read_as_none_or_as_nothing(tmp_path: Path, what: str) -> None:
    from analysis.figures.landmark_gallery import read_landmarks
    from analysis.statistics.prediction_errors import read_predictions
    from analysis.tables.confusion import _counted
    from analysis.tables.feature_projections import read_features
    from analysis.tables.layer_diagnostics import read_diagnostics

    file = tmp_path / "x.parquet"
    replace(file, TABLES[what])
    for read in (read_predictions, _counted, read_features, read_landmarks, read_diagnostics):
        read(file)  # raises nothing
    if what in ("text", "lists", "structures", "no column", "other columns", "a column twice"):
        assert read_predictions(file) is None
        assert read_features(file) is None


def test_the_scenes_are_whole_without_damage(tmp_path: Path) -> None:
    with quiet():
        assert Scene(tmp_path, KEPT).call("status")[0] == 0


def test_a_table_of_more_values_than_fit_in_memory_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of equal values, a file of a megabyte holds a billion."""
    from analysis.records import columns

    replace(tmp_path / "x.parquet", TABLES["whole numbers"])
    assert columns.read_parquet(tmp_path / "x.parquet", "index") is not None
    monkeypatch.setattr(columns, "MOST_VALUES", 80)
    assert columns.read_parquet(tmp_path / "x.parquet", "index") is None
