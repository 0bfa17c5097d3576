"""Galleries: the page's budget, landmarks drawn on faces, filters and feature maps."""

import base64
import io
import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from analysis.figures.cell_labels import featured_cells
from analysis.figures.feature_map_gallery import LARGEST, feature_map_galleries
from analysis.figures.gallery import Gallery, GalleryImage, within_budget
from analysis.figures.landmark_gallery import chosen, landmark_galleries, overlay, read_landmarks
from analysis.figures.thumbnails import Thumbnails
from analysis.records.run_directory import RunDirectory
from analysis.records.store import read_records
from analysis.report.build import write_report
from analysis.report.contents import Contents, galleries
from analysis.tables.ranking import ranking_table
from tests.analysis import outputs, runs

pytestmark = pytest.mark.usefixtures("undrawn")

FACES, SIDE = 30, 112
OUTCOMES = {"baseline": [0.5, 0.5], "loss=a": [0.8, 0.8]}


@pytest.fixture
def run(tmp_path):
    return runs.write_outcomes(tmp_path, runs.study(OUTCOMES, range(2)), OUTCOMES)


def asked(run):
    records = read_records(run)
    return records, RunDirectory(run), featured_cells(records, ranking_table(records))


# Budget


def gallery(name, sizes):
    images = tuple(GalleryImage(bytes([place]) * size, f"{place}", "") for place, size in enumerate(sizes))
    return Gallery(name, "pictures", name, "Shown.", images)


def test_the_address_of_a_picture_holds_its_bytes():
    image = GalleryImage(b"\x89PNG\xff", "", "")
    kind, _, text = image.uri.partition(",")
    assert kind == "data:image/png;base64"
    assert base64.b64decode(text) == b"\x89PNG\xff"
    assert image.characters == len(text)


def test_what_fits_is_left_as_it_is():
    made = [gallery("a", [30, 30]), gallery("b", [])]
    assert within_budget(made, 80) == made


def test_a_small_gallery_leaves_room_to_a_large_one_and_a_cut_is_said():
    small, large = gallery("small", [30]), gallery("large", [30] * 10)
    kept = within_budget([large, small], 240)
    assert [len(part.images) for part in kept] == [5, 1]
    assert kept[0].caption == "Shown. 5 of 10 pictures are left out, to keep this page small."
    assert kept[1].caption == "Shown."
    assert [image.label for image in kept[0].images] == ["0", "1", "2", "3", "4"]


@pytest.mark.parametrize("budget", [0, 39, 1000, 4000])
def test_no_page_holds_more_than_its_budget(budget):
    rng = np.random.default_rng(budget)
    made = [gallery(f"{i}", rng.integers(1, 60, rng.integers(0, 30)).tolist()) for i in range(8)]
    kept = within_budget(made, budget)
    assert sum(len(image.uri.partition(",")[2]) for part in kept for image in part.images) <= budget


# Landmarks


def faces(run, cell, seed, scale, kept=range(FACES)):
    """Faces whose prediction lies ever farther to the right of the truth: face i by i · scale / FACES pixels."""
    rng = np.random.default_rng(1)
    true = rng.uniform(30, 80, (FACES, 3, 2))
    error = scale * np.arange(FACES) / FACES
    found = true + np.stack([error, np.zeros(FACES)], axis=1)[:, None]
    outputs.landmarks(run, cell, seed, true, found)
    for index in kept:
        outputs.thumbnail(run, cell, seed, index, np.full((SIDE, SIDE), 90))
    return true, found, error


def landmarks(run):
    records, directory, featured = asked(run)
    return landmark_galleries(records, directory, Thumbnails(directory), featured)


def test_best_middling_and_worst_faces_are_shown_with_their_error(run):
    _, _, error = faces(run, "baseline", 0, 9.0)
    faces(run, "loss=a", 0, 3.0)
    made = landmarks(run)
    assert [part.title for part in made] == [
        "Landmarks of test faces: baseline",
        "Landmarks of test faces: loss=a (best)",
    ]
    labels = [image.label for image in made[0].images]
    assert [label.partition(",")[0] for label in labels] == ["best"] * 3 + ["median"] * 3 + ["worst"] * 3
    featured = [int(image.alt.split()[2]) for image in made[0].images]
    assert featured[:3] + featured[6:] == [0, 1, 2, 27, 28, 29]
    assert {14, 15} < set(featured[3:6]) < {13, 14, 15, 16}
    assert f"median error of all {FACES} test faces is {np.median(error):.2f} px" in made[0].caption
    assert labels[-1] == "worst, 8.70 px (loss=a 2.90 px)"


