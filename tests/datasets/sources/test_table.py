"""Labels in a table: read as they are written, split by group, every fault with its line."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from datasets.base import DataError, Source
from datasets.cache.cache import open_dataset, prepare
from datasets.sources.groups import SHOWN
from datasets.sources.table import Table
from tests.datasets.makers import make_table

CLASSES = ("cat", "dog")


def settings(**fields: Any) -> Table:
    return Table.model_validate({"image_size": 8, **fields})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with twenty pictures, `0.png` to `19.png`, no two alike."""
    folder = tmp_path / "root"
    folder.mkdir()
    for i in range(20):
        pixels = np.random.default_rng(i).integers(0, 256, (9, 12, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    return folder


def write(root: Path, rows: list[str] | None = None, header: str = "path,label", name: str = "labels.csv") -> Path:
    """The table of these rows, or of all twenty pictures in turn cat and dog; returns its folder."""
    rows = [f"{i}.png,{CLASSES[i % 2]}" for i in range(20)] if rows is None else rows
    (root / name).write_text("\n".join([header, *rows]) + "\n", encoding="utf-8", newline="")
    return root


def read(root: Path, **fields: Any) -> Source:
    source = settings(**fields).source(root)
    assert source.faults == ()
    return source


def faults_of(root: Path, **fields: Any) -> list[str]:
    """The faults that `prepare` tells, without the folder."""
    with pytest.raises(DataError) as error:
        prepare(settings(**fields), root, root.parent / "cache")
    return [fault.replace(f"{root}/", "") for fault in error.value.faults]


def labels(source: Source) -> dict[str, str]:
    return {row.path: source.classes[row.label] for row in source.rows}


PLAIN = {f"{i}.png": CLASSES[i % 2] for i in range(20)}
TEXTS = {
    "plain": "path,label\n" + "".join(f"{i}.png,{CLASSES[i % 2]}\n" for i in range(20)),
    "BOM and CRLF": "\ufeffPath,Label\r\n" + "".join(f"{i}.png,{CLASSES[i % 2]}\r\n" for i in range(20)),
    "old Mac": "path,label\r" + "".join(f"{i}.png,{CLASSES[i % 2]}\r" for i in range(20)),
    "semicolons": "path;label;share\n" + "".join(f"{i}.png;{CLASSES[i % 2]};0,5\n" for i in range(20)),
    "told by Excel": "sep=|\npath|label\n" + "".join(f"{i}.png|{CLASSES[i % 2]}\n" for i in range(20)),
    "tabs": "path\tlabel\n" + "".join(f"{i}.png\t{CLASSES[i % 2]}\n" for i in range(20)),
    "quotes": '"path","note, long","label"\n'
    + "".join(f'"./{i}.png","a ""quoted"", note\nof two lines","{CLASSES[i % 2]}"\n' for i in range(20)),
    "blanks": " path , label \n\n" + "".join(f"  {i}.png , {CLASSES[i % 2]} \n,\n" for i in range(20)),
    "backslashes": "path,label\n" + "".join(f".\\{i}.png,{CLASSES[i % 2]}\n" for i in range(20)),
    "no extensions": "image_id,target\n" + "".join(f"{i},{CLASSES[i % 2]}\n" for i in range(20)),
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_a_table_is_read_however_it_was_saved(text: str, root: Path) -> None:
    (root / "labels.csv").write_text(text, encoding="utf-8", newline="")
    assert labels(read(root)) == PLAIN


def test_every_format_holds_the_same_data(root: Path, tmp_path: Path) -> None:
    frame = pd.DataFrame({"path": list(PLAIN), "label": list(PLAIN.values()), "more": [[1]] * 20})
    frame.to_csv(root / "labels.csv", index=False)
    frame.to_csv(root / "labels.tsv", sep="\t")
    frame.astype({"label": "category"}).to_parquet(root / "labels.parquet")
    found = {
        prepare(settings(path=f"labels.{kind}"), root, tmp_path / "cache").info.fingerprint
        for kind in ("csv", "tsv", "parquet")
    }
    assert len(found) == 1


def test_numbers_of_a_parquet_file_are_classes_with_gaps_named_by_row(root: Path) -> None:
    frame = pd.DataFrame({"path": list(PLAIN), "label": [float(i % 11) for i in range(20)]})
    frame.to_parquet(root / "labels.parquet")
    assert settings(path="labels.parquet").source(root).classes == tuple(map(str, range(11)))
    frame.loc[3, "label"] = None
    frame.to_parquet(root / "labels.parquet")
    assert faults_of(root, path="labels.parquet")[0] == "labels.parquet: row 4: the label is empty (column label)"


@pytest.mark.parametrize(
    "names", [("NA", "None"), ("null", "nan"), ("01", "02"), ("true", "false"), ("1e", "0x10"), ("été", "日本")]
)
def test_labels_are_the_text_that_they_are(names: tuple[str, str], root: Path) -> None:
    source = read(write(root, [f"{i}.png,{names[i % 2]}" for i in range(20)]))
    assert set(source.classes) == set(names)
    told = [note for note in source.notes if "is a class like any other (10 pictures)" in note]
    assert len(told) == sum(name in ("NA", "None", "null", "nan") for name in names)


def test_whole_numbers_stand_in_their_order(root: Path) -> None:
    source = settings().source(write(root, [f"{i}.png,{i % 12 - 1}" for i in range(20)]))
    assert source.classes == tuple(map(str, range(-1, 11)))


def test_a_guess_is_told_and_a_setting_takes_another_column(root: Path) -> None:
    rows = [f"{i},{i}.png,{CLASSES[i % 2]},{i % 4},p{i // 2}" for i in range(20)]
    write(root, rows, "number,File Name,Class,fold,Patient-ID")
    told = read(root).facts["columns"]
    guessed = "path = File Name (guessed); label = Class (guessed); split = none; group = Patient-ID (guessed)"
    assert told == f"{guessed}; not read: number, fold"
    other = read(root, label_column="FOLD", group_column="none")
    assert other.classes == ("0", "1", "2", "3")
    assert other.facts["columns"].startswith("path = File Name (guessed); label = fold; split = none; group = none")


@pytest.mark.parametrize(
    ("header", "fields", "fault"),
    [
        (
            "path,image,label,x,y",
            {},
            "path and image may each be the column of the path; name one by dataset.path_column",
        ),
        (
            "path,label,target,x,y",
            {},
            "label and target may each be the column of the label; name one by dataset.label",
        ),
        ("path,label,patient,camera,x", {}, "patient and camera may each be the column of the group; name one by"),
        ("path,label,Label,x,y", {}, "the column 'label' stands 2 times; rename one"),
        (
            "path,label,x,y,z",
            {"label_column": "lable"},
            "no column 'lable' (dataset.label_column); allowed: path, label",
        ),
        ("path,label,x,y,z", {"group_column": "patient"}, "no column 'patient' (dataset.group_column); allowed: path"),
        ("path,label,x,y,z", {"label_column": "path"}, "column 'path' cannot be the path and the label"),
        ("a,b,c,d,e", {}, "no column has a usual name of a path column; name it by dataset.path_column: a, b, c, d, e"),
    ],
)
def test_a_column_that_cannot_be_told_is_named(header: str, fields: dict[str, Any], fault: str, root: Path) -> None:
    write(root, [f"{i}.png,cat,a,b,c" for i in range(3)], header)
    assert any(found.startswith(f"labels.csv:1: {fault}") for found in faults_of(root, **fields))


def test_every_fault_names_its_line_all_at_once(root: Path) -> None:
    rows = [f"{i}.png,{CLASSES[i % 2]},train" for i in range(20)]
    rows[2] = '"two\nlines.png",cat,train'  # and so every later record begins a line further down
    rows[4:8] = [",cat,train", "5.png,,train", "0.png,cat,train", "1.png,cat,train"]
    rows[8:11] = ["8.PNG,cat,train", "../root2/x.png,cat,train", "C:\\x\\10.png,dog,train"]
    rows[12] = "12.png,cat,fold 3"
    rows[13] = "13.png,dog"
    rows[14] = '14.png,"do\ng",train'
    rows[15] = "/nowhere/15.png,dog,"
    rows[16] = f"{'x' * 300}.png,cat,train"
    found = faults_of(write(root, rows, "path,label,split"))
    for fault in (
        "labels.csv:4: the path 'two\\nlines.png' holds a line break",
        "labels.csv:7: the path is empty (column path)",
        "labels.csv:8: the label is empty (column label)",
        "labels.csv:9: 0.png stands in labels.csv:2 already",
        "labels.csv:10: 1.png stands in labels.csv:3 already with the label 'dog', here with 'cat'",
        "labels.csv:11: no such picture: 8.PNG; there is 8.png",
        "labels.csv:12: '../root2/x.png' leaves the folder",
        "labels.csv:13: 'C:\\\\x\\\\10.png' is a Windows path",
        "labels.csv:15: unknown split 'fold 3'; allowed: train, training",
        "labels.csv:16: 2 columns, where the header (line 1) has 3",
        "labels.csv:17: the label 'do\\ng' holds a line break",
        "labels.csv:19: the split is empty (column split)",
        "labels.csv:19: no such picture: /nowhere/15.png",
        "labels.csv:20: 'xxxx",
    ):
        assert any(each.startswith(fault) for each in found), (fault, found)


def test_an_unreadable_picture_is_named_with_its_line(root: Path) -> None:
    (root / "7.png").write_text("no picture")
    (fault,) = faults_of(write(root))
    assert fault == "labels.csv:9: 7.png: cannot be decoded as a picture (no picture format in it)"


def test_of_many_faults_the_first_are_told_and_a_count(root: Path) -> None:
    found = faults_of(write(root, [f"photos/{i}.png,cat" for i in range(500)]))
    assert found[0] == "labels.csv:2: no such picture: photos/0.png"
    assert found[SHOWN] == f"and {500 - SHOWN} more of this kind"
    assert found[SHOWN + 1].startswith("none of the table's pictures is found from ")
    assert len(found) == SHOWN + 2


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "labels.csv: holds nothing; its first line names the columns"),
        (b"path,label\n", "labels.csv: holds no rows below its header"),
        (
            b"path,label\n0.png,cat\n1.png,\xe9t\xe9\n",
            "labels.csv:3: byte 0xE9 is no UTF-8 (Latin-1 or Windows-1252, perh",
        ),
        ("path,label\n0.png,cat\n".encode("utf-16"), "labels.csv: is UTF-16; save it as UTF-8"),
        (b"path,label\n0.png,c\0t\n", "labels.csv:2: holds a NUL character"),
        (
            b'path,label\n0.png,cat\n"1.png,dog\n2.png,cat\n',
            "labels.csv:3: cannot be read (unexpected end of data); is a q",
        ),
    ],
)
def test_what_is_no_table_is_refused(content: bytes, fault: str, root: Path) -> None:
    (root / "labels.csv").write_bytes(content)
    assert any(found.startswith(fault) for found in faults_of(root))


