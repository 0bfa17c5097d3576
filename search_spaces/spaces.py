"""A search space with conditions: Optuna samples it (define-by-run), grids and Sobol points are computed from it.

A parameter without bounds takes the `Range` of the setting's field. One whose `when` does not hold is not part of the
configuration at all.
"""

import json
import math
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from core.component import Component, did_you_mean
from trainables.config import domain, types_of

if TYPE_CHECKING:
    import optuna

Settings = dict[str, Any]
MOST_STEPS = 10**9
MOST_CHOICES = 1000
MOST_NAMED = 100  # values of a condition
MOST_STATES = 20_000  # of conditions, in `size`
LARGEST = {"int": 2.0**53, "float": 1e300}  # end of a range, and its length: beyond, whole numbers have gaps


def _alike(value: Any) -> str:
    """Text that is the same for values that mean the same: 0 and 0.0, but not 0 and false."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_alike, value))}]"
    return json.dumps(int(value) if isinstance(value, float) and value.is_integer() else value)


def _as_values(value: object) -> object:
    return value if isinstance(value, list | tuple) else [value]


class Parameter(Component):
    """One dotted setting that a search varies; `when` names the values other parameters must have for it to exist."""

    key: str
    # not strict, so that a list is taken for the tuple: validators before it hand it a list, not JSON
    when: dict[
        str, Annotated[tuple[Any, ...], Field(strict=False, max_length=MOST_NAMED), BeforeValidator(_as_values)]
    ] = {}
    """one value, or a list of them"""

    def active(self, chosen: Mapping[str, Any]) -> bool:
        return all(key in chosen and chosen[key] in values for key, values in self.when.items())


class Number(Parameter):
    """A range from `low` to `high` (inclusive), on a log scale if `log`; `int` draws whole numbers.

    With a `step`, its values are low, low + step, …, high alone.
    """

    kind: Literal["float", "int"] = "float"
    low: float | None = None
    high: float | None = None
    log: bool = False
    step: float | None = Field(None, exclude_if=lambda step: step is None)  # as in the records made before it

    @model_validator(mode="before")
    @classmethod
    def _bounds_of_the_setting(cls, values: Any) -> Any:
        if not isinstance(values, dict) or not isinstance(key := values.get("key"), str):
            return values
        if values.get("low") is None and values.get("high") is None:
            found = domain(key)
            if found is None:
                raise ValueError(f"{key}: no range is written beside this setting; give low and high")
            return {**values, "low": found.low, "high": found.high, "log": values.get("log", found.log)}
        return values

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low is None or self.high is None or not self.low < self.high or (self.log and self.low <= 0):
            raise ValueError(f"{self.key}: low {self.low} and high {self.high} are no range{' of logs' * self.log}")
        if not max(-self.low, self.high, self.high - self.low) <= LARGEST[self.kind]:
            what = f"{self.key}: low {self.low:g} and high {self.high:g} are too large"
            raise ValueError(f"{what}; allowed: up to {LARGEST[self.kind]:g} and as far apart")
        if self.kind == "int" and not (self.low.is_integer() and self.high.is_integer()):
            raise ValueError(f"{self.key}: low {self.low} and high {self.high} are no whole numbers")
        if self.step is not None and (fault := self._step_fault(self.step, *self.bounds)):
            raise ValueError(f"{self.key}: step {self.step:g} {fault}")
        return self

    def _step_fault(self, step: float, low: float, high: float) -> str | None:
        if step <= 0:
            return "is none; allowed: above 0"
        if self.kind == "int" and not step.is_integer():
            return "is no whole number, as those of a range of whole numbers are"
        if self.log:
            return "has no meaning on a log scale; leave it out, or say log: false"
        if not self.steps:
            return f"is longer than the range from {low:g} to {high:g}"
        if self.steps > MOST_STEPS:
            return f"is too short: {self.steps:,} of them lead from {low:g} to {high:g}; allowed: {MOST_STEPS:,}"
        if self._stepped(self.steps) != high:
            near = [f"{self._stepped(k):.12g}" for k in (self.steps, self.steps + 1)]
            return f"does not lead from low {low:g} to high {high:g}; the nearest high are {near[0]} and {near[1]}"
        return None

    @property
    def steps(self) -> int:
        """How many steps there are from low to high."""
        low, high, step = (Fraction(str(each)) for each in (*self.bounds, self.step))
        return (high - low) // step

    def _stepped(self, k: int) -> Any:
        """The value after `k` steps, as one would write it: 0.3 and not 0.1 + 2 · 0.1 = 0.30000000000000004."""
        value = float(Fraction(str(self.low)) + k * Fraction(str(self.step)))
        return int(value) if self.kind == "int" else value

    @property
    def bounds(self) -> tuple[float, float]:
        assert self.low is not None
        assert self.high is not None
        return self.low, self.high

    def suggest(self, trial: "optuna.Trial") -> Any:
        low, high = self.bounds
        if self.kind == "int":
            return trial.suggest_int(self.key, int(low), int(high), step=int(self.step or 1), log=self.log)
        value = trial.suggest_float(self.key, low, high, step=self.step, log=self.log)
        return value if self.step is None else self.clipped(value)

    def encode(self, value: Any) -> Any:
        """`value` as Optuna stores it: of a float's steps, with the last digit that its own sum has."""
        if self.step is None or self.kind == "int":
            return value
        low, high = self.bounds
        return min(high, max(low, round((value - low) / self.step) * self.step + low))

    def distribution(self) -> "optuna.distributions.BaseDistribution":
        import optuna

        low, high = self.bounds
        if self.kind == "int":
            return optuna.distributions.IntDistribution(int(low), int(high), log=self.log, step=int(self.step or 1))
        return optuna.distributions.FloatDistribution(low, high, log=self.log, step=self.step)

    def holds(self, value: Any) -> bool:
        """Whether `value` is in the range and of its kind."""
        low, high = self.bounds
        whole = self.kind == "float" or isinstance(value, int)
        inside = isinstance(value, int | float) and not isinstance(value, bool) and whole and low <= value <= high
        return inside and (self.step is None or self.clipped(value) == value)

    @property
    def allowed(self) -> str:
        """What `holds` takes."""
        low, high = self.bounds
        steps = {} if self.step is None else {"step": self.step}
        if self.kind == "float":
            return json.dumps({"low": low, "high": high, **steps})
        return f"whole numbers from {int(low)} to {int(high)}" + (f" in steps of {int(self.step)}" if self.step else "")

    def near(self, value: Any) -> str:
        """For a number between two steps, these two."""
        low, high = self.bounds
        if self.step is None or not isinstance(value, int | float) or not low < value < high:
            return ""
        k = math.floor((value - low) / self.step)
        return f"; the nearest are {self._stepped(k):.12g} and {self._stepped(k + 1):.12g}"

    def never(self, value: Any) -> str | None:
        """Why a condition on this value cannot hold."""
        if self.kind == "float" and self.step is None:
            return f"when {self.key} is {value!r}: a range of fractions has no such single value; give it choices"
        if self.holds(value):
            return None
        return f"when {self.key} is {value!r}: it never is; allowed: {self.allowed}{self.near(value)}"

    def among(self, values: Sequence[Any]) -> list[Any]:
        """Its own values that are among these."""
        return [value for value in values if self.holds(value)]

    @property
    def edges(self) -> tuple[Any, ...]:
        """The values at which a setting's own bounds would be crossed first."""
        return tuple(map(self.clipped, self.bounds))

    def at(self, share: float) -> Any:
        """The value at `share` (0 … 1) of the range, on its scale."""
        low, high = self.bounds
        if self.step is not None:
            return self._stepped(min(self.steps, int(share * (self.steps + 1))))  # all steps have equal shares
        if self.kind == "int":
            low, high = low - 0.5, high + 0.5  # so that all whole numbers have equal shares
        value = math.exp(math.log(low) + share * math.log(high / low)) if self.log else low + share * (high - low)
        return self.clipped(value)

    def clipped(self, value: float) -> Any:
        """The nearest value of the range."""
        low, high = self.bounds
        if self.step is not None:
            return self._stepped(min(self.steps, max(0, round((value - low) / self.step))))
        value = min(high, max(low, value))
        return round(value) if self.kind == "int" else value

    def times(self, value: float, factor: float) -> Any:
        """`value` multiplied by a factor, in the range; with steps, at least one step on where there is one."""
        moved = self.clipped(value * factor)
        if self.step is None or factor == 1 or moved != value:
            return moved
        return self.clipped(value + math.copysign(self.step, (factor - 1) * (value or 1)))

    @property
    def values(self) -> Iterator[Any]:
        """All values of a range with steps."""
        return map(self._stepped, range(self.steps + 1))