def test_of_faces_without_a_thumbnail_none_is_chosen_and_any_trial_of_the_cell_has_one(run):
    faces(run, "baseline", 0, 9.0, kept=[5])
    outputs.thumbnail(run, "baseline", 1, 20, np.full((SIDE, SIDE), 90))
    assert [int(image.alt.split()[2]) for image in landmarks(run)[0].images] == [5, 20]


def test_every_face_is_chosen_once(run):
    faces(run, "baseline", 0, 9.0)
    read = read_landmarks(outputs.artifacts(run, "baseline", 0) / "landmarks.parquet")
    for available in ({0}, {0, 29}, {3, 4, 5, 6}, set(range(FACES))):
        named = chosen(read, available)
        assert set(named) <= available
        assert len(named) == min(9, len(available))


def test_truth_is_green_and_prediction_red_where_they_are(run, tmp_path):
    file = outputs.thumbnail(run, "baseline", 0, 0, np.full((SIDE, SIDE), 90))
    true, found = np.array([[30.0, 40.0]]), np.array([[80.0, 90.0]])
    pixels = np.asarray(Image.open(io.BytesIO(overlay(file, true, found))).convert("RGB")).astype(int)
    assert pixels.shape == (224, 224, 3)
    red, green, blue = pixels[..., 0], pixels[..., 1], pixels[..., 2]
    for colour, place in ((green - np.maximum(red, blue), true[0]), (red - np.maximum(green, blue), found[0])):
        rows, columns = np.nonzero(colour > 80)
        assert (columns.mean(), rows.mean()) == pytest.approx(tuple(2 * place), abs=1.5)
        assert np.hypot(columns - 2 * place[0], rows - 2 * place[1]).max() < 12


def test_landmarks_outside_the_face_are_drawn_beside_it(run):
    file = outputs.thumbnail(run, "baseline", 0, 0, np.full((SIDE, SIDE), 255))
    inside, outside = np.array([[50.0, 50.0]]), np.array([[-15.0, 50.0]])
    pixels = np.asarray(Image.open(io.BytesIO(overlay(file, inside, outside))).convert("RGB")).astype(int)
    red = np.nonzero(pixels[..., 0] - pixels[..., 1] > 80)
    scale = 224 / (SIDE + 2 * (15 + SIDE / 30))
    assert red[1].mean() == pytest.approx(scale * (SIDE / 30), abs=2)
    far = np.asarray(Image.open(io.BytesIO(overlay(file, inside, np.array([[-5000.0, 50.0]])))))
    assert far.shape[:2] == (224, 224)


def test_where_no_thumbnail_was_kept_a_sentence_says_so(run):
    faces(run, "baseline", 0, 9.0, kept=[])
    [only] = landmarks(run)
    assert only.images == ()
    assert "kept no thumbnails" in only.caption
    assert only.caption in write_report(run).read_text(encoding="utf-8")


def test_without_landmarks_there_is_no_gallery_and_torn_files_are_passed_over(run):
    assert landmarks(run) == []
    path = outputs.artifacts(run, "baseline", 0) / "landmarks.parquet"
    path.write_bytes(b"torn")
    assert landmarks(run) == []
    pd.DataFrame({"index": [0], "true_x0": [1.0]}).to_parquet(path)
    assert landmarks(run) == []


def test_faces_whose_landmarks_are_not_finite_are_left_out(run):
    true = np.full((3, 2, 2), 20.0)
    found = true + 1
    found[1, 0, 0] = np.nan
    outputs.landmarks(run, "baseline", 0, true, found)
    read = read_landmarks(outputs.artifacts(run, "baseline", 0) / "landmarks.parquet")
    assert read.index.tolist() == [0, 2]
    assert read.error == pytest.approx([2**0.5] * 2)


# Feature maps