def test_a_table_that_is_not_there_or_of_another_kind_is_named(root: Path) -> None:
    write(root)
    assert "did you mean labels.csv?" in faults_of(root, path="lables.csv")[0]
    assert faults_of(root, path=str(root))[0].startswith(
        f"{root}: is a folder; name the table in it; it holds labels.csv"
    )
    (root / "labels.xlsx").write_bytes(b"PK")
    assert "is none of .csv, .tsv, .parquet; save the table as one of them" in faults_of(root, path="labels.xlsx")[0]
    (root / "labels.parquet").write_bytes(b"PK")
    assert "cannot be read as Parquet" in faults_of(root, path="labels.parquet")[0]


@pytest.mark.parametrize(
    ("labels", "fault"),
    [
        (("1", "1.0"), "labels.csv:3: the label '1.0' is the number that "),
        (("1", "01"), "labels.csv:3: the label '01' is the number that "),
        (
            ("0.25", "0.5"),
            "labels.csv:2: the label '0.25': 2 of 2 labels are fractions; a class is text or a whole number",
        ),
        (("cat", "cat"), "labels.csv: only the class cat; at least two classes are needed"),
    ],
)
def test_labels_that_are_no_classes_are_refused(labels: tuple[str, str], fault: str, root: Path) -> None:
    found = faults_of(write(root, [f"{i}.png,{labels[i % 2]}" for i in range(20)]))
    assert any(each.startswith(fault) or each.startswith(str(root / fault)) for each in found), found


