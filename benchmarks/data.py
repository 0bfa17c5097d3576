"""What a worker pays for its data: mapping the decoded cache, against decoding the pictures as a textbook does."""

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.measure import compare
from datasets.cache import open_dataset, prepare
from datasets.image_folder import ImageFolder

PICTURES, SIZE = 2000, 48

ADDED = """
import os, sys
from pathlib import Path
from datasets.cache import open_dataset
from datasets.image_folder import ImageFolder
settings = ImageFolder(path=sys.argv[1], image_size=int(sys.argv[3]))
resident = lambda: int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024
before = resident()
dataset = open_dataset(settings, Path(sys.argv[2]))
print(resident() - before)
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
        arguments = [sys.executable, "-c", ADDED, str(root), str(cache), str(SIZE)]
        added = int(subprocess.run(arguments, capture_output=True, text=True, check=True).stdout)
        result["added_kib"] = added
        size = cache.stat().st_size / 2**20
        result["notes"] = [f"{added / 1024:.2f} MiB added to a worker's memory by opening {size:.1f} MiB of data"]
        return result


def _pictures(root: Path) -> list[Path]:
    """JPEG files of smooth noise in two classes: decoding costs what a photo of that size costs."""
    draw = np.random.default_rng(0)
    files = []
    for i in range(PICTURES):
        file = root / f"class{i % 2}" / f"{i}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        small = draw.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(small).resize((SIZE, SIZE)).save(file, quality=90)
        files.append(file)
    return files
