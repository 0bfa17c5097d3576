"""Faces cut from photos on disk: boxes, landmarks, non-faces, backgrounds, context, splits by photo and person."""

import os
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from datasets.base import central_crop
from datasets.cache.cache import prepare
from datasets.faces.boxes import MAX_IOU
from datasets.faces.dataset import Faces
from datasets.sources import image_decoding
from tests.datasets.faces.face_cases import LANDMARKS, brute_force_iou, faults_of, opened, rows_of
from tests.datasets.makers import FLIP_PAIRS, dots, make_faces


def test_the_source_s_example_comes_out_exactly(one: Path, cache_dir: Path) -> None:
    (row,) = (row for row in rows_of(one) if row.file == "photos/0.png" and row.label == 1)
    assert row.box == (136, 193, 238, 294)
    assert row.points == ((25.97, 25.48), (64, 47))
    assert row.path == "photos/0.png@136,193,238,294"
    for part in opened(one, cache_dir).splits.values():
        assert part.points is not None
        assert part.aspects is not None
        face = part.labels == 1
        scaled = np.array([[25.97, 25.48], [64, 47]]) * (112 / 102, 112 / 101)
        assert np.abs(part.points[face] - scaled).max() < 1e-4
        assert np.isnan(part.points[~face]).all()
        assert part.aspects == pytest.approx(np.full(len(part), 102 / 101))


def test_a_crop_is_the_box_of_the_photo(one: Path, cache_dir: Path) -> None:
    seen = 0
    for part in opened(one, cache_dir).splits.values():
        for image, path in zip(part.images, part.paths, strict=True):
            name, box = path.split("@")
            with Image.open(one / "faces" / name) as photo:
                corners = [int(value) for value in box.split(",")]
                expected = np.asarray(photo.resize((112, 112), Image.Resampling.BILINEAR, box=corners))
            seen += np.array_equal(image[0], expected)
    assert seen == 80


def test_landmarks_lie_on_their_dots(made: Path, cache_dir: Path) -> None:
    data = opened(made, cache_dir, faces_only=True)
    assert data.info.n_points == 5
    for part in data.splits.values():
        assert part.points is not None
        for image, points in zip(part.images, part.points, strict=True):
            spots = dots((112, 112), points)
            assert (image[0] * spots).sum() / spots.sum() < 110  # the oval around them is 200
            assert image[0][56, 40] > 180


def test_classes_counts_and_shapes(made: Path, cache_dir: Path) -> None:
    info = opened(made, cache_dir, flip_pairs=FLIP_PAIRS).info
    assert info.classes == ("non-face", "face")
    assert info.image_shape == info.input_shape == (1, 112, 112)
    assert info.flip_pairs == FLIP_PAIRS
    assert sum(n[1] for n in info.counts.values()) == 75
    assert opened(made, cache_dir, channels=3).info.image_shape == (3, 112, 112)


def test_non_faces_keep_to_the_rules(made: Path) -> None:
    rows = rows_of(made)
    labels = [line for file in (made / "faces").rglob("label.txt") for line in labelled(file, made / "faces")]
    widened = {(row.file, row.box) for row in rows if row.label == 1}
    sizes = Counter((row.file, row.box[2] - row.box[0], row.box[3] - row.box[1]) for row in rows if row.label == 0)
    for row in rows:
        if row.label == 0:
            for photo, box in [*labels, *widened]:
                assert photo != row.file or brute_force_iou(row.box, box) < MAX_IOU
            assert min(row.box) >= 0
            assert row.box[2] <= 200
            assert row.box[3] <= 160
    for photo, box in widened:
        assert sizes[photo, box[2] - box[0], box[3] - box[1]] == 3


def labelled(file: Path, root: Path) -> list[tuple[str, tuple[float, ...]]]:
    folder = file.parent.relative_to(root)
    lines = [line.split() for line in file.read_text().splitlines()]
    return [((folder / name).as_posix(), tuple(map(float, values[:4]))) for name, *values in lines]


