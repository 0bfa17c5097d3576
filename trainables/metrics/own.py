"""Calls a user's metric, and says where it failed."""

from numbers import Real
from typing import TYPE_CHECKING

from core.user_code.references import UserCodeError, defined_at, fault, load

if TYPE_CHECKING:
    from trainables.metrics.field import Scores, Targets


def own_value(reference: str, scores: "Scores", targets: "Targets", seed: int) -> float:
    """The value of the user's function `reference`; UserCodeError with the file and the line where it fails.

    It is given copies, so that it changes no other metric, and what it draws from a global generator depends on `seed`
    alone.
    """
    import torch

    from trainables.training.rng import RngContext

    function = load(reference)
    with RngContext(torch.device("cpu"), seed, libraries=True):
        try:
            found = function(scores.copy(), targets.copy())
        except (Exception, SystemExit) as error:
            raise fault(
                reference, f"fails on scores {scores.shape} and targets {targets.shape}", error, function
            ) from error
    number = found.item() if getattr(found, "ndim", None) == 0 else found  # of an array or a tensor
    if isinstance(number, bool) or not isinstance(number, Real):
        got = (
            "nothing" if found is None else f"{len(found)} values" if isinstance(found, tuple) else type(found).__name__
        )
        raise UserCodeError(f"{reference}: returns {got}; allowed: one number for the split ({defined_at(function)})")
    return float(number)