class Choice(Parameter):
    """One of `choices`: any JSON values, lists of layer names included."""

    kind: Literal["choice"] = "choice"
    choices: tuple[Any, ...] = Field(min_length=1, max_length=MOST_CHOICES)

    @cached_property
    def texts(self) -> dict[str, None]:
        """The JSON text of each choice, as Optuna stores it, since its categories must be scalars."""
        return dict.fromkeys(map(json.dumps, self.choices))

    @cached_property
    def alike(self) -> dict[str, Any]:
        """The first choice of each meaning."""
        return {_alike(choice): choice for choice in reversed(self.choices)}

    def suggest(self, trial: "optuna.Trial") -> Any:
        return json.loads(trial.suggest_categorical(self.key, self._categories))

    @property
    def _categories(self) -> list[str]:
        return list(map(json.dumps, self.choices))

    def encode(self, value: Any) -> str:
        """`value` as Optuna stores it."""
        text = json.dumps(value)
        return text if text in self.texts or not self.holds(value) else json.dumps(self.alike[_alike(value)])

    def distribution(self) -> "optuna.distributions.BaseDistribution":
        import optuna

        return optuna.distributions.CategoricalDistribution(self._categories)

    def holds(self, value: Any) -> bool:
        """Whether `value` is one of the choices."""
        return _alike(value) in self.alike

    @property
    def allowed(self) -> str:
        """What `holds` takes."""
        return json.dumps({"choices": self.choices})

    def never(self, value: Any) -> str | None:
        """Why a condition on this value cannot hold."""
        if self.holds(value):
            return None
        return f"when {self.key} is {value!r}: it never is; {did_you_mean(value, map(str, self.choices))}"

    def among(self, values: Sequence[Any]) -> list[Any]:
        """Its own values that are among these: the choice 8 for a condition on 8.0."""
        wanted = set(map(_alike, values))
        return [choice for choice in self.choices if _alike(choice) in wanted] if wanted else []

    def near(self, value: Any) -> str:
        return ""

    @property
    def values(self) -> Iterator[Any]:
        """All choices, each once."""
        return iter({json.dumps(choice): choice for choice in self.choices}.values())

    @property
    def edges(self) -> tuple[Any, ...]:
        """All choices."""
        return self.choices

    def at(self, share: float) -> Any:
        """The choice at `share` (0 … 1) of the list."""
        return self.choices[min(len(self.choices) - 1, int(share * len(self.choices)))]