def test_a_photo_s_rows_share_its_split_and_its_decoding(
    made: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[Path] = []
    decode = image_decoding.decode_photo

    def noted(file: Path, channels: int) -> Any:
        decoded.append(file)
        return decode(file, channels)

    monkeypatch.setattr(image_decoding, "decode_photo", noted)
    data = opened(made, cache_dir)
    of_split = [{path.split("@")[0] for path in part.paths} for part in data.splits.values()]
    assert sum(map(len, of_split)) == len(set.union(*of_split)) == 60
    assert len(decoded) == len(set(decoded)) == 60


def test_persons_never_mix_and_a_name_without_one_is_a_fault(made: Path, tmp_path: Path, cache_dir: Path) -> None:
    for seed in range(3):
        splits: dict[str, set[str]] = {}
        for row in rows_of(made, group_regex=r"^(\d{5})", split_seed=seed):
            splits.setdefault(Path(row.file).name[:5], set()).add(row.split)
        assert len(splits) == 20
        assert all(len(own) == 1 for own in splits.values())
        assert {split for own in splits.values() for split in own} == {"train", "val", "test"}
    whole = {row.path: row.split for row in rows_of(made, group_regex=r"^\d{5}")}
    assert whole == {row.path: row.split for row in rows_of(made, group_regex=r"^(\d{5})")}
    faults = faults_of(made, cache_dir, group_regex="^(1|00000)")
    assert len(faults) >= 57
    assert any("label.txt:2: dataset.group_regex = '^(1|00000)' finds nothing in '00001" in fault for fault in faults)


def test_a_new_photo_changes_no_other(made: Path, tmp_path: Path) -> None:
    more = tmp_path / "more"
    shutil.copytree(made, more)
    photos = more / "faces" / "photos"
    shutil.copy(photos / "00000a.png", photos / "0.png")
    text = (photos / "label.txt").read_text()
    (photos / "label.txt").write_text("0.png 40 30 70 70 50 50 60 50 55 60 50 65 60 65\n" + text)
    assert {row for row in rows_of(more) if row.file != "photos/0.png"} == set(rows_of(made))


def test_backgrounds_fill_what_a_photo_has_no_room_for(tmp_path: Path) -> None:
    root = make_faces(tmp_path / "a", photos=24, backgrounds=30, size=(60, 60))
    photos = root / "faces" / "photos"
    for label in photos.rglob("label.txt"):
        lines = [line.split() for line in label.read_text().splitlines()]
        label.write_text("".join(f"{name} 2 2 58 58 {' '.join(points[4:])}\n" for name, *points in lines))
    rows = rows_of(root)
    from_backgrounds = [row for row in rows if row.file.startswith("backgrounds/")]
    n_faces = sum(row.label for row in rows)
    assert len(from_backgrounds) == len(rows) - n_faces == 3 * n_faces
    assert all(row.box == (0, 0, 60, 60) for row in from_backgrounds)
    splits: dict[str, set[str]] = {}
    for row in rows:
        splits.setdefault(row.file, set()).add(row.split)
    assert all(len(own) == 1 for own in splits.values())
    before = {row.path: row for row in rows}
    Image.new("L", (60, 60)).save(root / "faces" / "backgrounds" / "new.png")
    after = {row.path: row for row in rows_of(root)}
    assert sum(path in before for path in after) > len(before) / 2
    shutil.rmtree(root / "faces" / "backgrounds")
    source = Faces().source(root)
    assert {row.label for row in source.rows} == {1}
    assert any("no non-faces to train on" in fault for fault in source.faults)
    assert not Faces(faces_only=True).source(root).faults


def test_fills_of_one_face_differ_until_nothing_is_left(tmp_path: Path) -> None:
    root = make_faces(tmp_path, photos=40, backgrounds=0, size=(60, 60))
    label = "".join(f"{i}.png 12 12 47 47 20 20\n" for i in range(30))
    shutil.rmtree(root / "faces" / "photos")
    (root / "faces" / "photos").mkdir()
    (root / "faces" / "photos" / "label.txt").write_text(label)
    for i in range(30):
        Image.new("L", (60, 60)).save(root / "faces" / "photos" / f"{i}.png")
    (root / "faces" / "backgrounds").mkdir()
    for i in range(8):
        Image.new("L", (53, 53)).save(root / "faces" / "backgrounds" / f"{i}.png")
    rows = [row for row in rows_of(root, negatives=100) if row.label == 0 and row.split == "train"]
    n_faces = sum(row.label for row in rows_of(root) if row.split == "train")
    n_walls = len({row.file for row in rows if row.file.startswith("backgrounds/")})
    assert len([row for row in rows if row.file.startswith("backgrounds/")]) == n_faces * n_walls


def test_context_is_photo_and_its_centre_is_the_crop(made: Path, cache_dir: Path) -> None:
    plain = opened(made, cache_dir, faces_only=True)
    wide = opened(made, cache_dir, faces_only=True, context=1.5)
    odd = opened(made, cache_dir, faces_only=True, context=1.125, image_size=120)
    assert wide.info.image_shape == (1, 168, 168)
    assert wide.info.input_shape == plain.info.image_shape == (1, 112, 112)
    assert (odd.info.image_shape, odd.info.crop) == ((1, 135, 135), 120)
    assert wide.info.mean == pytest.approx(plain.info.mean, abs=1e-3)
    for split, part in wide.splits.items():
        assert list(part.paths) == list(plain.splits[split].paths)
        difference = central_crop(part.images, 112).astype(int) - plain.splits[split].images
        assert np.abs(difference).max() <= 1
        assert np.array_equal(part.points, plain.splits[split].points)  # type: ignore[arg-type]


def test_outside_the_photo_the_edge_repeats(one: Path, cache_dir: Path) -> None:
    label = one / "faces" / "photos" / "label.txt"
    label.write_text(label.read_text().replace("153 210 221 277", "0 0 640 480"))
    Image.new("L", (640, 480), 77).save(one / "faces" / "photos" / "0.png")
    data = opened(one, cache_dir, faces_only=True, context=2.0)
    images = {
        path[:12]: image for part in data.splits.values() for image, path in zip(part.images, part.paths, strict=True)
    }
    assert (images["photos/0.png"] == 77).all()
    other = images["photos/1.png"][0]
    assert (other[:55] == other[:1]).all()
    assert (other[:, 170:] == other[:, -1:]).all()


@pytest.mark.parametrize("landmarks", [1, 2, 21])
def test_any_number_of_landmarks(landmarks: int, tmp_path: Path, cache_dir: Path) -> None:
    root = make_faces(tmp_path / "data", photos=30, landmarks=landmarks)
    assert opened(root, cache_dir, image_size=16).info.n_points == landmarks


def test_a_box_at_the_edge_is_clipped_and_counted(one: Path, cache_dir: Path) -> None:
    label = one / "faces" / "photos" / "label.txt"
    label.write_text(label.read_text().replace("0.png 153 210 221 277", "0.png -8 210 60 277", 1))
    prepared = prepare(Faces(), one, cache_dir)
    assert prepared.counts["boxes_beyond"] == 1
    assert "1 boxes reach beyond the edge of their photo and are clipped" in prepared.notes
    (row,) = (row for row in rows_of(one) if row.file == "photos/0.png" and row.label)
    assert row.box == (0, 193, 77, 294)


def test_the_user_s_links_are_followed_and_the_same_face_twice_is_two_rows(one: Path, tmp_path: Path) -> None:
    (one / "faces" / "photos").rename(tmp_path / "elsewhere")
    (one / "faces" / "photos").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "loop").symlink_to(tmp_path / "elsewhere")
    label = tmp_path / "elsewhere" / "label.txt"
    label.write_text(label.read_text() + f"0.png 153 210 221 277{LANDMARKS}\n")
    paths = [row.path for row in rows_of(one) if row.label and row.file == "photos/0.png"]
    assert paths == ["photos/0.png@136,193,238,294", "photos/0.png@136,193,238,294 (2)"]


