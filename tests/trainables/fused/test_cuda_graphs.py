"""Steps that are repeated without Python, as a CUDA graph repeats them, come to the numbers of Python's own steps.

There is no GPU in most places that run this, so that a tape of the CPU's operations has the graph's place.
"""

import gc
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import _get_current_dispatch_mode

from datasets.cache.cache import open_or_prepare, prepare
from tests.datasets.makers import make_faces
from tests.trainables.fused.tape import Tape
from tests.trainables.small_trials import EVERYTHING, finish, small_config, small_dataset, small_learner, small_spec
from trainables.config import resolve
from trainables.fused import autotune as probe
from trainables.fused.autotune import ExecutionMode, Measurements, Probe, TrialKind, best_mode, graphs_agree, sound
from trainables.fused.cuda_graphs import _batch_at, _copied
from trainables.fused.programs import Graphs, LaneError
from trainables.registry import LOSSES, OPTIMIZERS
from trainables.training.averaging import Averaged
from trainables.training.batch_draws import EpochDraws
from trainables.training.learner import Learner
from trainables.trial.runner import TrialRunner
from trainables.trial.trial import Trial

# 96 pictures: thirteen batches of seven and one of five after them
CUT: dict[str, Any] = {"training.batch_size": 7, "training.epochs": 2}
SETTINGS: dict[str, dict[str, Any]] = {
    "everything": {**EVERYTHING, **CUT},
    "constant rate": {**EVERYTHING, **CUT, "schedule.name": "constant", "schedule.warmup": 0.0},
    "mixed, averaged, clipped": {
        **EVERYTHING,
        **CUT,
        "training.mixup": 0.2,
        "training.ema": 0.9,
        "training.clip_norm": 0.5,
        "loss.name": "ce",
        "schedule.name": "constant",
        "schedule.warmup": 0.0,
    },
    "momentum": {**CUT, "optimizer.name": "sgd", "optimizer.momentum": 0.9, "augmentation.flip": True},
    "rmsprop": {**CUT, "optimizer.name": "rmsprop", "optimizer.lr": 0.001, "loss.name": "focal"},
    "switch": {**CUT, "optimizer.name": "adam_then_sgd", "optimizer.switch": 0.5, "optimizer.sgd_lr": 0.001},
}


@pytest.fixture(autouse=True)
def tape(monkeypatch: pytest.MonkeyPatch) -> type[Tape]:
    monkeypatch.setattr("trainables.fused.cuda_graphs.CapturedGraph", Tape)
    monkeypatch.setattr(Tape, "host", [])
    monkeypatch.setattr(Tape, "taken", 0)
    monkeypatch.setattr(Tape, "replayed", 0)
    monkeypatch.setattr("trainables.trial.runner._MEASURED", {})
    return Tape


def state(learner: Learner) -> dict[str, Any]:
    own = learner.state_dict()
    return {**own["model"], **(own["average"] or {}), **(own["clip"] or {}), "first_loss": own["first_loss"]}


def repeating(learner: Learner) -> Callable[[], dict[str, float]]:
    """`learner.train_epoch` by replays."""
    program = Graphs()
    program.enter(0, learner, capture=True)
    return lambda: program.train({0: learner})[0]


def same(mine: dict[str, Any], theirs: dict[str, Any]) -> bool:
    return mine.keys() == theirs.keys() and all(
        value.equal(theirs[name]) if isinstance(value, torch.Tensor) else value == theirs[name]
        for name, value in mine.items()
    )


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_repeated_steps_come_to_the_numbers_of_pythons(settings: dict[str, Any]) -> None:
    by_python, repeated = small_learner(settings), small_learner(settings)
    train_epoch = repeating(repeated)
    if repeated.average is not None:
        Tape.host = [repeated.average.n_averaged]
    for _ in range(3):
        assert train_epoch() == by_python.train_epoch()
        assert repeated.evaluate("val") == by_python.evaluate("val")
        assert same(state(repeated), state(by_python))
    assert Tape.replayed > 20


def test_a_step_is_captured_once_until_python_decides_otherwise() -> None:
    train_epoch = repeating(small_learner(SETTINGS["constant rate"]))
    for _ in range(3):
        train_epoch()
    assert (Tape.taken, Tape.replayed) == (1, 12 + 13 + 13), "the first step of all makes the optimizer's state"
    Tape.taken = 0
    train_epoch = repeating(small_learner(SETTINGS["everything"]))
    for _ in range(3):
        train_epoch()
    assert Tape.taken == 3, "each epoch has its own rate"


