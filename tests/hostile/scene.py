"""A run directory among bait, the commands that take one, and what has to hold of each of them."""

import os
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from PIL import Image

from core.errors import PlanError
from core.metrics import BUILT_IN, METRICS
from run_search import main
from tests.conftest import ROOT, empty_figures

KEPT = ROOT / "tests" / "runs" / "1-code-versions"
SECONDS = 5.0  # of the processor, that a refusal may take
LINES = 3  # of standard error
KEY = "6d5f581d9014"  # of a trial of KEPT


class Scene:
    """A folder with `run`, the directory under test, `other`, a whole run, and `bait`, which nothing may change."""

    def __init__(self, root: Path, base: Path = KEPT, key: str = KEY) -> None:
        self.root, self.run, self.base, self.key = root, root / "run", base, key
        self.bait, self.other = root / "bait", root / "other"
        (self.bait / "folder").mkdir(parents=True)
        for name in ("file.txt", "folder/best.pt", "folder/index.html", "folder/ranking.csv", "folder/0.png"):
            (self.bait / name).write_text("bait")
        shutil.copytree(KEPT, self.other)
        Image.new("L", (8, 8)).save(self.root / "picture.png")
        self.begin()
        self.before = self.outside()

    def begin(self) -> None:
        """Make the run whole again."""
        shutil.rmtree(self.run, ignore_errors=True)
        shutil.copytree(self.base, self.run, symlinks=True)

    def outside(self) -> dict[str, tuple[int, bytes]]:
        """Everything in the scene but what lies in `run`: (mode, content or where a link leads) by name."""
        found = {}
        for place, folders, files in os.walk(self.root):
            if place == str(self.root):
                folders.remove(self.run.name)
            for path in (Path(place, name) for name in (*folders, *files)):
                mode = path.lstat().st_mode
                content = str(path.readlink()).encode() if stat.S_ISLNK(mode) else b""
                found[str(path)] = (mode, path.read_bytes() if stat.S_ISREG(mode) else content)
        return found

    def commands(self) -> dict[str, list[Any]]:
        return {
            "status": ["status", self.run],
            "report": ["report", self.run],
            "compare": ["compare", self.run, self.other],
            "compare with": ["compare", self.other, self.run],
            "rerun": ["rerun", self.run, self.key],
            "predict": ["predict", self.run, self.root / "picture.png", "--trial", self.key],
            "export": ["export", self.run, "--trial", self.key, "--out", self.root / "run" / "model.pt2"],
            "confirm": ["confirm", self.run, "--out", self.root / "confirmed"],
            "incumbent": ["plan", "digits/search", "--incumbent", self.run, "--json"],
            "reuse": ["plan", "digits/long-tail", "--reuse-from", self.run, "--json"],
            "resume": ["resume", self.run, "--disk-budget", "1MB"],
            "tensorboard": ["report", self.run, "--tensorboard"],
        }

    def call(self, name: str) -> tuple[int, str]:
        """(exit status, standard error) of a command; every promise about hostile runs is held here."""
        for metric in set(METRICS) - BUILT_IN:
            del METRICS[metric]
        began = time.process_time()
        done = CliRunner().invoke(main, list(map(str, self.commands()[name])), catch_exceptions=True)
        spent = time.process_time() - began
        error = done.exception
        assert error is None or isinstance(error, SystemExit), (name, repr(error), done.exc_info)
        assert done.exit_code in (0, 1, 2), (name, done.exit_code, done.stderr)
        said = [line for line in done.stderr.splitlines() if not _is_progress(line)]
        assert "Traceback" not in done.output, name
        if done.exit_code == 2:
            assert said, name
            assert len(said) <= LINES, (name, said)
            assert spent < SECONDS, (name, spent, said)
        assert self.outside() == self.before, (name, "something outside of the run was changed")
        return done.exit_code, done.stderr


def _is_progress(line: str) -> bool:
    """Whether a line says what a slow command is doing."""
    return line.startswith(("reading the ", "writing the report", "loading ", "comparing ", "checking ", "exporting "))


def _no_ray(*_: object) -> Any:
    raise PlanError("Ray would be started now")


@contextmanager
def quiet() -> Iterator[None]:
    """Nothing is drawn, timed, or sent to Ray; a run that would train is refused with `_no_ray`'s sentence."""
    import engine.execution.launch
    from tests.engine.fake_probes import FakeProbes

    with empty_figures(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine.execution.launch, "ray_started", _no_ray)
        patch.setattr("engine.forecast.forecast.Probes", FakeProbes)
        yield


Change = Callable[[Path], object]
