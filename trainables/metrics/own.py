"""Calls a user's metric, and says where it failed."""

import random
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Real
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainables.metrics.field import Scores, Targets


class OwnMetricError(RuntimeError):
    """A user's function raised, or returned what is no number."""


def own_value(reference: str, scores: "Scores", targets: "Targets", seed: int) -> float:
    """The value of the user's function `reference`; OwnMetricError with the file and the line where it fails.

    It is given copies, so that it changes no other metric, and what it draws from a global generator depends on `seed`
    alone.
    """
    from core.user_code.references import load  # type: ignore[import-not-found]

    function: Any = load(reference)
    with _seeded(seed):
        try:
            found = function(scores.copy(), targets.copy())
        except Exception as error:
            place = _last_own(traceback.extract_tb(error.__traceback__)[1:])
            raise OwnMetricError(
                f"metrics: {reference} raised {type(error).__name__}: {error}{f' ({place})' if place else ''}"
            ) from error
    number = found.item() if getattr(found, "ndim", None) == 0 else found  # of an array or a tensor
    if isinstance(number, bool) or not isinstance(number, Real):
        code = getattr(function, "__code__", None)
        place = f" ({code.co_filename}:{code.co_firstlineno})" if code else ""
        got = type(found).__name__ if number is not None else "nothing"
        raise OwnMetricError(f"metrics: {reference} returned {got}; allowed: one number for the split{place}")
    return float(number)


def _last_own(frames: list[traceback.FrameSummary]) -> str:
    """The last frame in a file that is no library's."""
    own = [frame for frame in frames if "site-packages" not in frame.filename]
    return f"{own[-1].filename}:{own[-1].lineno}" if own else ""


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Python's, NumPy's and torch's global generators start from `seed` in the block, and are as before after it."""
    import numpy as np
    import torch

    from trainables.training.rng import RngContext

    python, numpy = random.getstate(), np.random.get_state()
    random.seed(seed)
    np.random.seed(seed % 2**32)
    try:
        with RngContext(torch.device("cpu"), seed):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