CHANGES: dict[str, Any] = {
    "flip": True,
    "vertical_flip": True,
    "rotation": 20.0,
    "translate": 0.2,
    "crop_scale": [0.5, 1.0],
    "brightness": 0.4,
    "contrast": 0.4,
}
PARTS: list[dict[str, Any]] = [
    *({"loss.name": name} for name, loss in LOSSES.items() if loss.task == "classification"),
    *({"optimizer.name": name} for name in OPTIMIZERS),
    {f"augmentation.{name}": value for name, value in CHANGES.items()},
]


@pytest.mark.parametrize("settings", PARTS, ids=lambda settings: " ".join(map(str, settings.values())))
def test_every_part_of_a_step_can_be_repeated(settings: dict[str, Any]) -> None:
    repeating(small_learner({**CUT, **settings}))()
    assert Tape.replayed == 12


WAITING: dict[str, Callable[[torch.Tensor], object]] = {
    "float": lambda outputs: float(outputs.detach().sum()),
    "branch": lambda outputs: 1 if outputs.detach().sum() > 0 else 2,
    "list": lambda outputs: outputs.detach().tolist(),
    "mask": lambda outputs: outputs.detach()[outputs.detach() > 0],
    "unique": lambda outputs: outputs.detach().unique(),
    "cpu": lambda outputs: outputs.detach().cpu(),
}