def with_kind(parameter: Any) -> Any:
    """A parameter as a study's file holds it; one without `kind` gets the one that its other fields mean.

    `int` is for whole bounds of a setting that takes whole numbers, whose field's range counts where there are none; an
    argument of the user's own takes what its bounds are written as, 4 or 4.0.
    """
    if not isinstance(parameter, dict) or parameter.get("kind") is not None:
        return parameter
    key, low, high = (parameter.get(name) for name in ("key", "low", "high"))
    if low is None and high is None and (found := domain(str(key))):
        low, high = found.low, found.high
    whole = all(isinstance(bound, int) or (isinstance(bound, float) and bound.is_integer()) for bound in (low, high))
    written = all(isinstance(bound, int) for bound in (low, high)) and types_of(str(key)) == {Any}
    kind = (
        "choice" if "choices" in parameter else "int" if written or (whole and types_of(str(key)) == {int}) else "float"
    )
    return {**parameter, "kind": kind}


def with_whole_lists(space: list[Any]) -> list[Any]:
    """A space as a study's file holds it, where a list in a `when` that is a choice of the other parameter, and whose
    items are none, stands for itself: `when: {model.dropout_after: [conv1]}`.
    """
    choices = {str(each.get("key")): each.get("choices") for each in space if isinstance(each, dict)}

    def values(key: str, given: Any) -> Any:
        own = choices.get(key)
        if not isinstance(given, list) or not isinstance(own, list) or given not in own:
            return given
        return given if given and all(item in own for item in given) else [given]

    return [
        {**each, "when": {key: values(key, given) for key, given in each["when"].items()}}
        if isinstance(each, dict) and isinstance(each.get("when"), dict)
        else each
        for each in space
    ]


AnyParameter = Annotated[Number | Choice, Field(discriminator="kind")]
Space = Sequence[Number | Choice]


def suggest(space: Space, trial: "optuna.Trial") -> Settings:
    """One configuration, sampled by Optuna parameter by parameter; a parameter comes after those it depends on."""
    chosen: Settings = {}
    for parameter in space:
        if parameter.active(chosen):
            chosen[parameter.key] = parameter.suggest(trial)
    return chosen


def random_points(space: Space, n: int, seed: int = 0) -> list[Settings]:
    """`n` independent draws from the space."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    return [suggest(space, study.ask()) for _ in range(n)]


def suggest_at(space: Space, shares: Sequence[float]) -> Settings:
    """The configuration at a point of the unit cube, one coordinate per parameter; inactive ones are left out."""
    chosen: Settings = {}
    for parameter, share in zip(space, shares, strict=True):
        if parameter.active(chosen):
            chosen[parameter.key] = parameter.at(share)
    return chosen


def encoded(space: Space, point: Settings) -> Settings:
    """A point's values as Optuna stores them."""
    return {parameter.key: parameter.encode(point[parameter.key]) for parameter in space if parameter.key in point}


