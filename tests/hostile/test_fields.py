"""A run directory with a hostile value in any field of its records: every command gives a right answer or names the
fault, in a few lines, at once, and changes nothing outside of the run."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from analysis.records.events import EVENTS
from analysis.records.study_json import Study
from tests.hostile.scene import KEPT, Scene, quiet
from tests.hostile.values import VALUES, Place, paths, put, written

ROW = ("event", "trial", "epoch", "lr", "val_loss", "val_reference", "test_accuracy", "seconds", "lanes", "unknown")
FIELDS: list[tuple[str, Place]] = [
    *(("study", path) for path in dict.fromkeys(paths(Study))),
    *((kind, path) for kind, model in EVENTS.items() for path in dict.fromkeys(paths(model))),
    *(("epoch", (name,)) for name in ROW),
]


def damage(run: Path, kind: str, path: Place, value: Any, rng: random.Random) -> bool:
    """Write the value into study.json, or into an event of the log; False where nothing there can hold it."""
    study = json.loads((run / "study.json").read_text(encoding="utf-8"))
    events = [json.loads(line) for line in (run / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    if kind == "study":
        done = put(study, path, value)
    else:
        own = [event for event in events if event["event"] == kind] or [{"event": kind}]
        events += own if own[0] not in events else []
        done = put(rng.choice(own), path, value)
    (run / "study.json").write_text(written(study), encoding="utf-8")
    (run / "log.jsonl").write_text("".join(written(event) + "\n" for event in events), encoding="utf-8")
    return done


def test_every_field_of_the_schema_is_tried() -> None:
    named = {".".join(map(str, path)) for kind, path in FIELDS if kind == "study"}
    assert {"cells.0.name", "space.0.low", "trials.0.trial", "request.options.address", "data.classes.0"} <= named
    assert ("end", ("execution", "threads")) in FIELDS
    assert len(FIELDS) > 150


def attacked(tmp_path: Path, bases: list[Path], commands: tuple[str, ...], count: int, seed: int) -> None:
    rng = random.Random(seed)
    scenes = [Scene(tmp_path / str(place), base) for place, base in enumerate(bases)]
    with quiet():
        for _ in range(count):
            scene, (kind, path), value = rng.choice(scenes), rng.choice(FIELDS), rng.choice(VALUES)
            scene.begin()
            if not damage(scene.run, kind, path, value, rng):
                continue
            for name in rng.sample(commands, min(2, len(commands))):
                try:
                    scene.call(name)
                except AssertionError as error:
                    raise AssertionError(f"{scene.base.name}: {kind} {path}: {str(value)[:60]!r}") from error


READING = ("status", "compare", "compare with")
EVERY = (*READING, "report", "rerun", "predict", "export", "confirm", "incumbent", "reuse", "resume", "tensorboard")


def test_commands_that_read_records_give_an_answer_or_name_the_fault(
    tmp_path: Path, ablation: Path, search: Path
) -> None:
    attacked(tmp_path, [ablation, search], READING, 12, seed=1)


def test_every_command_gives_an_answer_or_names_the_fault(tmp_path: Path, ablation: Path, search: Path) -> None:
    attacked(tmp_path, [ablation, search, KEPT], EVERY, 5, seed=2)


@pytest.mark.matrix
@pytest.mark.parametrize("seed", range(3, 5))
def test_many_fields_and_every_command(tmp_path: Path, ablation: Path, search: Path, seed: int) -> None:
    attacked(tmp_path, [ablation, search, KEPT, KEPT], EVERY, 60, seed)