@pytest.mark.parametrize("wait", WAITING.values(), ids=WAITING)
def test_what_reads_a_number_back_cannot_be_repeated(
    wait: Callable[[torch.Tensor], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    compute_loss = Learner.compute_loss
    monkeypatch.setattr(Learner, "compute_loss", lambda self, *rest: [wait(rest[0]), compute_loss(self, *rest)][1])
    with pytest.raises(LaneError) as raised:
        repeating(small_learner(CUT))()
    assert "reads a number back" in str(raised.value.error)


def kind(settings: dict[str, Any]) -> TrialKind:
    return TrialKind(small_config(settings), small_dataset(settings), torch.device("cpu"))


@pytest.mark.parametrize("lanes", [1, 3])
def test_graphs_repeat_what_python_does(lanes: int) -> None:
    assert graphs_agree(kind(SETTINGS["everything"]), lanes)
    assert Tape.replayed > 20 * lanes


def test_a_graph_that_comes_to_other_numbers_or_to_none_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    some = kind(SETTINGS["momentum"])
    replay = Tape.replay
    monkeypatch.setattr(Tape, "replay", lambda self: None if Tape.replayed % 5 == 3 else replay(self))
    assert not graphs_agree(some, 1)

    def refuse(*_: object) -> None:
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(Tape, "__init__", refuse)
    assert not graphs_agree(some, 1)


def test_where_pythons_own_last_bits_vary_those_of_a_graph_may(monkeypatch: pytest.MonkeyPatch) -> None:
    some, results, calls = kind(SETTINGS["momentum"]), Probe.results, []

    def unsure(self: Probe) -> list[torch.Tensor]:
        calls.append(self)
        return [value * (1 + 1e-6 * len(calls)) for value in results(self)]

    monkeypatch.setattr(Probe, "results", unsure)
    assert graphs_agree(some, 1)


def run(
    folder: Path, mode: ExecutionMode, seeds: int, monkeypatch: pytest.MonkeyPatch
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Rows and end of trials with such seeds."""
    monkeypatch.setattr("trainables.trial.runner.best_mode", lambda *_: mode)
    monkeypatch.setattr("trainables.trial.runner.sound", lambda *_: True)  # so that no tape is of its probe
    runner, rows, ends = TrialRunner(Trial, "auto"), dict[str, Any](), dict[str, Any]()
    specs = [small_spec(folder, SETTINGS["everything"], seed).to_dict() for seed in range(seeds)]
    runner.put([{**spec, "trial": str(seed)} for seed, spec in enumerate(specs)])
    while runner.busy:
        for report in runner.advance():
            rows.setdefault(report["trial"], []).extend({**row, "seconds": None} for row in report["rows"])
            if report["end"]:
                ends[report["trial"]] = report["end"]
    return rows, ends


@pytest.mark.parametrize("mode", [ExecutionMode(1, "graphs"), ExecutionMode(3, "graphs")], ids=lambda mode: mode.lanes)
def test_trials_as_graphs_are_the_trials_alone(
    mode: ExecutionMode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fourth takes over a lane; none has a number of lanes in its rows, as none depends on it."""
    rows, ends = run(tmp_path / "graphs", mode, 4, monkeypatch)
    for seed in range(4):
        alone = finish(small_spec(tmp_path / f"alone {seed}", SETTINGS["everything"], seed))
        assert [{**row, "seconds": None} for row in alone.rows] == rows[str(seed)]
        fused = ends[str(seed)].get("fused", {"lanes": 1, "kernel": "graphs"})
        assert (fused["lanes"], fused["kernel"]) == mode
        assert ends[str(seed)]["verified"]
    assert Tape.replayed


def test_several_whose_steps_cannot_be_captured_take_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, _ = run(tmp_path / "graphs", ExecutionMode(3, "graphs"), 3, monkeypatch)
    monkeypatch.setattr("trainables.trial.runner.sound", lambda *_: False)
    Tape.replayed = 0
    runner = TrialRunner(Trial, "auto")
    specs = [small_spec(tmp_path / "turns", SETTINGS["everything"], seed).to_dict() for seed in range(3)]
    runner.put([{**spec, "trial": str(seed)} for seed, spec in enumerate(specs)])
    reports = [report for _ in range(2) for report in runner.advance()]
    assert not runner.busy
    assert not Tape.replayed
    assert {report["end"]["fused"]["kernel"] for report in reports if report["end"]} == {"turns"}
    found = [row | {"seconds": None} for report in reports for row in report["rows"] if report["trial"] == "2"]
    assert found == rows["2"]


@pytest.fixture
def on_cuda(monkeypatch: pytest.MonkeyPatch) -> TrialKind:
    """A kind on a GPU, of which nothing is tried in earnest; graphs are sound."""
    monkeypatch.setattr(probe, "graphs_agree", lambda kind, lanes: True)
    settings = {**CUT, "training.epochs": 300}
    return TrialKind(small_config(settings), small_dataset(settings), torch.device("cuda"))


Times = dict[str, dict[int, float]]


def timed(monkeypatch: pytest.MonkeyPatch, took: Times) -> None:
    monkeypatch.setattr(probe, "seconds_a_step", lambda kind, mode: took[mode.kernel][mode.lanes])


def test_a_gpu_trains_by_graphs_where_they_are_sound(on_cuda: TrialKind, monkeypatch: pytest.MonkeyPatch) -> None:
    timed(monkeypatch, {"eager": {1: 1.0}, "graphs": {1: 0.1}})
    assert best_mode(on_cuda, 8, 1, Measurements()) == ExecutionMode(1, "graphs")
    assert best_mode(on_cuda, 8, 4, Measurements()) == ExecutionMode(4, "graphs"), (
        "a number asked for is never a matter of time"
    )
    monkeypatch.setattr(probe, "graphs_agree", lambda kind, lanes: False)
    assert best_mode(on_cuda, 8, 1, Measurements()) == ExecutionMode()
    assert best_mode(on_cuda, 8, 4, Measurements()) == ExecutionMode(4, "graphs"), "nor of whether they can be captured"


def test_epochs_too_short_for_a_capture_are_pythons(on_cuda: TrialKind, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three batches of 32 an epoch."""
    timed(monkeypatch, {"eager": {1: 1.0}, "graphs": {1: 0.1}})
    training = small_config({"training.epochs": 300}).training
    short = on_cuda._replace(config=on_cuda.config.model_copy(update={"training": training}))
    assert best_mode(short, 8, 1, Measurements()) == ExecutionMode()


def test_auto_takes_the_number_of_lanes_that_measures_best_on_a_gpu(
    on_cuda: TrialKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    took: Times = {"eager": {1: 9.0}, "graphs": {1: 1.0, 2: 0.6, 4: 0.4, 8: 0.39, 16: 0.1}}
    timed(monkeypatch, took)
    measured = Measurements()
    assert [best_mode(on_cuda, n, "auto", Measurements()).lanes for n in (1, 3, 4, 20)] == [1, 2, 4, 4]
    assert best_mode(on_cuda, 20, "auto", measured) == ExecutionMode(4, "graphs")
    assert {mode.lanes for mode in measured.seconds} == {1, 2, 4, 8}, "the first doubling without a gain is the last"
    took["graphs"] = {1: 1.0, 2: 2.0}
    assert best_mode(on_cuda, 20, "auto", Measurements()) == ExecutionMode(1, "graphs")
    took["eager"] = {1: 0.5}
    assert best_mode(on_cuda, 20, "auto", Measurements()) == ExecutionMode()


def test_each_set_of_operations_has_to_prove_itself(on_cuda: TrialKind, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = list[str]()
    monkeypatch.setattr(probe, "graphs_agree", lambda kind, lanes: asked.append(kind.config.optimizer.name) or True)
    measured = Measurements()
    other: list[dict[str, Any]] = [{}, {"optimizer.lr": 0.5}, {"optimizer.name": "adam"}, {"training.ema": 0.9}]
    for settings in other:
        assert sound(on_cuda._replace(config=small_config(settings)), 1, measured)
    assert asked == ["sgd", "adam", "sgd"], "not another for another rate"


def test_an_average_that_a_graph_does_not_move_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    some, begin, update = (
        kind({**SETTINGS["momentum"], "training.ema": 0.9}),
        Averaged.__init__,
        Averaged.update_parameters,
    )

    def begun(self: Averaged, *rest: Any) -> None:
        begin(self, *rest)
        Tape.host = [*Tape.host, self.n_averaged]

    monkeypatch.setattr(Averaged, "__init__", begun)
    assert graphs_agree(some, 1)
    idle = lambda self, network: None if _get_current_dispatch_mode() else update(self, network)  # noqa: E731
    monkeypatch.setattr(Averaged, "update_parameters", idle)
    assert not graphs_agree(some, 1)


def test_a_dropped_learner_is_gone_at_once() -> None:
    """A graph that garbage collection finds amid another's capture would spoil that."""
    learner, program = small_learner(SETTINGS["everything"]), Graphs()
    program.enter(0, learner, capture=True)
    program.train({0: learner})
    program.graphs[0].captured = None  # a tape keeps the call, as no real graph does
    gone = weakref.ref(learner)
    gc.disable()
    try:
        program.leave(0, learner)
        del learner
        assert gone() is None
    finally:
        gc.enable()


def test_an_epoch_s_draws_give_the_same_batch_by_either_number() -> None:
    rows = torch.randperm(10, generator=torch.Generator().manual_seed(0))
    draws = EpochDraws([{"rows": part, "share": part / 7} for part in rows.split(4)], torch.device("cpu"))
    assert len(draws) == 3
    for number in range(2):
        by_python, by_device = draws.batch(number), _batch_at(draws, torch.tensor([number]), 2)
        assert by_python.keys() == by_device.keys()
        assert all(map(torch.equal, by_python.values(), by_device.values()))
    assert draws.batch(2)["rows"].equal(rows[8:])
    assert not _copied(EpochDraws([{"rows": rows, "share": rows / 7}], torch.device("cpu")), draws)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("lanes", [1, 3])
def test_a_gpu_repeats_what_python_does(lanes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    settings = SETTINGS["everything"]
    assert graphs_agree(TrialKind(small_config(settings), small_dataset(settings), torch.device("cuda")), lanes)


TASKS: list[dict[str, Any]] = [
    {"model.name": "stage3", "loss.name": "face", "loss.weighting": "inverse"},
    {"model.name": "stage1", "loss.name": "points", "dataset.faces_only": True},
]


@pytest.mark.parametrize(
    "task", [pytest.param(TASKS[0], id="face"), pytest.param(TASKS[1], id="points", marks=pytest.mark.matrix)]
)
@pytest.mark.matrix
def test_steps_of_faces_and_their_landmarks_are_repeated_too(
    task: dict[str, Any], tmp_path: Path, cache_dir: Path
) -> None:
    """Geometry, mirrored landmarks, colour, two heads, PReLU."""
    settings = {
        "dataset.name": "faces",
        "dataset.path": str(make_faces(tmp_path) / "faces"),
        "dataset.flip_pairs": [[0, 1]],
        "dataset.channels": 3,
        **task,
        "optimizer.name": "adam",
        "training.batch_size": 4,
        "augmentation.rotation": 20.0,
        "augmentation.flip": True,
        **{f"augmentation.{name}": 0.3 for name in ("brightness", "contrast", "saturation", "hue")},
    }
    config = resolve(settings)
    dataset = open_or_prepare(config.dataset, prepare(config.dataset, None, cache_dir).path)
    assert graphs_agree(TrialKind(config, dataset, torch.device("cpu")), 1)
    assert Tape.replayed
