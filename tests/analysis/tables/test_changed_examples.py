"""Test examples gained and lost, against counting them one by one; and their thumbnails."""

import io
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from analysis.figures.changed_gallery import MAXIMUM_IMAGES, changed_galleries
from analysis.figures.thumbnails import Thumbnails, read_thumbnail
from analysis.records.run_directory import RunDirectory
from analysis.records.store import read_records
from analysis.report.build import write_report
from analysis.tables import gained_and_lost
from analysis.tables.gained_and_lost import MAXIMUM_EXAMPLES, why_and_changed
from tests.analysis import outputs, runs
from tests.analysis.outputs import ACCURACY, CLASSES

pytestmark = pytest.mark.usefixtures("undrawn")

SEEDS, EXAMPLES = 4, 60


@pytest.fixture
def run(tmp_path):
    return outputs.compared(tmp_path, SEEDS)


@pytest.fixture
def predicted(run):
    """The run with predictions, the target, and predictions by (cell, seed)."""
    made = outputs.predict(run, SEEDS, EXAMPLES)
    predictions = {key: columns["prediction"] for key, columns in made.items()}
    return run, made["baseline", 0]["target"], predictions


def changed(run):
    return why_and_changed(read_records(run), RunDirectory(run))[1]


def galleries(run):
    return changed_galleries(read_records(run), changed(run), Thumbnails(RunDirectory(run)))


def test_examples_that_turn_more_often_than_they_turn_back_are_listed(predicted):
    run, target, made = predicted
    table = changed(run)
    assert list(table) == [
        *("factor", "level", "baseline_level", "index", "true", "turned", "seeds", "back", "n", "baseline_says"),
        "level_says",
    ]
    expected = []
    for index in range(EXAMPLES):
        moves = [(made["baseline", seed][index], made["loss=a", seed][index]) for seed in range(SEEDS)]
        gained = [move for move in moves if move[0] != target[index] and move[1] == target[index]]
        lost = [move for move in moves if move[0] == target[index] and move[1] != target[index]]
        if len(gained) == len(lost):
            continue
        turned, own, back = ("gained", gained, lost) if len(gained) > len(lost) else ("lost", lost, gained)
        expected.append((index, CLASSES[target[index]], turned, len(own), len(back), own))
    assert len(table) == len(expected) > 20
    rows = table.set_index("index")
    for index, true, turned, seeds, back, moves in expected:
        row = rows.loc[index]
        assert (row["true"], row["turned"], row["seeds"], row["back"], row["n"]) == (true, turned, seeds, back, SEEDS)
        for column, place in (("baseline_says", 0), ("level_says", 1)):
            votes = Counter(CLASSES[move[place]] for move in moves)
            assert votes[row[column]] == max(votes.values())
    for _, own in table.groupby("turned"):
        keys = list(zip(-own["seeds"], own["back"], own["index"], strict=True))
        assert keys == sorted(keys)
    assert (table["turned"] == "gained").any()
    assert (table["turned"] == "lost").any()


def test_what_turns_as_often_one_way_as_the_other_is_not_listed(run):
    for seed in range(SEEDS):
        before, after = ([0], [1]) if seed % 2 else ([1], [0])
        outputs.predictions(run, "baseline", seed, {"target": [0], "prediction": before})
        outputs.predictions(run, "loss=a", seed, {"target": [0], "prediction": after})
    assert changed(run).empty


def test_at_most_so_many_examples_either_way(run):
    for seed in range(SEEDS):
        outputs.predictions(run, "baseline", seed, {"target": np.zeros(300, int), "prediction": np.ones(300, int)})
        outputs.predictions(run, "loss=a", seed, {"target": np.zeros(300, int), "prediction": np.zeros(300, int)})
    assert changed(run)["index"].tolist() == list(range(MAXIMUM_EXAMPLES))


def test_each_file_of_predictions_is_read_once_for_both_tables(predicted, monkeypatch):
    run, _, _ = predicted
    read = []
    outcome = gained_and_lost.read_predictions
    monkeypatch.setattr(gained_and_lost, "read_predictions", lambda path: read.append(path.name) or outcome(path))
    table, turned = why_and_changed(read_records(run), RunDirectory(run))
    assert len(table)
    assert len(turned)
    assert sorted(read) == sorted(f"{runs.trial_id(cell, seed)}.parquet" for cell in ACCURACY for seed in range(SEEDS))


def test_pictures_gained_and_lost_are_shown_with_what_was_said(predicted):
    run, _, _ = predicted
    table = changed(run)
    for turned, index in zip(table["turned"], table["index"], strict=True):
        cell = "baseline" if turned == "gained" else "loss=a"
        outputs.thumbnail(run, cell, 2, index, np.full((8, 8), index))
    made = {gallery.title: gallery for gallery in galleries(run)}
    assert list(made) == ["loss = a: pictures gained", "loss = a: pictures lost"]
    for turned in ("gained", "lost"):
        gallery = made[f"loss = a: pictures {turned}"]
        own = table.loc[table["turned"] == turned].head(MAXIMUM_IMAGES)
        assert [image.label for image in gallery.images] == [
            f"{row['baseline_says']} → {row['level_says']}, {row['seeds']} of {SEEDS}" for _, row in own.iterrows()
        ]
        for image, index in zip(gallery.images, own["index"], strict=True):
            image = np.asarray(Image.open(io.BytesIO(image.png)))
            assert image.shape == (96, 96)
            assert set(image.ravel()) == {index}