def point_faults(space: Space, point: Mapping[str, Any]) -> Iterator[str]:
    """Why a configuration, complete or partial, is not in the space."""
    known = {parameter.key: parameter for parameter in space}
    yield from (f"{key}: not in the space; {did_you_mean(key, known)}" for key in point if key not in known)
    for key, value in point.items():
        if key in known and not known[key].holds(value):
            yield f"{key}: {value!r} is outside of the space; allowed: {known[key].allowed}{known[key].near(value)}"
        elif key in known and known[key].when and not known[key].active(point):
            yield f"{key}: exists only where {json.dumps(known[key].when)}"


def mutable(key: str) -> bool:
    """Whether a setting may change while a trial trains: not those of its data, network or budget."""
    return key.split(".")[0] in ("optimizer", "schedule", "loss", "augmentation", "training") and key not in (
        "training.epochs",
        "training.patience",
    )


def is_finite(space: Space) -> bool:
    """Whether all parameters are choices or have steps."""
    return all(isinstance(parameter, Choice) or parameter.step is not None for parameter in space)


def size(space: Space, most: int = 10**18) -> int | None:
    """How many distinct configurations a finite space holds, at most `most`; None for a space with a float or a
    whole-number range without steps.

    They are counted parameter by parameter, together where the same later parameters have lost a condition. Each of
    them leads to a configuration of its own, so that counting ends where there are `most`; ValueError for conditions
    that leave more than MOST_STATES to be told apart before that.
    """
    if not is_finite(space):
        return None
    found = Counter({frozenset[str](): 1})
    for i, parameter in enumerate(space):
        later = space[i + 1 :]
        depend = [other for other in later if parameter.key in other.when]
        lost = _lost(parameter, depend)
        left = {other.key for other in later}
        counted: Counter[frozenset[str]] = Counter()
        for gone, number in found.items():
            off = frozenset({other.key for other in depend})
            for more, values in [(off, 1)] if parameter.key in gone else lost.items():
                counted[(gone | more) & left] += number * values
        found = counted
        if found.total() >= most:
            return most
        if len(found) > MOST_STATES:
            raise ValueError(f"its conditions have more than {MOST_STATES:,} combinations; allowed: fewer samples")
    return found.total()


def _lost(parameter: Number | Choice, depend: Sequence[Number | Choice]) -> Counter[frozenset[str]]:
    """By the parameters of `depend` whose conditions they break, how many of a parameter's values do so."""
    broken: Counter[frozenset[str]] = Counter()
    conditions = {other.key: other.when[parameter.key] for other in depend}
    named = [value for values in conditions.values() for value in values]
    values = parameter.values if isinstance(parameter, Choice) else dict.fromkeys(parameter.among(named))
    scalars = {key: {value for value in held if isinstance(value, Hashable)} for key, held in conditions.items()}
    for value in values:
        held = scalars if isinstance(value, Hashable) else conditions
        broken[frozenset(key for key in conditions if value not in held[key])] += 1
    if isinstance(parameter, Number) and (others := parameter.steps + 1 - broken.total()):
        broken[frozenset(conditions)] += others
    return broken


def grid(space: Space, chosen: Mapping[str, Any] | None = None) -> Iterator[Settings]:
    """Every distinct configuration of a finite space, each once, in the order of the choices.

    `chosen`: the values of parameters before the space's first.
    """
    chosen = chosen or {}
    if not space:
        yield dict(chosen)
    elif not space[0].active(chosen):
        yield from grid(space[1:], chosen)
    else:
        for value in space[0].values:
            yield from grid(space[1:], {**chosen, space[0].key: value})


def order_faults(space: Space) -> Iterator[tuple[int, str]]:
    """(position, fault) of parameters before one they depend on, that depend on one outside the space, or that appear
    twice.
    """
    before = set[str]()
    for i, parameter in enumerate(space):
        if parameter.key in before:
            yield i, f"space: {parameter.key} stands twice"
        for key in parameter.when:
            if key not in before:
                yield i, f"space: {parameter.key} depends on {key}, which must stand before it"
        before.add(parameter.key)


def condition_faults(space: Space) -> Iterator[tuple[int, str]]:
    """(position, fault) of conditions that never hold: a `when` on a value which the other parameter never has."""
    known = {parameter.key: parameter for parameter in space}
    for i, parameter in enumerate(space):
        for key, values in parameter.when.items():
            if not values:
                yield i, f"space: {parameter.key}: when {key} names no value, so that it never holds"
            if key in known:
                never = filter(None, map(known[key].never, values))
                yield from ((i, f"space: {parameter.key}: {fault}") for fault in never)
