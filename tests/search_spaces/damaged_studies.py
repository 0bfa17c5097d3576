"""Study files built from the schema and then damaged at random, as text: what a user may hand to `plan`.

A mapping is a list of (key, value) pairs, so that a key may stand twice; text is written as it is, so that any scalar
of YAML may stand anywhere.
"""

import json
from typing import Any

from hypothesis import strategies as st

from search_spaces.study import SAMPLERS, AblationStudy, SearchStudy
from search_spaces.trial_schedulers import TRIAL_SCHEDULERS

SCALARS = (
    *(
        "",
        "~",
        "null",
        "true",
        "False",
        "no",
        "off",
        "=",
        "<<",
        "-",
        "?",
        "...",
        "---",
        "!",
        "!!str 1",
        "!!int x",
        "!tag x",
    ),
    *("0", "-1", "010", "0x1F", "0o17", "2:1", "1_000", "1e-3", ".5", "1.", "+3", "1e999", ".inf", ".nan", "-0.0"),
    *("9007199254740993", "99999999999999999999", "1" * 400, "1" * 5000, "2024-05-01", "2024-05-01 10:00:00", "'0.9'"),
    *(
        '"a\\nb"',
        '"\\0"',
        '"\\ud800"',
        '"\\u0301"',
        "é",
        "e\u0301",
        "' x '",
        "'" + "x" * 300 + "'",
        "../x",
        "/abs",
        "a//b",
    ),
    *(
        "'s3://b/x'",
        "flip + crop=0.5",
        "\u200b",
        "&a",
        "*a",
        "&a [*a]",
        "{}",
        "[]",
        "[[]]",
        "{a: 1}",
        "[1, [2, {b: 3}]]",
    ),
    *("@x", "`x", "%x", "# c", "a: b", "a\tb", "\x00", "\ufeff", "\U0001f600", "'", '"', "[", "}", "| \n x", "> x"),
)
KEYS = (
    "name",
    "epochs",
    "seeds",
    "kind",
    "factors",
    "space",
    "design",
    "levels",
    "settings",
    "path",
    "<<",
    "1",
    "true",
)
SETTINGS: dict[str, tuple[str, ...]] = {
    "optimizer.lr": ("0.01", "1e-3"),
    "optimizer.momentum": ("0.9", "0"),
    "training.batch_size": ("32", "64"),
    "training.normalize": ("true", "false"),
    "model.bn_after": ("[conv1]", "[]"),
    "inspect.image": ("7", "'007'"),
    "loss.name": ("focal", "ce"),
}


def _mapping(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries(fields).map(lambda made: [[key, value] for key, value in made.items()])


def _name(mapping: list[list[Any]]) -> str:
    return next(str(value).lower() for key, value in mapping if key in ("name", "key"))


def _some_of(texts: tuple[str, ...]) -> st.SearchStrategy[str]:
    return st.sampled_from(texts)


settings = st.lists(_some_of(tuple(SETTINGS)), max_size=2, unique=True).flatmap(
    lambda keys: _mapping(**{key: _some_of(SETTINGS[key]) for key in keys})
)
names = _some_of(("off", "on", "0.9", "1e-2", "flip", "crop=0.5", "flip + crop=0.5", "Off", "momentum"))
levels = st.lists(_mapping(name=names, settings=settings), min_size=2, max_size=3, unique_by=_name)
factors = st.lists(_mapping(name=names, levels=levels), min_size=1, max_size=3, unique_by=_name)
parameters = st.one_of(
    _mapping(key=_some_of(("optimizer.lr",)), low=_some_of(("1e-4", "0.001")), high=_some_of(("0.1", "1"))),
    _mapping(
        key=_some_of(("model.hidden",)), kind=_some_of(("int", "float")), low=_some_of(("8",)), high=_some_of(("16",))
    ),
    _mapping(key=_some_of(("optimizer.name",)), choices=_some_of(("[sgd, adam]", "[sgd]"))),
    _mapping(
        key=_some_of(("optimizer.momentum",)),
        when=_some_of(("{optimizer.name: sgd}", "{optimizer.name: [adam]}", "{}")),
    ),
)
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "kind": _some_of(("ablation", "search")),
    "name": _some_of(("mine", "a/b", "2024", "1e-2", "é")),
    "question": _some_of(("Why", "42")),
    "workload": _some_of(("digits",)),
    "baseline": settings,
    "code": _some_of(("[]",)),
    "epochs": _some_of(("1", "2", "20")),
    "metric": _some_of(("test_accuracy", "val_ce")),
    "further_metrics": _some_of(("[]", "[val_roughness]")),
    "seeds": _some_of(("1", "3")),
    "design": _some_of(("one_at_a_time", "leave_one_out", "ladder", "factorial", "path", "confirm")),
    "factors": factors,
    "first_seed": _some_of(("0", "7")),
    "references": _some_of(("{}", "{baseline: 0.780}")),
    "path": _some_of(("[]", "[momentum]")),
    "space": st.lists(parameters, min_size=1, max_size=4, unique_by=_name),
    "samples": _some_of(("2", "5")),
    "sampler": _some_of(SAMPLERS),
    "trial_scheduler": _some_of(tuple(TRIAL_SCHEDULERS)).map(lambda name: [["name", name]]),
    "objectives": _some_of(("[]", "[val_accuracy, seconds]")),
    "enqueue": _some_of(("[]", "[{optimizer.lr: 0.01}]")),
}