def test_a_photo_on_its_side_is_measured_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("L", (40, 20)).save(tmp_path / "a.jpg", exif=exif)
    assert image_decoding.photo_size(tmp_path / "a.jpg") == (20, 40)
    assert image_decoding.decode_photo(tmp_path / "a.jpg", 1).shape == (40, 20)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("context", 0.9),
        ("group_regex", "("),
        ("negatives", -1),
        ("flip_pairs", [[0, 1], [1, 2]]),
        ("flip_pairs", [[-1, 1]]),
        ("eval_rotation", 181.0),
        ("channels", 2),
        ("image_size", 0),
        ("widen", -0.1),
    ],
)
def test_settings_outside_their_domain_are_refused(setting: str, value: object) -> None:
    with pytest.raises(ValidationError, match=setting):
        Faces.model_validate({setting: value})


def test_a_pair_beyond_the_landmarks_is_a_fault(made: Path, cache_dir: Path) -> None:
    (fault,) = faults_of(made, cache_dir, flip_pairs=[[0, 1], [2, 5]])
    assert fault == "dataset.flip_pairs: no landmark 5, there are 5 (from 0)"


def test_the_evaluation_s_rotation_decodes_nothing_again(made: Path, cache_dir: Path) -> None:
    first = prepare(Faces(), made, cache_dir)
    assert prepare(Faces(eval_rotation=30.0), made, cache_dir).path == first.path


@pytest.mark.skipif("TEST_DATA_ROOT" not in os.environ, reason="TEST_DATA_ROOT names no folder with real photos")
def test_real_faces_fill_their_photos_and_take_their_non_faces_from_backgrounds(cache_dir: Path) -> None:
    settings = Faces(group_regex=r"^\d{5}")
    prepared = prepare(settings, Path(os.environ["TEST_DATA_ROOT"]), cache_dir)
    assert prepared.counts["faces"] == prepared.counts["faces_short"] == 173
    assert prepared.counts["from_backgrounds"] == prepared.counts["non_faces"] == 519
    assert prepared.counts["photos_mixed"] == 0
    assert prepared.info.n_points == 2


def test_backgrounds_of_other_formats_are_counted(tmp_path: Path, cache_dir: Path) -> None:
    root = make_faces(tmp_path / "data", photos=30)
    before = prepare(Faces(), root, cache_dir)
    for name in ("wall.webp", "notes.txt"):
        (root / "faces" / "backgrounds" / name).write_bytes(b"")
    after = prepare(Faces(), root, cache_dir)
    assert after.info == before.info
    assert (before.counts["backgrounds_left_out"], after.counts["backgrounds_left_out"]) == (0, 2)
    assert any("2 files in backgrounds/ are not read, as they do not end in .jpg" in note for note in after.notes)
