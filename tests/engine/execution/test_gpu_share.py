"""`--gpus-per-trial auto`: how many trials share a GPU, from what one takes."""

from pathlib import Path

import pytest

import engine.execution.gpu_share
from core.errors import PlanError
from engine.execution.gpu_share import CONTEXT, Memory, measured_share, peak_memory, share
from engine.planning.run_options import Options
from tests.trainables.small_trials import small_spec

GIB = 2**30


@pytest.mark.parametrize(
    ("trial", "free", "part"),
    [(10, 100, 1 / 9), (45, 100, 1 / 2), (46, 100, 1.0), (100, 100, 1.0), (300, 100, 1.0), (1, 140, 1 / 126)],
)
def test_nine_tenths_of_the_memory_are_given_away(trial: int, free: int, part: float) -> None:
    assert share(Memory(trial * GIB, free * GIB)) == pytest.approx(part)


def test_trials_of_one_process_share_its_context() -> None:
    memory = Memory(CONTEXT + 2 * GIB, 100 * GIB)
    assert share(memory) == pytest.approx(1 / 34)
    assert share(memory, lanes=8) == pytest.approx(1 / 5)


def test_without_a_gpu_there_is_nothing_to_measure(tmp_path: Path, local_ray: None) -> None:
    assert peak_memory(small_spec(tmp_path).to_dict()) is None
    assert measured_share([small_spec(tmp_path)]) == (0.0, "there is no GPU")


@pytest.mark.skipif("not __import__('torch').cuda.is_available()", reason="measures a GPU's memory, and there is none")
def test_a_trial_on_a_gpu_takes_less_than_there_is(tmp_path: Path) -> None:
    memory = peak_memory(small_spec(tmp_path).to_dict())
    assert memory is not None
    assert engine.execution.gpu_share.CONTEXT < memory.trial < memory.free


@pytest.mark.parametrize("value", ["0.25", 0.25, "auto", None, 0.0])
def test_gpus_per_trial_is_a_number_or_auto(value: object) -> None:
    assert Options(gpus_per_trial=value).gpus_per_trial in (0.25, "auto", None, 0.0)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", ["most", "-1", -0.5])
def test_other_values_are_refused(value: object) -> None:
    with pytest.raises((ValueError, PlanError)):
        Options(gpus_per_trial=value)  # type: ignore[arg-type]