def test_a_class_of_one_picture_is_trained_on_and_told(root: Path, tmp_path: Path) -> None:
    write(root, [f"{i}.png,{'rare' if i == 0 else CLASSES[i % 2]}" for i in range(20)])
    prepared = prepare(settings(), root, tmp_path / "cache")
    place = prepared.info.classes.index("rare")
    assert [prepared.info.counts[split][place] for split in ("train", "val", "test")] == [1, 0, 0]


def test_given_splits_are_kept_and_the_others_drawn(root: Path) -> None:
    words = ["Train", "TRAINING", "valid", "Test"]
    rows = [f"{i}.png,{CLASSES[i % 2]},{words[i % 10 // 2 % 4]}" for i in range(20)]
    source = read(write(root, rows, "path,label,subset"))
    assert Counter(row.split for row in source.rows) == {"train": 12, "val": 4, "test": 4}
    assert source.facts["splits"] == "train, val, test as given; given by column subset"
    rows = [f"{row},{i % 10 // 2 % 4}{i}" for i, row in enumerate(rows)]
    source = read(write(root, rows, "path,label,subset,group"))
    assert source.facts["splits"] == ("train, val, test as given, each of 20 groups within one; given by column subset")
    rows = [f"{i}.png,{CLASSES[i % 2]},{'test' if i < 4 else 'train'}" for i in range(20)]
    source = read(write(root, rows, "path,label,split"))
    assert source.facts["splits"].startswith(
        "train, test as given; drawn of the training pictures, stratified: val 15 %"
    )
    drawn = read(root, split_column="none")
    assert {row.path for row in drawn.rows if row.split == "test"} != {f"{i}.png" for i in range(4)}


