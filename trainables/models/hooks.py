"""Forward hooks that last for a `with` block."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import nn


@contextlib.contextmanager
def watch_outputs(modules: Mapping[str, nn.Module], see: Callable[[str, Any], None]) -> Iterator[None]:
    """Within the block, call `see` with the name and the output of each of these modules that runs."""

    def hook(name: str) -> Any:
        return lambda module, inputs, output: see(name, output)

    handles = [module.register_forward_hook(hook(name)) for name, module in modules.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