@st.composite
def study_files(draw: st.DrawFn) -> bytes:
    """The bytes of a study's file: of all fields of the schema or the required ones, with up to three damages."""
    kind = draw(st.sampled_from([AblationStudy, SearchStudy]))
    required = [name for name, field in kind.model_fields.items() if field.is_required()]
    optional = [name for name in kind.model_fields if name not in required and name != "kind"]
    chosen = [*required, *draw(st.lists(st.sampled_from(optional), unique=True, max_size=3))]
    tree = [[name, draw(FIELDS[name])] for name in chosen]
    for _ in range(draw(st.integers(0, 3))):
        _damage(draw, tree)
    data = "".join(f"{key}: {_written(value)}\n" for key, value in tree).encode()
    if draw(st.integers(0, 9)) == 0:
        at = draw(st.integers(0, len(data)))
        data = data[:at] + draw(st.binary(max_size=3)) + data[at + draw(st.integers(0, 3)) :]
    return data


def _damage(draw: st.DrawFn, tree: list[Any]) -> None:
    """Drop, double, rename or retype a field somewhere in a tree of pairs."""
    spots = list(_pairs(tree))
    owner, i = draw(st.sampled_from(spots)) if spots else (tree, 0)
    what = draw(st.sampled_from(("drop", "double", "rename", "retype", "retype", "retype", "add")))
    if what == "add" or not spots:
        owner.append([draw(st.sampled_from(KEYS)), draw(st.sampled_from(SCALARS))])
    elif what == "drop":
        del owner[i]
    elif what == "double":
        owner.append([owner[i][0], draw(st.sampled_from([owner[i][1], *SCALARS]))])
    elif what == "rename":
        owner[i] = [draw(st.sampled_from([owner[i][0][:-1], owner[i][0].upper(), *KEYS])), owner[i][1]]
    else:
        owner[i] = [owner[i][0], draw(st.sampled_from(SCALARS))]


def _pairs(tree: Any) -> list[tuple[list[Any], int]]:
    """(mapping, position) of every field in the tree."""
    if not isinstance(tree, list):
        return []
    own = [(tree, i) for i, each in enumerate(tree) if _is_pair(each)]
    inner = [each[1] if _is_pair(each) else each for each in tree]
    return [*own, *(spot for each in inner for spot in _pairs(each))]


def _is_pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str)


def _written(value: Any) -> str:
    """A value in YAML's flow style."""
    if isinstance(value, str):
        return value
    if all(map(_is_pair, value)) and value:
        return "{" + ", ".join(f"{json.dumps(key)}: {_written(each)}" for key, each in value) + "}"
    return "[" + ", ".join(map(_written, value)) + "]" if value else "{}"
