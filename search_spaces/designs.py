"""Designs: which cells a study holds, and which pairs of cells its ablation table compares.

A design turns factors into a `Layout` and has traits that say how its rows are read (`core.designs`). The tables follow
from both, so that a new design is one registered class and needs no change elsewhere.
"""

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from core.designs import DesignTraits
from search_spaces.factors import Factor, Level
from search_spaces.names import alike

MOST_CELLS = 100_000
MOST_ENTRIES = 2_000_000  # levels that cells hold in all: of each factor one a cell


@dataclass(frozen=True)
class Cell:
    """One combination of levels: level names by factor, and the dotted settings they add up to."""

    name: str
    levels: Mapping[str, str]
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Comparison:
    """One row of the ablation table: `cell` against `baseline_cell`."""

    factor: str
    level: str
    baseline_level: str
    cell: str
    baseline_cell: str


@dataclass(frozen=True)
class Layout:
    cells: tuple[Cell, ...]
    comparisons: tuple[Comparison, ...]


class Design(ABC):
    """A design by its `name`. One whose question is "steps" has a new layout after each factor that is `chosen`."""

    name: ClassVar[str]
    traits: ClassVar[DesignTraits] = DesignTraits()

    @abstractmethod
    def layout(self, factors: Sequence[Factor], chosen: Sequence[str] = ()) -> Layout:
        """The cells and comparisons of these factors; ValueError if the design does not fit them."""

    def size(self, factors: Sequence[Factor]) -> int:
        """How many cells `layout` makes, computed without making one; 0 where that is not known."""
        return 0


def size_fault(design: Design, factors: Sequence[Factor]) -> str | None:
    """Why a design's cells of these factors are too many to be laid out; None if they are not."""
    if (number := design.size(factors)) > MOST_CELLS:
        return f"design {design.name} has {counted(number)} cells of these factors; allowed: up to {MOST_CELLS:,}"
    if (entries := number * len(factors)) > MOST_ENTRIES:
        what = f"{number:,} cells of {len(factors):,} factors each, {entries:,} levels in all"
        return f"design {design.name} has {what}; allowed: up to {MOST_ENTRIES:,}"
    return None


def counted(number: int) -> str:
    """A number in a message; a very long one as its power of ten."""
    return f"{number:,}" if number < 10**15 else f"about 10^{len(str(number)) - 1}"


def layout_faults(layout: Layout) -> list[str]:
    """Cells or rows of the table that would have one name, as the records are read by name; what a row lacks."""
    cells, rows = layout.cells, layout.comparisons
    faults = ["lays out no cell"] if not cells else []
    faults += [
        f"two cells have one name: {_spelled(cells[i])} and {_spelled(cells[j])}; rename a level or a factor"
        for i, j in alike([cell.name for cell in cells])
    ]
    titles = [f"{row.factor} = {row.level}, not {row.baseline_level}" for row in rows]
    faults += [
        f"two rows of the table have one name: {titles[i]} (cells {rows[i].cell!r} and {rows[j].cell!r}); rename a "
        f"level or a factor"
        for i, j in ([] if faults else alike(titles))
    ]
    names = {cell.name for cell in cells}
    compared = dict.fromkeys(name for row in rows for name in (row.baseline_cell, row.cell))
    return [*faults, *(f"compares cell {name!r}, which it does not lay out" for name in compared if name not in names)]


def _spelled(cell: Cell) -> str:
    return f"{cell.name!r} ({', '.join(f'{factor}: {level}' for factor, level in cell.levels.items())})"


DESIGNS: dict[str, Design] = {}


def register(design: type[Design]) -> type[Design]:
    """Make a design available in studies and on the command line; ValueError if its name is taken."""
    if design.name in DESIGNS:
        raise ValueError(f"design {design.name!r} is registered already")
    DESIGNS[design.name] = design()
    return design


class _OneEach(Design):
    """A design with the first cell, and one more for each level of each factor beyond the first."""

    def size(self, factors: Sequence[Factor]) -> int:
        return 1 + sum(len(factor.levels) - 1 for factor in factors)


@register
class OneAtATime(_OneEach):
    """The baseline, and one cell for every other level of every factor, with all else at the baseline."""

    name = "one_at_a_time"

    def layout(self, factors: Sequence[Factor], chosen: Sequence[str] = ()) -> Layout:
        base = [factor.levels[0] for factor in factors]
        cells, comparisons = [_cell("baseline", factors, base)], []
        for i, factor in enumerate(factors):
            for level in factor.levels[1:]:
                name = f"{factor.name}={level.name}"
                cells.append(_cell(name, factors, [*base[:i], level, *base[i + 1 :]]))
                comparisons.append(Comparison(factor.name, level.name, base[i].name, name, "baseline"))
        return Layout(tuple(cells), tuple(comparisons))


@register
class LeaveOneOut(_OneEach):
    """One cell with all factors at their second level, and per factor one with it alone back at its first level."""

    name = "leave_one_out"

    def layout(self, factors: Sequence[Factor], chosen: Sequence[str] = ()) -> Layout:
        _need_two_levels(self.name, factors)
        full = [factor.levels[1] for factor in factors]
        cells, comparisons = [_cell("full", factors, full)], []
        for i, factor in enumerate(factors):
            name = f"without {factor.name}"
            off = factor.levels[0]
            cells.append(_cell(name, factors, [*full[:i], off, *full[i + 1 :]]))
            comparisons.append(Comparison(factor.name, off.name, full[i].name, name, "full"))
        return Layout(tuple(cells), tuple(comparisons))


