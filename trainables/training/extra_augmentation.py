"""The user's own augmentation: a function of whole batches, or torchvision's pipeline, which takes one image a time."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from core.user_code.references import UserCodeError, defined_at, fault, load
from trainables.training.rng import RngContext


def augmented(reference: str, images: Tensor, seed: int) -> Tensor:
    """The images (B, C, H, W) uint8, changed with draws from `seed`; UserCodeError for what is no such batch.

    The function gets a generator on the images' device; torch's, numpy's and Python's own start from the seed too.
    """
    change = load(reference)
    pipeline = isinstance(change, nn.Module) or type(change).__module__.startswith("torchvision.transforms.")
    own = _each(change) if pipeline else change
    if isinstance(change, type) or not callable(own):
        what = "is a class; name an instance" if isinstance(change, type) else f"is no function but {change!r}"
        raise UserCodeError(f"{reference}: {what} ({defined_at(change)})")
    generator = torch.Generator(images.device).manual_seed(seed)
    try:
        with RngContext(images.device, seed, libraries=True), torch.no_grad():
            found = own(images.clone(), generator)
    except (Exception, SystemExit) as error:
        raise fault(reference, "fails on a batch", error, change) from error
    if not isinstance(found, Tensor) or found.dtype != images.dtype or found.shape != images.shape:
        given = f"{found.dtype} {tuple(found.shape)}" if isinstance(found, Tensor) else f"a {type(found).__name__}"
        expected = f"{images.dtype} {tuple(images.shape)} is expected, as it was given"
        raise UserCodeError(f"{reference}: gives {given} where {expected} ({defined_at(change)})")
    return found


def _each(pipeline: Any) -> Callable[[Tensor, torch.Generator], Tensor]:
    """A pipeline draws once a call, so that each image is given to it alone."""
    return lambda images, _: torch.stack([pipeline(image) for image in images])
