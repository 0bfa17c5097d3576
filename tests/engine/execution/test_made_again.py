"""What a run has lost is made again by `resume`, with the files, rows and tables of the undisturbed run."""

import json
import shutil
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any

import pytest

from analysis.records.run_directory import RunDirectory
from core.errors import Moved
from core.files import found_digest
from engine.runlog.run_log import RunLog
from search_spaces.trial_schedulers import ASHA
from tests.engine.planning.test_extensions import ablation, assert_equal_tables
from tests.engine.search.test_search_runs import search
from tests.engine.sequential import BASELINE, Drive, driven
from tests.records import ends, epoch_rows, events
from trainables.training.learner import Learner

pytestmark = pytest.mark.usefixtures("tables_only")

STUDY = ablation(seeds=1, epochs=2, baseline={**BASELINE, "diagnostics": True})


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return driven(STUDY, tmp_path_factory.mktemp("whole") / "run")


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "run"))


def files(run: Path) -> dict[str, str | None]:
    """The digests of all that trials have left."""
    found = (file for folder in ("predictions", "artifacts", "checkpoints") for file in (run / folder).rglob("*.*"))
    return {file.relative_to(run).as_posix(): found_digest(file) for file in found if file.is_file()}


def numbers(run: Path) -> dict[str, str | None]:
    """Those of `files` that no time stands in."""
    return {name: digest for name, digest in files(run).items() if not name.endswith(("last.pt", "epochs.log"))}