def test_only_examples_with_a_thumbnail_are_shown_and_without_any_a_sentence_says_so(predicted):
    run, _, _ = predicted
    [alone] = galleries(run)
    assert alone.images == ()
    assert "no trial kept thumbnails" in alone.caption
    assert alone.caption in write_report(run).read_text(encoding="utf-8")
    index = int(changed(run).query("turned == 'lost'")["index"].iloc[-1])
    outputs.thumbnail(run, "loss=a", 0, index, np.zeros((8, 8)))
    [gallery] = galleries(run)
    assert [image.alt.split(" of ")[0] for image in gallery.images] == [f"test picture {index}"]


def test_a_torn_thumbnail_is_passed_over(predicted):
    run, _, _ = predicted
    indices = changed(run).query("turned == 'gained'")["index"].tolist()[:2]
    for index in indices:
        outputs.thumbnail(run, "baseline", 0, index, np.zeros((8, 8)))
    file = RunDirectory(run).artifacts / runs.trial_id("baseline", 0) / "images" / f"{indices[0]}.png"
    file.write_bytes(file.read_bytes()[:40])
    (file.parent / "notes.png").write_bytes(b"")
    [gallery] = galleries(run)
    assert len(gallery.images) == 1


@pytest.mark.parametrize(
    ("shape", "expected"), [((8, 8), 96), ((48, 40, 3), 96), ((224, 112, 3), 112), ((100, 90), 100)]
)
def test_thumbnails_are_of_a_size_to_be_seen(tmp_path, shape, expected):
    path = tmp_path / "0.png"
    path.write_bytes(outputs.png(np.random.default_rng(0).integers(0, 255, shape)))
    image = Image.open(io.BytesIO(read_thumbnail(path)))
    assert max(image.size) == expected
    assert image.mode == ("RGB" if len(shape) == 3 else "L")


def test_many_comparisons_show_the_first_and_name_the_others(tmp_path):
    outcomes = {"baseline": [0.5], **{f"loss={i}": [0.6] for i in range(9)}}
    run = runs.write_outcomes(tmp_path, runs.study(outcomes, range(1), data={"classes": CLASSES}), outcomes)
    for cell in outcomes:
        outputs.predictions(run, cell, 0, {"target": [0, 1], "prediction": [1, 1] if cell == "baseline" else [0, 0]})
        for index in range(2):
            outputs.thumbnail(run, cell, 0, index, np.zeros((8, 8)))
    made = galleries(run)
    assert [len(gallery.images) for gallery in made] == [1] * 12 + [0]
    assert made[-1].caption == "3 more comparisons are in changed.csv."
    assert len({gallery.name for gallery in made}) == 13


def test_a_search_and_landmarks_have_no_changed_examples(tmp_path):
    search = runs.write_outcomes(tmp_path / "s", runs.search(), {"c0": [0.5]})
    assert changed(search).empty
    run = outputs.compared(tmp_path / "l", SEEDS)
    for cell in ACCURACY:
        columns = {"true_x0": [1.0], "true_y0": [1.0], "x0": [2.0], "y0": [2.0]}
        outputs.predictions(run, cell, 0, columns)
    table, turned = why_and_changed(read_records(run), RunDirectory(run))
    assert len(table) == 1
    assert isinstance(turned, pd.DataFrame)
    assert turned.empty
    assert galleries(run) == []


def test_of_a_path_the_steps_come_first_and_headings_name_what_each_is_against(tmp_path):
    steps = ["0 default", *(f"{number} + factor" for number in range(1, 6))]
    pairs = [(at, before) for at in range(1, 6) for before in sorted({at - 1, 0}, reverse=True)]
    study = runs.study(steps, range(1), design="path", data={"classes": CLASSES})
    study["comparisons"] = [runs.comparison("path", steps[a], steps[b], steps[a], steps[b]) for a, b in pairs]
    run = runs.write_outcomes(tmp_path, study, {cell: [0.5] for cell in steps})
    for place, cell in enumerate(steps):
        said = (np.arange(6) + place) % 2  # every other one is right, and the other ones in the next step
        outputs.predictions(run, cell, 0, {"target": np.zeros(6, int), "prediction": said})
        for index in range(6):
            outputs.thumbnail(run, cell, 0, index, np.zeros((8, 8)))
    heads = [gallery.title.partition(":")[0] for gallery in galleries(run) if gallery.images]
    assert list(dict.fromkeys(heads))[:5] == [f"{steps[at]} against {steps[at - 1]}" for at in range(1, 6)]
    assert "3 + factor against 0 default" in heads
