"""Clips the total gradient norm, and records the largest norms for verification."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.nn.utils import clip_grad_norm_, get_total_norm


class GradientClip:
    """Scales all gradients so that their joint 2-norm is at most `limit`; if it is not finite they become 0 or NaN.

    `largest` holds the largest norm before and after clipping, NaN once one was NaN. It is measured again after
    clipping, not taken to be the limit, and stays on the device, so that no step waits for it.
    """

    def __init__(self, limit: float, device: torch.device) -> None:
        self.limit, self.steps = limit, 0
        self.largest = torch.zeros(2, device=device)

    def __call__(self, parameters: Iterable[nn.Parameter]) -> None:
        trained = [parameter for parameter in parameters if parameter.grad is not None]
        before = clip_grad_norm_(trained, self.limit)
        after = get_total_norm([parameter.grad for parameter in trained if parameter.grad is not None])
        torch.maximum(self.largest, torch.stack([before, after]), out=self.largest)
        self.steps += 1

    def state_dict(self) -> dict[str, Any]:
        return {"limit": self.limit, "steps": self.steps, "largest": self.largest}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores the recorded norms; those of another limit (a fork's parent) are ignored."""
        if state["limit"] == self.limit:
            self.steps, self.largest = state["steps"], state["largest"].to(self.largest.device)
