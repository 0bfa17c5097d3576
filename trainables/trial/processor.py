"""The hardware and torch version that a trial runs on: on others, the same steps differ in their last bits."""

import platform
from functools import cache
from pathlib import Path

import torch


def computer(device: torch.device | None = None) -> dict[str, str]:
    """The device (by default the one that trials take here), the processor beside it, and torch's version."""
    cuda = torch.cuda.is_available() if device is None else device.type == "cuda"
    name = torch.cuda.get_device_name(device) if cuda else "cpu"
    return {"device": name, "processor": _processor(), "torch": torch.__version__}


@cache
def _processor() -> str:
    """The model's name, as far as the system tells, and the vector instructions that torch uses on it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        model = platform.processor() or platform.machine()
    return f"{model}, {torch.backends.cpu.get_cpu_capability()}"
