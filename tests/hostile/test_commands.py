"""Hostile run directories given to the command line as processes of their own."""

import random
from pathlib import Path

import pytest

from tests.conftest import Cli
from tests.hostile.files import cases, replace
from tests.hostile.scene import LINES, Scene
from tests.hostile.test_fields import FIELDS, damage
from tests.hostile.values import VALUES

COMMANDS = ("status", "report", "compare", "rerun", "predict", "export", "confirm", "incumbent", "reuse")


@pytest.mark.matrix
@pytest.mark.parametrize("number", range(20))
def test_a_real_command_names_the_fault_or_answers(tmp_path: Path, cli: Cli, number: int) -> None:
    scene, rng = Scene(tmp_path / "scene"), random.Random(number)
    if number % 2:
        name, _, change = rng.choice(cases())
        replace(scene.run / name.replace("KEY", scene.key), change)
    else:
        damage(scene.run, *rng.choice(FIELDS), rng.choice(VALUES), rng)
    done = cli(*scene.commands()[rng.choice(COMMANDS)])
    assert done.returncode in (0, 1, 2), done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    if done.returncode == 2:
        assert 1 <= sum(line.startswith("error: ") for line in done.stderr.splitlines()) <= LINES, done.stderr
    assert scene.outside() == scene.before
