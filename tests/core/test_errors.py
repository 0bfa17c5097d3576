"""Refusals list every fault once, and an exception tells what is the matter with the machine."""

import errno
import pickle
from collections.abc import Iterator

import pytest
import torch

from core.errors import FaultError, PlanError, StorageError, disk_fault, out_of_memory
from datasets.base import DataError
from search_spaces.study import StudyError
from trainables.config import ConfigError
from trainables.models.placement import PlacementError

REFUSALS = [PlanError, StorageError, DataError, StudyError, ConfigError, PlacementError]


@pytest.mark.parametrize("kind", REFUSALS)
def test_a_refusal_lists_each_fault_once_in_another_process_too(kind: type[FaultError]) -> None:
    for error in (kind(["b", "a", "b"]), pickle.loads(pickle.dumps(kind(["b", "a"])))):
        assert isinstance(error, FaultError)
        assert (error.faults, str(error)) == (["b", "a"], "b\na")
    assert kind("one sentence").faults == ["one sentence"]


def test_callers_that_know_only_python_s_errors_catch_ours() -> None:
    assert issubclass(StorageError, OSError)
    assert all(issubclass(kind, ValueError) for kind in (StudyError, ConfigError, PlacementError))


def chained(outer: Exception, inner: Exception) -> Exception:
    outer.__context__ = inner
    return outer


def test_a_full_disk_is_recognised_below_a_library_s_own_error() -> None:
    full = OSError(errno.ENOSPC, "No space left on device", "/runs/last.pt")
    assert disk_fault(full) == "the disk is full (/runs/last.pt): No space left on device"
    assert disk_fault(chained(RuntimeError("unexpected pos 1792 vs 1686"), full)) == disk_fault(full)
    assert disk_fault(FileNotFoundError(errno.ENOENT, "No such file")) is None
    assert disk_fault(RuntimeError("of our making")) is None


def allocations() -> Iterator[Exception]:
    yield MemoryError()
    yield torch.OutOfMemoryError("CUDA out of memory")
    try:
        torch.empty(2**55)
    except RuntimeError as error:
        yield error


def test_every_way_of_being_out_of_memory_is_told_from_other_errors() -> None:
    found = list(allocations())
    assert len(found) == 3
    assert all(map(out_of_memory, found))
    assert not out_of_memory(RuntimeError("shapes cannot be multiplied"))
