"""The names of the networks that torchvision and timm have; imports either only when asked."""

from difflib import get_close_matches
from functools import cache

NEAREST = 5
NO_TIMM = "needs the package timm: `pip install timm`, or this project's extra `timm`"


@cache
def torchvision_names() -> frozenset[str]:
    """torchvision's classification networks, such as efficientnet_b0."""
    from torchvision import models

    return frozenset(models.list_models(module=models))


@cache
def timm_names() -> frozenset[str]:
    """timm's networks, such as convnext_atto, and with the tags of their weights; none where it is not installed."""
    try:
        import timm
    except ImportError:
        return frozenset()
    return frozenset(timm.list_models()) | frozenset(timm.list_models(pretrained=True))


def library_has(architecture: str) -> bool:
    """Whether either has a network of this name."""
    return architecture in torchvision_names() or architecture in timm_names()


def unknown(name: str, library: str, names: frozenset[str]) -> str | None:
    """What is wrong with a network's name; None if the library has it."""
    if name in names:
        return None
    if library == "timm" and not names:
        return NO_TIMM
    near = get_close_matches(name.casefold(), sorted(names), NEAREST, cutoff=0.4) or sorted(names)[:NEAREST]
    return (
        f"{library} has no classification network {name!r}; did you mean {near[0]!r}? near: {', '.join(near)} "
        f"({len(names)} in all, by {library}.{'models.' if library == 'torchvision' else ''}list_models())"
    )