@register
class Ladder(_OneEach):
    """Rung 0 has every factor at its first level; each rung turns the next factor on and keeps those before it."""

    name = "ladder"
    traits = DesignTraits("cells", "previous", "rungs")

    def layout(self, factors: Sequence[Factor], chosen: Sequence[str] = ()) -> Layout:
        _need_two_levels(self.name, factors)
        names = ["0 baseline", *(f"{i} + {factor.name}" for i, factor in enumerate(factors, 1))]
        cells, comparisons = [], []
        for rung, name in enumerate(names):
            cells.append(_cell(name, factors, [factor.levels[i < rung] for i, factor in enumerate(factors)]))
            for before in sorted({rung - 1, 0} - {rung, -1}, reverse=True):
                comparisons.append(Comparison("ladder", name, names[before], name, names[before]))
        return Layout(tuple(cells), tuple(comparisons))


@register
class Factorial(Design):
    """Every combination of levels, each against the cell of all first levels."""

    name = "factorial"
    traits = DesignTraits(question="effects")

    def size(self, factors: Sequence[Factor]) -> int:
        return math.prod(len(factor.levels) for factor in factors)

    def layout(self, factors: Sequence[Factor], chosen: Sequence[str] = ()) -> Layout:
        base = tuple(factor.levels[0] for factor in factors)
        cells, comparisons = [], []
        for levels in itertools.product(*(factor.levels for factor in factors)):
            changed = [
                (factor.name, level.name, first.name)
                for factor, level, first in zip(factors, levels, base, strict=True)
                if level is not first
            ]
            name = " + ".join(f"{factor}={level}" for factor, level, _ in changed) or "baseline"
            cells.append(_cell(name, factors, levels))
            if changed:
                joined = [" + ".join(part) for part in zip(*changed, strict=True)]
                comparisons.append(Comparison(joined[0], joined[1], joined[2], name, "baseline"))
        return Layout(tuple(cells), tuple(comparisons))


@register
class Path(_OneEach):
    """From all first levels to all second ones, one factor per step, each the best of the factors that are left.

    `chosen` names the factors of the steps taken so far. Cells are the default, then for each step one per factor left,
    on top of the steps before; the last step is in progress. Comparisons are between the steps taken.
    """

    name = "path"
    traits = DesignTraits("cells", "previous", "steps")

    def layout(self, factors: Sequence[Factor], chosen: Sequence[str] = ()) -> Layout:
        _need_two_levels(self.name, factors)
        by_name = {factor.name: factor for factor in factors}
        on: list[str] = []
        steps = ["0 default"]
        cells, comparisons = [_step(steps[0], factors, on)], []
        for number in range(1, min(len(chosen) + 1, len(factors)) + 1):
            cells += [_step(step_cell(number, name), factors, [*on, name]) for name in by_name if name not in on]
            if number <= len(chosen):
                on.append(by_name[chosen[number - 1]].name)
                steps.append(step_cell(number, on[-1]))
                for before in sorted({number - 1, 0}, reverse=True):
                    comparisons.append(Comparison("path", steps[-1], steps[before], steps[-1], steps[before]))
        return Layout(tuple(cells), tuple(comparisons))


def step_cell(number: int, factor: str) -> str:
    """The cell of a path that turns `factor` on as its step of that number (from 1)."""
    return f"{number} + {factor}"


def cells_ahead(factors: Sequence[Factor], chosen: Sequence[str]) -> int:
    """The most cells that a path may get beyond its layout: the candidates of later steps."""
    left = len(factors) - len(chosen)
    return left * (left - 1) // 2


@register
class Confirm(_OneEach):
    """Configurations as levels of one factor: each against the first; the second, the winner, against the others."""

    name = "confirm"
    traits = DesignTraits("cells", "first")

    def layout(self, factors: Sequence[Factor], chosen: Sequence[str] = ()) -> Layout:
        if len(factors) != 1:
            raise ValueError(f"design confirm takes one factor, of configurations; there are {len(factors)}")
        (factor,) = factors
        first, *others = factor.levels
        pairs = [*((level, first) for level in others), *((others[0], level) for level in others[1:])]
        return Layout(
            tuple(_cell(level.name, factors, [level]) for level in factor.levels),
            tuple(Comparison(factor.name, a.name, b.name, a.name, b.name) for a, b in pairs),
        )


def _step(name: str, factors: Sequence[Factor], on: Sequence[str]) -> Cell:
    return _cell(name, factors, [factor.levels[factor.name in on] for factor in factors])


def _cell(name: str, factors: Sequence[Factor], levels: Sequence[Level]) -> Cell:
    settings = {key: value for level in levels for key, value in level.settings.items()}
    return Cell(name, {factor.name: level.name for factor, level in zip(factors, levels, strict=True)}, settings)


def _need_two_levels(design: str, factors: Sequence[Factor]) -> None:
    wrong = [f"{factor.name} has {len(factor.levels)}" for factor in factors if len(factor.levels) != 2]
    if wrong:
        raise ValueError(f"design {design} takes factors of two levels, off and on; {', '.join(wrong)}")
