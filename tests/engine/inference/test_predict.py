"""`predict` gives what the trial's own predictions hold, of the same pictures, and refuses what is no picture."""

import csv
import io
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from core.errors import PlanError
from datasets.cache.cache import open_dataset
from engine.inference.named_images import Asked, Prediction
from engine.inference.predict import predict_all
from engine.inference.prediction_images import draw_all
from engine.inference.trained_model import Evaluated, Loader
from engine.planning.plan import make_plan
from engine.planning.run_options import Options
from search_spaces.factors import Factor
from search_spaces.study import AblationStudy
from tests.conftest import Cli
from tests.datasets.makers import make_animals, make_faces
from tests.engine.sequential import Drive
from tests.trainables.small_trials import small_learner
from trainables.trial import checkpoint_file

SMALL = {"dataset.image_size": 24, "model.channels": [4, 8], "model.hidden": 16, "training.batch_size": 16}
RATE = Factor.of("rate", {"0.001": {"optimizer.lr": 0.001}, "0.1": {"optimizer.lr": 0.1}})
LANDMARKS = {"optimizer.lr": 0.001, "training.batch_size": 16, "dataset.context": 1.25, "augmentation.rotation": 5.0}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data and finished runs of three tasks, to be read only: `folder`, `landmarks` and `faces`."""
    import engine.execution.launch

    root, drive = tmp_path_factory.mktemp("predict"), Drive()
    make_animals(root / "data")
    make_faces(root / "data", photos=30)
    studies: dict[str, tuple[str, dict[str, Any]]] = {
        "folder": ("folder", {"dataset.path": str(root / "data" / "animals"), **SMALL}),
        "landmarks": ("landmarks", LANDMARKS),
        "faces": ("faces", {"optimizer.lr": 0.001, "training.batch_size": 16}),
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine.execution.launch, "carry_out", drive.carry_out)
        for name, (workload, baseline) in studies.items():
            epochs, seeds = (3, 2) if name == "folder" else (1, 1)
            study = AblationStudy(
                name=name,
                workload=workload,
                design="one_at_a_time",
                epochs=epochs,
                seeds=seeds,
                factors=(RATE,),
                baseline=baseline,
                metric="test_error_px" if name == "landmarks" else "test_accuracy",
            )
            options = {"settings": {"optimizer.name": "adam"}} if name == "folder" else {}
            drive(study, root / name, data_root=str(root / "data"), **options)
    return root


def finished(run: Path) -> list[str]:
    return sorted(file.stem for file in (run / "predictions").iterdir())


def test_split(run: Path, trial: str) -> Any:
    """The test examples of a trial, as its data set holds them."""
    loader = Loader(run)
    config = loader.load(trial).config
    return open_dataset(config.dataset, loader.factory.data(config).path).splits["test"]


test_split.__test__ = False  # type: ignore[attr-defined]


def predicted(run: Path, trial: str, names: list[str], tmp_path: Path) -> pd.DataFrame:
    list(predict_all(Loader(run), trial, names, tmp_path / "found.csv", None))
    return pd.read_csv(tmp_path / "found.csv")


@pytest.mark.parametrize("which", [0, -1])
def test_the_test_set_s_own_files_get_the_recorded_scores(runs: Path, tmp_path: Path, which: int) -> None:
    run = runs / "folder"
    trial = finished(run)[which]
    recorded = pd.read_parquet(run / "predictions" / f"{trial}.parquet")
    names = [str(runs / "data" / "animals" / path) for path in test_split(run, trial).paths]
    found = predicted(run, trial, names, tmp_path)
    classes = ["cat", "dog", "emu"]
    assert found.columns.tolist() == ["file", "prediction", "score", *(f"score_{name}" for name in classes)]
    assert found["file"].tolist() == names
    scores = recorded[[f"score_{i}" for i in range(3)]].to_numpy()
    np.testing.assert_allclose(found[[f"score_{name}" for name in classes]], scores, atol=1e-5)
    assert found["prediction"].tolist() == [classes[i] for i in recorded["prediction"]]
    np.testing.assert_allclose(found["score"], scores.max(axis=1), atol=1e-5)


@pytest.mark.parametrize("task", ["landmarks", "faces"])
def test_crops_get_the_recorded_landmarks_in_pixels_of_their_photo(runs: Path, tmp_path: Path, task: str) -> None:
    run = runs / task
    trial = finished(run)[0]
    crops = test_split(run, trial).paths
    found = predicted(run, trial, [str(runs / "data" / "faces" / path) for path in crops], tmp_path)
    recorded = pd.read_parquet(run / "artifacts" / trial / "landmarks.parquet")
    for _, row in recorded.iterrows():
        left, top, right, bottom = map(float, crops[int(row["index"])].partition("@")[2].split(","))
        for i in range(5):
            ours = found.loc[int(row["index"]), [f"x{i + 1}", f"y{i + 1}"]].to_numpy(dtype=float)
            in_crop = (ours - (left, top)) * (112 / (right - left), 112 / (bottom - top))
            np.testing.assert_allclose(in_crop, (row[f"x{i}"], row[f"y{i}"]), rtol=1e-5, atol=1e-5)
    if task == "faces":
        scores = pd.read_parquet(run / "predictions" / f"{trial}.parquet")["score_1"]
        np.testing.assert_allclose(found["score_face"], scores, atol=1e-5)


def test_a_photo_without_a_box_is_taken_whole(runs: Path, tmp_path: Path) -> None:
    run, photo = runs / "landmarks", runs / "data" / "faces" / "photos" / "00000a.png"
    width, height = Image.open(photo).size
    trial = finished(run)[0]
    whole = predicted(run, trial, [str(photo)], tmp_path)
    boxed = predicted(run, trial, [f"{photo}@0,0,{width},{height}"], tmp_path)
    pd.testing.assert_frame_equal(whole.drop(columns="file"), boxed.drop(columns="file"))


def test_bf16_is_evaluated_as_it_was_in_training() -> None:
    learner = small_learner({"training.precision": "bf16"})
    images = torch.from_numpy(learner.data.splits["test"].images.numpy())
    recorded = learner.predictions("test")["scores"]
    with torch.no_grad():
        (ours,), (exact,) = (
            Evaluated(learner.network.eval(), learner.config, learner.info, exact)(images) for exact in (False, True)
        )
    torch.testing.assert_close(ours, recorded, atol=1e-6, rtol=0)
    assert (exact - recorded).abs().max() > 1e-5


@pytest.mark.parametrize("task", ["folder", "faces", "landmarks"])
def test_predictions_name_their_picture_and_its_classes(runs: Path, task: str) -> None:
    for trial in finished(runs / task):
        found = pd.read_parquet(runs / task / "predictions" / f"{trial}.parquet")
        paths = list(test_split(runs / task, trial).paths)
        assert found["image"].tolist() == [paths[i] for i in found["index"]]
        assert ("target_name" in found) == (task != "landmarks")
        classes = {"folder": ["cat", "dog", "emu"], "faces": ["non-face", "face"], "landmarks": []}[task]
        for kind in ("target", "prediction") if classes else ():
            assert found[f"{kind}_name"].tolist() == [classes[i] for i in found[kind]]
        if task == "folder":
            assert [path.split("/")[0] for path in found["image"]] == found["target_name"].tolist()


def test_a_folder_is_read_by_content_and_what_is_left_out_or_odd_is_told(runs: Path, tmp_path: Path) -> None:
    folder = tmp_path / "new"
    (folder / "deep").mkdir(parents=True)
    with Image.open(runs / "data" / "animals" / "cat" / "cat (1).png") as picture:
        for name in ("a.webp", "b.bmp", "deep/c.TIF", "d.gif"):
            picture.save(folder / name)
        picture.save(folder / "no extension", format="PNG")
    Image.fromarray(np.full((9, 9), 900, np.uint16)).save(folder / "e.png")
    for name in ("notes.txt", ".hidden.png", "deep/more.txt"):
        (folder / name).write_text("")
    trial = finished(runs / "folder")[0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        told = list(predict_all(Loader(runs / "folder"), trial, [str(folder)], tmp_path / "x.csv", tmp_path / "drawn"))
    assert "not read, as they are hidden: 1 (1 .hidden.png)" in told
    assert any("no JPEG, PNG, WebP, BMP, TIFF or GIF by their content: 2 (2 .txt)" in line for line in told)
    assert sum(f"{folder / 'e.png'}: stored with more than 8 bits" in line for line in told) == 1
    names = ["a.webp", "b.bmp", "d.gif", "deep/c.TIF", "e.png", "no extension"]
    assert pd.read_csv(tmp_path / "x.csv")["file"].tolist() == [str(folder / name) for name in names]


def test_folders_and_patterns_mean_the_pictures_below_them(runs: Path, tmp_path: Path) -> None:
    folder = tmp_path / "some"
    shutil.copytree(runs / "data" / "animals" / "cat", folder / "in" / "depth")
    (folder / "notes.txt").write_text("no picture")
    (folder / ".hidden.png").write_bytes(b"")
    trial = finished(runs / "folder")[0]
    whole = predicted(runs / "folder", trial, [str(folder)], tmp_path)
    assert whole["file"].tolist() == sorted(str(file) for file in (folder / "in" / "depth").iterdir())
    pattern = predicted(runs / "folder", trial, [str(folder / "*" / "*" / "*.png")], tmp_path)
    assert pattern["file"].tolist() == [name for name in whole["file"] if name.endswith(".png")]
    twice = predicted(runs / "folder", trial, [str(folder), str(folder)], tmp_path)
    pd.testing.assert_frame_equal(twice, whole)


def test_all_that_is_no_picture_is_refused_at_once_and_nothing_is_written(
    runs: Path, tmp_path: Path, cli_here: Cli
) -> None:
    good = runs / "data" / "animals" / "cat" / "cat (0).jpg"
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.jpg").write_text("not a picture")
    (tmp_path / "cut.jpg").write_bytes(good.read_bytes()[:400])
    (tmp_path / "none").mkdir()
    bad = [tmp_path / name for name in ("empty.png", "text.jpg", "cut.jpg", "absent.jpg", "none", "*.gif")]
    out = tmp_path / "found.csv"
    done = cli_here("predict", runs / "folder", good, *bad, f"{good}@1,1,5,5", "--out", out)
    assert done.returncode == 2
    faults = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    for path, reason in zip(
        bad, ("empty", "no picture format", "cut.jpg", "no such", "no pictures in", "no file"), strict=True
    ):
        assert sum(str(path) in line and reason in line for line in faults) == 1, path
    assert sum("takes whole pictures" in line for line in faults) == 1
    assert len(faults) == 7
    assert not out.exists()


def test_without_a_trial_the_best_cell_s_first_finished_one_predicts(runs: Path, tmp_path: Path, cli_here: Cli) -> None:
    from analysis.records.store import read_records

    trials = read_records(runs / "folder").trials
    means = trials.groupby("cell")["val_accuracy"].mean()
    best = trials.loc[(trials["cell"] == means.idxmax()) & (trials["seed"] == 0), "trial"].item()
    assert means.nunique() == 2
    picture = runs / "data" / "animals" / "dog" / "dog (1).png"
    default = cli_here("predict", runs / "folder", picture)
    assert default.returncode == 0
    assert f"trial {best}, " in default.stderr
    assert default.stdout == cli_here("predict", runs / "folder", picture, "--trial", best[:6]).stdout
    rows = list(csv.DictReader(io.StringIO(default.stdout)))
    assert [row["file"] for row in rows] == [str(picture)]


def test_an_unknown_trial_is_refused_with_the_nearest(runs: Path, cli_here: Cli) -> None:
    trial = finished(runs / "folder")[0]
    wrong = trial[:-1] + ("0" if trial[-1] != "0" else "1")
    done = cli_here("predict", runs / "folder", runs / "data" / "animals", "--trial", wrong)
    assert done.returncode == 2
    assert f"--trial {wrong}: is none of the 4 trials" in done.stderr
    assert trial in done.stderr.partition("nearest: ")[2]


def copied(runs: Path, tmp_path: Path, name: str = "folder") -> Path:
    shutil.copytree(runs / name, tmp_path / "run")
    return tmp_path / "run"


def test_a_damaged_model_is_refused(runs: Path, tmp_path: Path) -> None:
    run = copied(runs, tmp_path)
    trial = finished(run)[0]
    file = run / "checkpoints" / trial / "best.pt"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(PlanError, match=r"best.pt is absent or damaged"):
        Loader(run).load(trial)


def test_the_run_alone_suffices_without_the_data(runs: Path, tmp_path: Path) -> None:
    run, trial = copied(runs, tmp_path), finished(runs / "folder")[0]
    picture = str(shutil.copy(runs / "data" / "animals" / "cat" / "cat (1).png", tmp_path / "new.png"))
    before = predicted(run, trial, [picture], tmp_path)
    study = run / "study.json"
    study.write_text(study.read_text().replace(str(runs / "data"), str(tmp_path / "gone")))
    pd.testing.assert_frame_equal(predicted(run, trial, [picture], tmp_path), before)


def test_a_model_saved_without_its_data_s_facts_takes_them_from_the_data(runs: Path, tmp_path: Path) -> None:
    run, trial = copied(runs, tmp_path), finished(runs / "folder")[0]
    file = run / "checkpoints" / trial / "best.pt"
    state = checkpoint_file.load(file)
    assert state is not None
    with_facts = Loader(run).load(trial).info
    del state["data"]
    checkpoint_file.save(state, file)
    assert Loader(run).load(trial).info == with_facts


def test_landmarks_are_drawn_in_red_where_they_were_predicted(runs: Path, tmp_path: Path) -> None:
    photo = runs / "data" / "faces" / "photos" / "00000a.png"
    points = np.array([[50.0, 60.0], [150.5, 99.5]])
    (file,) = draw_all([Prediction(Asked("a", photo, (10, 20, 110, 140)), None, points)], (), tmp_path)
    picture = np.asarray(Image.open(file))
    assert picture.shape == (160 * 2, 200 * 2, 3)
    for x, y in points:
        assert picture[round(2 * y), round(2 * x)].tolist() == [255, 32, 32]
    assert picture[40, 60].tolist() == [255, 32, 32]  # the upper edge of the box, at y = 20


def test_the_command_draws_a_photo_with_the_landmarks_of_its_face(runs: Path, tmp_path: Path) -> None:
    photo = runs / "data" / "faces" / "photos" / "00000a.png"
    run = runs / "landmarks"
    asked = [f"{photo}@10,20,110,140"]
    told = list(predict_all(Loader(run), finished(run)[0], asked, tmp_path / "a.csv", tmp_path / "drawn"))
    assert "drawn: 1 picture" in told[-1]
    assert Image.open(tmp_path / "drawn" / "00000a-predicted.png").size == (400, 320)
    assert {"x1", "y1", "x5", "y5"} <= set(pd.read_csv(tmp_path / "a.csv"))


def test_classes_are_written_below_and_files_of_one_name_kept_apart(runs: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        shutil.copy(runs / "data" / "animals" / "cat" / "cat (1).png", tmp_path / name / "same.png")
    run = runs / "folder"
    told = predict_all(
        Loader(run), finished(run)[0], [f"{tmp_path}/*/same.png"], tmp_path / "x.csv", tmp_path / "drawn"
    )
    assert "drawn: 2 pictures" in list(told)[-1]
    files = sorted((tmp_path / "drawn").iterdir())
    assert [file.name for file in files] == ["same-2-predicted.png", "same-predicted.png"]
    shutil.copy(tmp_path / "a" / "same.png", tmp_path / "a" / "same-2.png")
    asked = [f"{tmp_path}/*/same.png", f"{tmp_path}/a/same-2.png"]
    list(predict_all(Loader(run), finished(run)[0], asked, tmp_path / "y.csv", tmp_path / "three"))
    assert len(list((tmp_path / "three").iterdir())) == 3
    picture = Image.open(files[0])
    strip = np.asarray(picture)[-22:]
    assert (strip == 255).mean() > 0.5
    assert (strip < 100).any()


def test_the_plan_that_a_loader_makes_is_the_run_s_own(runs: Path) -> None:
    loader = Loader(runs / "folder")
    study, options = loader.factory.study, loader.factory.options
    keys = {spec.trial for spec in make_plan(study, Options.model_validate(options.model_dump()), runs / "x").trials}
    assert keys == set(finished(runs / "folder"))
