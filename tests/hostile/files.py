"""Hostile files: what somebody may put in the place of each file and folder of a run directory."""

import io
import os
import shutil
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from core.files import DIGEST, _digest
from tests.hostile.scene import KEY
from trainables.trial import checkpoint_file

Change = Callable[[Path], object]
"""puts something at a path where nothing is; `../bait` lies beside the run directory"""

FILES = (
    *("log.jsonl", "study.json", "trials.parquet", "epochs.parquet", ".lock", "optuna.journal", "remote.url"),
    *("report/manifest.json", "report/index.html", "report/ranking.csv", "report/projections.parquet"),
    *("report/figures/curves.svg", "code/mine.py", "tensorboard/x", "other.txt", "model.pt2"),
    *(f"checkpoints/KEY/{name}" for name in ("best.pt", "last.pt", "previous.pt", "best.new.pt")),
    *(f"artifacts/KEY/{name}.parquet" for name in ("features", "landmarks", "diagnostics")),
    *(f"artifacts/KEY/{name}" for name in ("images/0.png", "feature_maps/about.json", "feature_maps/filters.png")),
    "predictions/KEY.parquet",
)
FOLDERS = (
    *("report", "report/figures", "code", "tensorboard", "predictions", "artifacts", "checkpoints"),
    *("artifacts/KEY", "artifacts/KEY/images", "artifacts/KEY/feature_maps", "checkpoints/KEY"),
)


def _bait(path: Path) -> Path:
    run = next(folder for folder in path.parents if folder.name == "run")
    return run.parent / "bait"


LINKS: dict[str, Change] = {
    "link to a file": lambda path: path.symlink_to(_bait(path) / "file.txt"),
    "link to a folder": lambda path: path.symlink_to(_bait(path) / "folder"),
    "relative link": lambda path: path.symlink_to(os.path.relpath(_bait(path), path.parent)),
    "link to nothing outside": lambda path: path.symlink_to(_bait(path) / "new"),
    "link to nothing inside": lambda path: path.symlink_to("absent"),
    "link to itself": lambda path: path.symlink_to(path.name),
    "link to the run": lambda path: path.symlink_to(next(p for p in path.parents if p.name == "run")),
    "pipe": os.mkfifo,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "socket's folder": lambda path: path.mkdir(),
    "file": lambda path: path.write_bytes(b"x"),
}
"""what may stand where a file or a folder does"""


def _sealed(path: Path, content: bytes) -> None:
    """A checkpoint of this content that ends with the digest of itself, as anybody may write it."""
    path.write_bytes(content + bytes(2))
    with path.open("rb") as file:
        digest = _digest(file, len(content))
    path.write_bytes(content + DIGEST.to_bytes(2, "little") + digest)


class _Runs:
    """Unpickled, it would leave a file."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("exit 1",)


def _pickled(path: Path) -> None:
    held = io.BytesIO()
    torch.save({"model": _Runs()}, held)
    _sealed(path, held.getvalue()[:-2])


def _zipped(path: Path) -> None:
    """A checkpoint that unpacks to a thousand times its size."""
    held, packed = io.BytesIO(), io.BytesIO()
    torch.save({"model": torch.zeros(2**22)}, held)
    with zipfile.ZipFile(held) as source, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            target.writestr(name, source.read(name))
    _sealed(path, packed.getvalue()[:-2])


def _saved(state: Any) -> Change:
    return lambda path: checkpoint_file.save(state, path)


def _other_weights(path: Path) -> None:
    """The network of another model, under this trial's configuration."""
    kept = Path(__file__).parents[1] / "runs" / "1-code-versions" / "checkpoints" / KEY / "best.pt"
    state = checkpoint_file.load(kept)
    assert state
    checkpoint_file.save({**state, "model": {"x": torch.zeros(3)}, "epoch": "one"}, path)


CHECKPOINTS: dict[str, Change] = {
    "pickle": _pickled,
    "zip bomb": _zipped,
    "no mapping": lambda path: checkpoint_file.save([1, 2], path),  # type: ignore[arg-type]
    "no keys": _saved({}),
    "other keys": _saved({"config": 1, "model": {}, "data": {"name": []}, "epoch": 1, "rows": "["}),
    "other configuration": _saved({"config": {"model": {"name": "../x"}}, "model": {}, "epoch": -1}),
    "other weights": _other_weights,
}


