"""torch's optimizers without their marks for `torch.compile`.

An optimizer's first call imports torch's compiler, two seconds in every process, to say where compiled code has to
break. Trials compile nothing.
"""

from functools import cache
from inspect import unwrap

import torch
from torch.optim import Optimizer

MARKED = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")


@cache
def eager(optimizer: type[Optimizer]) -> type[Optimizer]:
    """A subclass of the same name and numbers, whose methods are those that torch's decorators wrap.

    `step` keeps the one thing that its decorator does beside: it records no gradients.
    """
    methods = {name: unwrap(getattr(optimizer, name)) for name in MARKED}
    return type(optimizer.__name__, (optimizer,), {**methods, "step": torch.no_grad()(unwrap(optimizer.step))})
