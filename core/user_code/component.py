"""The settings class of objects by reference: `name` is the reference, `args` are keyword arguments of the object."""

import inspect
import json
from collections.abc import Collection, Mapping
from functools import cache
from inspect import Parameter
from typing import Any, ClassVar, Self

from pydantic import ConfigDict, TypeAdapter, ValidationError, model_validator

from core.component import Component, did_you_mean
from core.errors import FaultError
from core.user_code.reads import watched
from core.user_code.references import FORGET, UserCodeError, as_its_file_sees, defined_at, fault, load
from core.value_words import shown, value_fault

NAMED = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)


class OwnComponent(Component):
    """An object of the user's own. It is loaded when its settings are validated, so that what is wrong is a fault."""

    positional: ClassVar[int] = 0
    offered: ClassVar[tuple[str, ...]] = ()
    """what it is given by name where its signature has the name"""

    name: str
    args: dict[str, Any] = {}
    """its own keyword arguments, also one by one: `KIND.args.NAME`"""

    @property
    def own_references(self) -> tuple[str, ...]:
        return (self.name,)

    @property
    def object(self) -> Any:
        return load(self.name)

    @classmethod
    def by_position(cls, value: Any) -> int:
        """How many arguments an object is given by position, before its `args`."""
        return cls.positional

    @classmethod
    def signature(cls, name: str) -> "Signature":
        return signature_of(name, cls.by_position(load(name)))

    @classmethod
    def has_setting(cls, name: str, path: str) -> bool:
        field, _, argument = path.partition(".")
        if not argument or field != "args":
            return super().has_setting(name, path)
        try:
            return cls.signature(name).takes(argument)
        except UserCodeError:  # a fault of its own
            return True

    @model_validator(mode="after")
    def _fits(self) -> Self:
        try:
            if wrong := self.unfit(load(self.name)):
                raise self.refused(wrong)
            signature = self.signature(self.name)
            object.__setattr__(self, "args", signature.completed(self.args, self.offered))
        except ArgumentError as error:
            raise ValueError("; ".join(error.faults)) from None
        except FaultError as error:
            raise ValueError(f"name = {'; '.join(error.faults)}") from None
        return self

    def refused(self, why: str) -> UserCodeError:
        return UserCodeError(f"{self.name}: {why} ({defined_at(self.object)})")

    def unfit(self, value: Any) -> str | None:
        """Why an object is not of this kind; None if it is."""
        return None if callable(value) else f"is no class or function, but {shown(type(value).__name__)}"

    def call(self, *given: Any, failing: str = "cannot be made", **offered: Any) -> Any:
        """Calls the object with its arguments; UserCodeError with the user's line for whatever it raises."""
        signature = self.signature(self.name)
        own = {name: signature.typed(name, value) for name, value in self.args.items()}
        try:
            with watched():
                return self.object(*given, **own, **{key: offered[key] for key in offered if key in signature.own})
        except (Exception, SystemExit) as error:
            raise fault(self.name, failing, error, self.object) from error


class ArgumentError(FaultError, ValueError):
    """An argument that the object does not take; the text begins with `args.NAME = `."""


class Signature:
    """The parameters of an object of the user's that are no arguments by position."""

    def __init__(self, reference: str, positional: int) -> None:
        self.reference, value = reference, load(reference)
        try:
            found = inspect.signature(value, eval_str=True)
        except (TypeError, ValueError, NameError, SyntaxError, AttributeError):
            found = _plain(reference, value)
        every = list(found.parameters.values())
        by_place = [each for each in every if each.kind in (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)]
        taken = {each.name for each in by_place[:positional]}
        self.own = {each.name: each for each in every if each.kind in NAMED and each.name not in taken}
        self.open = any(each.kind is Parameter.VAR_KEYWORD for each in every)
        starred = any(each.kind is Parameter.VAR_POSITIONAL for each in every)
        if len(by_place) < positional and not starred:
            wanted = f"takes {len(by_place)} arguments by position, and is given {positional}"
            raise UserCodeError(f"{reference}: {wanted} ({defined_at(value)})")

    def takes(self, name: str) -> bool:
        return self.open or name in self.own

    def completed(self, given: Mapping[str, Any], offered: Collection[str]) -> dict[str, Any]:
        """The arguments, with the defaults of those that are not given; ArgumentError lists every one that is wrong."""
        allowed = [name for name in self.own if name not in offered]
        at = defined_at(load(self.reference))
        faults = [
            f"args.{name} = {shown(given[name])}: {self.reference} has none ({at}); {did_you_mean(name, allowed)}"
            for name in given
            if (name in offered or name not in self.own) and not self.open
        ]
        given_by_name = f"; given by their names: {', '.join(offered)}" if offered else ""
        faults += [
            f"args.{name} = (not given): {self.reference} needs it ({at}){given_by_name}"
            for name in allowed
            if self.own[name].default is Parameter.empty and name not in given
        ]
        for name, value in given.items():
            try:
                self.typed(name, value)
            except ValidationError as error:
                what = value_fault(error.errors()[0]).partition(" (got ")[0]
                faults.append(f"args.{name} = {shown(value)}: {what} ({at})")
        if faults:
            raise ArgumentError(faults)
        defaults = {name: self.own[name].default for name in allowed if name not in given}
        return {**{name: value for name, value in defaults.items() if _recordable(value)}, **given}

    def typed(self, name: str, value: Any) -> Any:
        """An argument as its annotation has it, such as a list as a tuple; ValidationError if it does not fit."""
        annotation = self.own[name].annotation if name in self.own else Parameter.empty
        default = self.own[name].default if name in self.own else None
        if annotation is Parameter.empty and type(default) in (bool, str) and value is not None:
            annotation = type(default)
        elif annotation is Parameter.empty and type(default) in (int, float) and value is not None:
            annotation = float
            if type(value) is int:
                return value
        if annotation is Parameter.empty:
            return value
        with as_its_file_sees(self.reference):
            adapter = _adapter(annotation)
        return adapter.validate_json(json.dumps(value)) if adapter else value


@cache
def signature_of(reference: str, positional: int) -> Signature:
    return Signature(reference, positional)


FORGET.append(signature_of.cache_clear)


@cache
def _adapter(annotation: Any) -> TypeAdapter[Any] | None:
    """None for an annotation that is no type of data."""
    for config in (ConfigDict(strict=True, arbitrary_types_allowed=False), None):  # a class may have one of its own
        try:
            adapter = TypeAdapter(annotation, config=config)
        except Exception:  # whatever stands there
            continue
        if adapter.pydantic_complete:
            return adapter
    return None


def _plain(reference: str, value: Any) -> inspect.Signature:
    try:
        return inspect.signature(value)
    except (TypeError, ValueError) as error:
        raise UserCodeError(f"{reference}: has no signature that can be read ({error})") from None


def _recordable(value: Any) -> bool:
    try:
        return bool(json.loads(json.dumps(value, allow_nan=False)) == value) or isinstance(value, tuple)
    except (TypeError, ValueError):
        return False