def test_groups_are_not_torn_and_a_split_that_tears_one_is_refused_with_lines(root: Path) -> None:
    rows = [f"{i}.png,{CLASSES[i % 2]},p{i // 4}{i % 2}" for i in range(20)]
    source = read(write(root, rows, "path,label,patient"))
    groups: dict[str, set[str]] = {}
    for row in source.rows:
        number = int(row.path.removesuffix(".png"))
        groups.setdefault(f"{number // 4} {number % 2}", set()).add(row.split)
    assert all(len(splits) == 1 for splits in groups.values())
    assert {split for splits in groups.values() for split in splits} == {"train", "val", "test"}
    assert "by 10 groups, stratified" in source.facts["splits"]
    torn = [f"{row},{'test' if i % 4 > 1 else 'train'}" for i, row in enumerate(rows)]
    found = faults_of(write(root, torn, "path,label,patient,split"))
    assert found[0].startswith(
        "group 'p00' of column patient lies in several splits: train (labels.csv:2), test (labels.csv:4)"
    )
    assert faults_of(root, group_regex="x", group_column="patient")[0].startswith(
        "labels.csv:1: dataset.group_regex stands"
    )
    assert read(root, group_column="none").facts["splits"] != source.facts["splits"]


def test_pictures_lie_beside_the_table_below_the_data_root_or_where_a_setting_says(root: Path, tmp_path: Path) -> None:
    lists = root / "lists"
    lists.mkdir()
    rows = [f"{i}.png,{CLASSES[i % 2]}" for i in range(20)]
    write(lists, rows)
    assert len(read(root, path="lists/labels.csv").rows) == 20, "below the data root"
    assert len(read(tmp_path / "none", path=str(lists / "labels.csv"), image_root=str(root)).rows) == 20
    write(lists, [f"../{row}" for row in rows])
    assert {row.path for row in read(root, path="lists/labels.csv").rows} == {f"../{i}.png" for i in range(20)}
    whole = write(lists, [f"{root}/{row}" for row in rows])
    assert len(read(tmp_path / "none", path=str(whole / "labels.csv")).rows) == 20, "absolute paths"


def test_other_columns_and_names_of_columns_decode_nothing_again(root: Path, tmp_path: Path) -> None:
    first = prepare(settings(), write(root), tmp_path / "cache")
    rows = [f"{CLASSES[i % 2]},a note,{i}.png" for i in range(20)]
    second = prepare(settings(label_column="kind"), write(root, rows, "kind,note,path"), tmp_path / "cache")
    assert (second.path, second.decoded) == (first.path, False)
    rows[0] = rows[0].replace("cat", "dog")
    third = prepare(settings(label_column="kind"), write(root, rows, "kind,note,path"), tmp_path / "cache")
    assert third.info.fingerprint != first.info.fingerprint


def test_a_run_may_lie_beside_the_table(tmp_path: Path) -> None:
    prepared = prepare(settings(), make_table(tmp_path / "data"), tmp_path / "cache")
    assert prepared.root is None
    data = open_dataset(settings(), prepared.path)
    for part in data.splits.values():
        assert [path.split("/")[1] for path in part.paths] == [data.info.classes[label] for label in part.labels]