def gone(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


FEW = ("predictions", "artifacts/TRIAL", "artifacts/TRIAL/diagnostics.parquet", "artifacts/TRIAL/epochs.log")
EVALUATED = (
    "predictions",
    "predictions/TRIAL.parquet",
    "artifacts",
    "artifacts/TRIAL",
    "artifacts/TRIAL/features.parquet",
    "artifacts/TRIAL/diagnostics.parquet",
    "artifacts/TRIAL/images",
    "artifacts/TRIAL/feature_maps/about.json",
    "artifacts/TRIAL/epochs.log",
)


def few(names: Iterable[str], of: Collection[str]) -> list[Any]:
    """Names as parameters, of which only these few are tried each time."""
    return [pytest.param(name, marks=[] if name in of else pytest.mark.matrix) for name in names]


@pytest.mark.parametrize("name", few(EVALUATED, FEW))
def test_what_a_model_can_give_is_evaluated_again(
    name: str, run: Path, whole: Path, drive: Drive, trained: list[int]
) -> None:
    trial = next(iter(ends(run)))
    gone(run / name.replace("TRIAL", trial))
    drive(STUDY, run)
    assert not trained
    assert files(run) == files(whole)
    if not name.endswith("epochs.log"):
        assert "evaluated again from its checkpoint" in drive.printed
    drive(STUDY, run)
    assert "lost" not in drive.printed


@pytest.mark.parametrize("damage", [gone, flipped])
def test_a_trial_without_its_model_is_trained_anew(
    damage: Callable[[Path], None], run: Path, whole: Path, drive: Drive, trained: list[int]
) -> None:
    trial = next(iter(ends(run)))
    damage(run / "checkpoints" / trial / "best.pt")
    drive(STUDY, run)
    assert "best.pt is" in drive.printed
    assert "1 trial: trained anew" in drive.printed
    assert trained == [1, 2]
    assert numbers(run) == numbers(whole)
    assert (epoch_rows(run), ends(run)) == (epoch_rows(whole), ends(whole))
    assert_equal_tables(run, whole)


@pytest.mark.parametrize("name", ["checkpoints", "artifacts/TRIAL/diagnostics.parquet and last.pt"])
def test_so_is_one_whose_last_state_alone_could_tell(name: str, run: Path, whole: Path, drive: Drive) -> None:
    trial = next(iter(ends(run)))
    if name == "checkpoints":
        gone(run / name)
    else:
        gone(run / "checkpoints" / trial / "last.pt")
        gone(run / "artifacts" / trial / "diagnostics.parquet")
    drive(STUDY, run)
    assert "trained anew" in drive.printed
    assert numbers(run) == numbers(whole)
    assert_equal_tables(run, whole)


def test_a_last_state_is_missed_by_none_and_said_once(run: Path, drive: Drive, trained: list[int]) -> None:
    trial = next(iter(ends(run)))
    flipped(run / "checkpoints" / trial / "last.pt")
    drive(STUDY, run)
    assert "nothing, but that more epochs would be trained anew" in drive.printed
    assert not trained
    assert not (run / "checkpoints" / trial / "last.pt").exists()
    drive(STUDY, run)
    assert "lost" not in drive.printed


def test_what_keep_has_removed_is_in_the_log_and_not_lost(run: Path, whole: Path, drive: Drive) -> None:
    drive(STUDY, run, keep="best")
    removed = [event for event in events(run) if event["event"] == "removed"]
    assert {event["trial"] for event in removed} == set(ends(whole))
    gone(run / "predictions")
    drive(STUDY, run)
    assert {name for name in files(whole) if not name.endswith("last.pt")} == set(files(run))
    assert "last.pt" not in drive.printed


def test_data_that_are_others_are_said_and_nothing_is_written(
    run: Path, drive: Drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone(run / "predictions")
    before = events(run)

    def other(*_: object) -> None:
        raise RuntimeError("the data changed")

    with monkeypatch.context() as patch:
        patch.setattr("engine.execution.made_again.dataset_of", other)
        drive(STUDY, run)
    assert "cannot be evaluated again: the data changed" in drive.printed
    assert not list((run / "predictions").glob("*"))
    assert [event["event"] for event in events(run)[len(before) :]] == ["session"]
    drive(STUDY, run)
    assert len(list((run / "predictions").glob("*"))) == 3


@pytest.mark.matrix
def test_of_a_search_that_stops_trials_a_lost_model_cannot_be_had_again(tmp_path: Path, drive: Drive) -> None:
    study = search(trial_scheduler=ASHA(), samples=4)
    run = drive(study, tmp_path / "run")
    stopped = ends(run)
    (run / "checkpoints" / next(iter(stopped)) / "best.pt").unlink()
    drive(study, run)
    assert "cannot be had again: a trial scheduler compared it" in drive.printed
    assert ends(run) == stopped
    drive(study, run)
    assert "lost" not in drive.printed


def test_of_a_run_without_digests_predictions_are_evaluated_again_and_models_not_asked_for(
    run: Path, whole: Path, drive: Drive, trained: list[int]
) -> None:
    kept = events(run)
    for event in kept:
        event.pop("outputs", None)
    (run / "log.jsonl").write_text("".join(json.dumps(event) + "\n" for event in kept))
    first, second, _ = ends(run)
    gone(run / "predictions")
    gone(run / "checkpoints" / second)
    drive(STUDY, run)
    assert not trained
    assert sorted(file.stem for file in (run / "predictions").iterdir()) == sorted(set(ends(run)) - {second})
    name = f"predictions/{first}.parquet"
    assert files(run)[name] == files(whole)[name]


@pytest.mark.parametrize("deleted", [False, True])
def test_a_run_that_is_moved_ends_and_goes_on_at_its_new_place(
    deleted: bool, tmp_path: Path, whole: Path, drive: Drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, train, count = tmp_path / "run", Learner.train_epoch, 0

    def moving(self: Learner, most: int | None = None) -> dict[str, float]:
        nonlocal count
        count += 1
        if count == 4:
            if deleted:
                shutil.rmtree(run)
            else:
                run.rename(tmp_path / "moved")
        return train(self, most)

    with monkeypatch.context() as patch:
        patch.setattr(Learner, "train_epoch", moving)
        with pytest.raises((Moved, OSError)) as raised:  # the driver of the tests has no process beside it
            drive(STUDY, run)
    assert "moved" in str(raised.value)
    assert not run.exists()
    if not deleted:
        drive(STUDY, tmp_path / "moved")
        assert_equal_tables(tmp_path / "moved", whole)
        assert numbers(tmp_path / "moved") == numbers(whole)


def test_the_log_says_where_its_folder_is_now(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    with RunLog(RunDirectory(folder)) as log:
        log.append(event="session")
        folder.rename(tmp_path / "other")
        with pytest.raises(Moved, match=f"was moved to {tmp_path / 'other'} while it ran") as raised:
            log.append(event="session")
        assert raised.value.place == tmp_path / "other"
        folder.mkdir()  # a folder of that name is not the same one
        with pytest.raises(Moved):
            log.append(event="session")
    assert len((tmp_path / "other" / "log.jsonl").read_text().splitlines()) == 1
