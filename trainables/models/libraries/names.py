"""The names of the networks that torchvision and timm have; imports either only when asked."""

from collections.abc import Iterable
from difflib import SequenceMatcher
from functools import cache

NEAREST = 5
ALIKE = 0.4  # from here on a name is taken for a misspelt one
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


def libraries_with(architecture: str) -> list[str]:
    """The libraries that have a network of this name."""
    names = {"torchvision": torchvision_names, "timm": timm_names}
    return [library for library, known in names.items() if architecture in known()]


def unknown(name: str, library: str, names: frozenset[str]) -> str | None:
    """What is wrong with a network's name; None if the library has it."""
    if name in names:
        return None
    if library == "timm" and not names:
        return NO_TIMM
    return (
        f"{library} has no classification network {name!r}; {nearest(name, names)} "
        f"({len(names)} in all, by {library}.{'models.' if library == 'torchvision' else ''}list_models())"
    )


def nearest(name: str, names: Iterable[str]) -> str:
    """`did you mean 'b0'? near: b0, b1`, or `such as: …` where none is like it, for an error message."""
    likeness = {each: SequenceMatcher(None, each, name.casefold()).ratio() for each in sorted(names)}
    near = sorted(likeness, key=lambda each: -likeness[each])[:NEAREST]
    meant = f"did you mean {near[0]!r}? near" if likeness[near[0]] >= ALIKE else "such as"
    return f"{meant}: {', '.join(near)}"
