"""Optimizers without torch's marks for its compiler make the same steps, to the bit."""

import subprocess
import sys

import pytest
import torch

from core import ROOT
from trainables.eager_optimizers import eager
from trainables.registry import OPTIMIZERS

CLASSES = sorted({each.torch_class for each in OPTIMIZERS.values() if hasattr(each, "torch_class")})


def weights(optimizer: type[torch.optim.Optimizer]) -> tuple[list[torch.Tensor], dict]:
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(8, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    made = optimizer(network.parameters(), lr=0.1)  # type: ignore[call-arg]
    for _ in range(4):
        made.zero_grad(set_to_none=True)
        network(torch.randn(3, 8)).square().sum().backward()
        made.step()
        made.load_state_dict(made.state_dict())
    return [value.detach() for value in network.parameters()], made.state_dict()


@pytest.mark.parametrize("name", CLASSES)
def test_steps_and_states_are_those_of_torch(name):
    own = getattr(torch.optim, name)
    (ours, state), (theirs, expected) = weights(eager(own)), weights(own)
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    assert state["param_groups"] == expected["param_groups"]
    for key, values in expected["state"].items():
        for entry, value in values.items():
            assert torch.equal(torch.as_tensor(state["state"][key][entry]), torch.as_tensor(value))


def test_there_are_such_optimizers():
    assert {"SGD", "Adam"} <= set(CLASSES)


def test_a_step_imports_no_compiler():
    code = (
        "import sys, torch; from trainables.eager_optimizers import eager; "
        "value = torch.nn.Parameter(torch.ones(2)); made = eager(torch.optim.SGD)([value], lr=0.1); "
        "value.sum().backward(); made.step(); made.zero_grad(); made.load_state_dict(made.state_dict()); "
        "print('torch._dynamo' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
