"""Freed memory serves the next tensor, and is given back before the next trial."""

import platform
import subprocess
import sys

import pytest

COUNTED = """
import resource, torch
from trainables.training.malloc import keep_freed
torch.set_num_threads(1)
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for size in (3, 30, 9):  # MiB
        for _ in range(10):
            torch.ones(size * 2**18), torch.ones(size * 2**18)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize() // 2**20
plain = faults()
keep_freed()
faults()
kept, held = faults(), resident()
keep_freed()
print(plain, kept, held, resident())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the allocator is not glibc's")
@pytest.mark.matrix
def test_memory_is_kept_between_tensors_and_given_back_between_trials() -> None:
    done = subprocess.run([sys.executable, "-c", COUNTED], capture_output=True, text=True, check=True)
    plain, kept, held, after = map(int, done.stdout.split())
    assert kept < plain / 20
    assert after < held - 30
