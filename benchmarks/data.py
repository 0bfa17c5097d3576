"""The time and memory in which a worker opens its data: mapping the decoded cache, against decoding the images."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks import photos
from benchmarks.measure import compare, python
from datasets.cache.cache import open_dataset, prepare
from datasets.sources.image_folder import ImageFolder

PICTURES, SIZE = 2000, 48

ADDED = """
import sys
from pathlib import Path
from datasets.cache.cache import open_dataset
from datasets.sources.image_folder import ImageFolder
settings = ImageFolder(path=sys.argv[1], image_size=int(sys.argv[3]))
def held():
    lines = [line.split() for line in Path("/proc/self/smaps_rollup").read_text().splitlines()]
    kib = {line[0]: int(line[1]) for line in lines if line[-1] == "kB"}
    return kib["Private_Dirty:"] + kib["Private_Clean:"], kib["Rss:"]
before = held()
dataset = open_dataset(settings, Path(sys.argv[2]))
print(*(after - before for after, before in zip(held(), before)))
"""


def run() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "pictures"
        files = _pictures(root)
        settings = ImageFolder(path=str(root), image_size=SIZE)
        cache = prepare(settings, None, Path(folder) / "cache").path

        def decode() -> None:
            np.stack([np.asarray(Image.open(file).convert("RGB").resize((SIZE, SIZE))) for file in files])

        result = compare(
            "data", lambda: open_dataset(settings, cache), decode, f"PIL on {PICTURES} JPEG files", runs=11
        )
        added, resident = map(int, python("-c", ADDED, root, cache, SIZE).split())
        result |= {"added_kib": added, "added_resident_kib": resident}
        total = cache.stat().st_size / 2**20
        result["notes"] = [
            f"{added / 1024:.2f} MiB of a worker's own added by opening {total:.1f} MiB, {resident / 1024:.2f} MiB "
            f"with the pages of libraries and of the file that workers share"
        ]
        return result


def _pictures(root: Path) -> list[Path]:
    """JPEG files of smooth noise in two classes, which take as long to decode as photos of that size."""
    draw = np.random.default_rng(0)
    files = []
    for i in range(PICTURES):
        file = root / f"class{i % 2}" / f"{i}.jpg"
        small = Image.fromarray(draw.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        photos.save(np.asarray(small.resize((SIZE, SIZE)), dtype=np.float64), file)
        files.append(file)
    return files