def maps(run, cell, seed, about=True, side=60):
    folder = outputs.artifacts(run, cell, seed) / "feature_maps"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in ("00_input", "01_conv1", "02_layer1.0", "filters"):
        (folder / f"{name}.png").write_bytes(outputs.png(rng.integers(0, 255, (side, side))))
    stages = [
        {"file": "01_conv1.png", "layer": "conv1", "channels": 64, "drawn": 64, "height": 8, "width": 9, "constant": 0}
    ]
    stages += [
        {
            "file": "02_layer1.0.png",
            "layer": "layer1.0",
            "channels": 80,
            "drawn": 64,
            "height": 4,
            "width": 4,
            "constant": 3,
        }
    ]
    if about:
        facts = {"picture": "a.jpg", "split": "test", "index": 0, "class": "cat", "stages": stages}
        (folder / "about.json").write_text(json.dumps(facts))
    return folder


def test_filters_and_maps_of_every_stage_are_shown_for_both_cells(run):
    maps(run, "baseline", 0)
    maps(run, "loss=a", 1, about=False)
    made = {part.name: part for part in feature_map_galleries(*asked(run))}
    assert list(made) == ["filters", "feature_maps_1", "feature_maps_2"]
    assert [image.label for image in made["filters"].images] == ["baseline", "loss=a (best)"]
    assert [image.label for image in made["feature_maps_1"].images] == [
        "input",
        "conv1: 64 maps, 8 × 9",
        "layer1.0: 64 of 80 maps, 4 × 4, 3 constant",
    ]
    assert made["feature_maps_1"].caption.startswith("a.jpg (test, class cat) in each stage")
    assert [image.label for image in made["feature_maps_2"].images] == ["input", "conv1", "layer1.0"]


def test_large_grids_are_reduced_and_unreadable_ones_passed_over(run):
    folder = maps(run, "baseline", 0, side=900)
    (folder / "01_conv1.png").write_bytes(b"torn")
    (folder / "filters.png").unlink()
    (folder / "about.json").write_text("[")
    [made] = feature_map_galleries(*asked(run))
    assert [image.label for image in made.images] == ["input", "layer1.0"]
    assert all(max(Image.open(io.BytesIO(image.png)).size) == LARGEST for image in made.images)


def test_without_feature_maps_there_is_no_gallery(run):
    assert feature_map_galleries(*asked(run)) == []


# All of them


@pytest.mark.parametrize("outcomes", [{"baseline": ["running"], "loss=a": ["failed"]}, {"baseline": []}])
def test_a_run_without_a_finished_trial_has_no_pictures(tmp_path, outcomes):
    run = runs.write_outcomes(tmp_path, runs.study(outcomes, range(1)), outcomes)
    records, directory, featured = asked(run)
    assert list(featured) == (["baseline"] if len(outcomes) > 1 else [])
    made = Contents(records, directory)
    assert not {"projections", "diagnostics"} & set(made.tables)
    assert not [figure for figure in made.figures if figure.section == "pictures"]
    assert galleries(records, directory, {}, featured) == []


def test_a_search_shows_the_pictures_of_its_best_cell(tmp_path):
    run = runs.write_outcomes(tmp_path, runs.search(), {"c0": [0.5], "c1": [0.9]})
    for cell in ("c0", "c1"):
        faces(run, cell, 0, 9.0)
        maps(run, cell, 0)
    records, directory, featured = asked(run)
    made = galleries(records, directory, {}, featured)
    assert [part.title for part in made] == [
        "Landmarks of test faces: c1 (best)",
        "First-layer filters",
        "Feature maps: c1 (best)",
    ]
    text = write_report(run).read_text(encoding="utf-8")
    assert text.count("data:image/png;base64,") == sum(len(part.images) for part in made) == 13


def test_of_many_trials_those_shown_are_read_alone(tmp_path, monkeypatch):
    outcomes = {f"loss={i}": [0.5, 0.5] for i in range(60)}
    run = runs.write_outcomes(tmp_path, runs.search(seeds=range(2)), outcomes)
    for cell in outcomes:
        for seed in range(2):
            faces(run, cell, seed, 9.0, kept=[0])
    read = []
    monkeypatch.setattr(pd, "read_parquet", lambda path, **options: read.append(path) or pd.DataFrame())
    records, directory, featured = asked(run)
    assert galleries(records, directory, {}, featured) == []
    assert len(read) == 1


def test_galleries_are_the_same_for_the_same_files(run):
    faces(run, "baseline", 0, 9.0)
    maps(run, "baseline", 0, side=700)
    records, directory, featured = asked(run)
    assert galleries(records, directory, {}, featured) == galleries(records, directory, {}, featured)