def _picture(kind: str) -> Change:
    from PIL import Image

    return lambda path: Image.fromarray(np.zeros((8, 8), "uint8")).save(path, kind)


def _png(width: int, height: int) -> Change:
    """A PNG that says it is so large, and is hardly any bytes."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    packed = zlib.compress(bytes(min((width + 1) * height, 2**26)))
    return lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", packed) + chunk(b"IEND", b""))


PICTURES: dict[str, Change] = {
    "EPS": _picture("EPS"),
    "PDF": _picture("PDF"),
    "SVG": lambda path: path.write_text("<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"),
    "PNG of 2.5 gigapixels": _png(50_000, 50_000),
    "PNG of 150 megapixels": _png(15_000, 10_000),
    "PNG of no pixel": _png(0, 0),
    "half a PNG": lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n\0\0"),
}

EVERY_COLUMN = (
    *("index", "target", "prediction", "score_0", "score_1", "true_x0", "true_y0", "x0", "y0", "split", "label"),
    *("feature", "epoch", "layer", "kind", "mean", "std", "dead", "gradient_norm", "weight_norm", "update_ratio"),
    *("trial", "features", "cell", "class", "batch"),
)


def _table(value: Any, rows: int = 4, names: tuple[str, ...] = EVERY_COLUMN) -> Change:
    """A Parquet file whose columns all hold this value."""
    return lambda path: pq.write_table(pa.table({name: pa.array([value] * rows) for name in names}), path)


def _mixed(path: Path) -> None:
    of = {"index": [0, 1], "target": [2**62, -5], "prediction": [-(2**63), 7], "score_0": [1e308, np.nan]}
    pd.DataFrame(
        of
        | {"true_x0": [np.inf, 1], "x0": [0, 1], "split": ["train", "../x"], "feature": [[1e308], [-1e308]]}
        | {"label": [0, 2**62], "epoch": [10**18, -1], "layer": ["\x1b[2J", "[/x]"], "kind": ["conv", "relu"]}
        | {name: [np.inf, -1e308] for name in EVERY_COLUMN[15:21]}
    ).to_parquet(path)


def _twice(path: Path) -> None:
    names = ["index", "index", "target", "prediction", "split", "label", "feature"]
    pq.write_table(pa.Table.from_arrays([pa.array([0, 1])] * len(names), names=names), path)


TABLES: dict[str, Change] = {
    "text": _table("../../x"),
    "lists": _table([1, 2]),
    "structures": _table({"a": {"b": 1}}),
    "bytes": _table(b"\xff\x00"),
    "truth": _table(True),
    "nothing": _table(None),
    "numbers": _table(1e308),
    "whole numbers": _table(-(2**63)),
    "no row": _table(1, 0),
    "one row": _table(1, 1),
    "no column": _table(1, 2, ()),
    "other columns": _table(1, 2, ("../x", "\x1b[2J", "", "__proto__")),
    "mixed": _mixed,
    "a column twice": _twice,
}
TEXTS: dict[str, Change] = {
    "nothing": lambda path: path.write_bytes(b""),
    "junk": lambda path: path.write_bytes(bytes(range(256)) * 40),
    "deep": lambda path: path.write_text("[" * 100_000),
    "outside": lambda path: path.write_text(
        '{"files": ["../../bait/file.txt", "/etc/x", "figures/../../x.svg"], "drawn": 1}'
    ),
    "types": lambda path: path.write_text(
        '{"files": [[]], "drawn": {"x": {}}, "stages": [{"file": {}}], "picture": {}}'
    ),
    "URL": lambda path: path.write_text("file:///" + "x" * 5000),
    "other URL": lambda path: path.write_text(f"file://{path.parent.parent / 'bait' / 'folder'}"),
}


def replace(path: Path, change: Change) -> None:
    """Put what `change` makes in the place of a file or folder."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.is_dir():
        shutil.rmtree(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    change(path)


def cases() -> list[tuple[str, str, Change]]:
    """(name in the run, what stands there, how it comes there) of every case."""
    found = [(name, what, change) for name in (*FILES, *FOLDERS) for what, change in LINKS.items()]
    kinds = ((".pt", CHECKPOINTS), (".png", PICTURES), (".parquet", TABLES), ("", TEXTS))
    for ending, changes in kinds:
        own = [name for name in FILES if name.endswith(ending)]
        found += [(name, what, change) for name in own for what, change in changes.items()]
    return found
