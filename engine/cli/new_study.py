"""The study that `new` writes: every field with what is said of it beside the field, two factors or three parameters.

What may be left out stands as a comment, to be uncommented.
"""

import json
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from core.component import did_you_mean
from core.errors import PlanError
from core.metrics import counterpart
from core.text import word
from core.value_words import value_fault
from datasets.registry import DATASETS
from engine.cli.settings import field_docs
from engine.planning.trial_factory import trainable_of
from search_spaces.designs import DESIGNS, Layout
from search_spaces.factors import Factor
from search_spaces.names import StudyName
from search_spaces.study import AblationStudy, SearchStudy, Study
from trainables.config import DEFAULTS, Training
from trainables.registry import LOSSES, OPTIMIZERS, WORKLOADS

SEARCH = "search"
ORDER = (
    *("name", "question", "workload", "baseline", "design", "factors", "space"),
    *("epochs", "samples", "metric", "seeds"),
)
"""of the fields that are given; the others follow as comments"""
WIDTH = 110
RECORDED = {"landmarks": ("test_error_px", "test_nme")}  # of a task: the metric, and a further one
OTHERS = ("test_accuracy", "test_ce")
OF_THE_PROGRAM = {"kind", "path"}  # follows from the other fields; is written by a run


def write_study(file: Path, workload: str, design: str) -> Path:
    """Writes a new study to FILE.yaml and returns its path; PlanError, and no file, with all that is wrong."""
    designs = [*filter(_fitting, DESIGNS), SEARCH]
    faults = list(_file_faults(file))
    if workload not in WORKLOADS:
        faults.append(f"--workload {workload}: is unknown; {did_you_mean(workload, WORKLOADS)}")
    if design not in designs:
        faults.append(f"--design {design}: is none to begin with; {did_you_mean(design, designs)}")
    if faults:
        raise PlanError(faults)
    text = study_text(file, workload, design)
    try:
        with file.open("x", encoding="utf-8") as opened:
            opened.write(text)
    except OSError as error:
        raise PlanError(f"{file}: cannot be written ({error.strerror})") from None
    return file


def _file_faults(file: Path) -> Iterator[str]:
    if file.suffix not in (".yaml", ".yml"):
        yield f"{file}: a study's file ends in .yaml"
    if file.exists():
        yield f"{file}: is there already; give another name, or delete it first"
    if not file.parent.is_dir():
        yield f"{file}: there is no folder {file.parent}"
    try:
        TypeAdapter(StudyName).validate_python(file.stem)
    except ValidationError as error:
        yield f"{str(file)!r}: the study is called as its file: {value_fault(error.errors()[0])}"


def study_text(file: Path, workload: str, design: str) -> str:
    """A study called as its file: valid, and able to run where the workload's data are there."""
    defaults = {**DEFAULTS, **trainable_of(workload).defaults()}  # type: ignore[attr-defined]
    optimizer = OPTIMIZERS[defaults["optimizer.name"]]
    lr = float(defaults.get("optimizer.lr", optimizer.model_fields["lr"].default))
    metric, further = RECORDED.get(LOSSES[defaults["loss.name"]].task, OTHERS)
    given = {
        "name": yaml.safe_dump(file.stem, allow_unicode=True, width=1e9).removesuffix("\n...\n").strip(),
        "workload": workload,
        "baseline": _baseline(defaults),
    }
    if design == SEARCH:
        kind: type[Study] = SearchStudy
        given |= {"question": "Which learning rate, weight decay and schedule suit this data set?", "space": _space(lr)}
        given |= {"samples": str(kind.model_fields["samples"].default)}
    else:
        kind, factors = AblationStudy, _fitting(design, lr)
        given |= {"question": "Do a larger learning rate and a falling one help?", "design": design}
        given |= {"factors": _factors(factors), "references": f'{{"{_cells(design, factors).cells[0].name}": 92 %}}'}
    given |= {"epochs": str(Training.model_fields["epochs"].default), "metric": metric}
    given |= {"seeds": str(kind.model_fields["seeds"].default)}
    examples = {
        "further_metrics": f"[{further}]",
        "trial_scheduler": "{name: asha}",
        "objectives": f"[{counterpart(metric, 'val')}, seconds]",
        "enqueue": f"[{{optimizer.lr: {lr:g}}}]",
    }
    return "\n".join([_head(file, workload, defaults), *_fields(kind, given, examples)])


def _head(file: Path, workload: str, defaults: Mapping[str, Any]) -> str:
    root = " --data-root DIR" if _has_path(defaults) else ""
    return (
        f"# {WORKLOADS[workload][1]}\n"
        f"#   python run_search.py plan {word(file)}{root}    # what it would do, and what is wrong with it\n"
        f"#   python run_search.py run {word(file)}{root}\n"
        f"# docs/studies.md says more of each field. What begins with `# ` and a field's name may be left out.\n"
    )


def _has_path(defaults: Mapping[str, Any]) -> bool:
    kind = DATASETS.get(defaults.get("dataset.name", ""))
    return kind is None or "path" in kind.model_fields


def _fields(kind: type[Study], given: Mapping[str, str], examples: Mapping[str, str]) -> Iterator[str]:
    """The fields in their order, each below what is said of it; `examples` stand in place of defaults."""
    docs = {name: text for owner in reversed(kind.__mro__) for name, text in field_docs(owner).items()}
    for name in (name for name in ORDER if name in kind.model_fields):
        more = f"; {given[name]}: {_lower(type(DESIGNS[given[name]]).__doc__)}" if name == "design" else ""
        yield from _commented(docs[name] + more)
        yield f"{name}:{given[name] if given[name].startswith(chr(10)) else f' {given[name]}'}\n"
    for name, field in kind.model_fields.items():
        if name not in ORDER and name not in OF_THE_PROGRAM:
            default = json.dumps(field.get_default(), default=lambda value: value.model_dump())
            yield from _commented(docs[name])
            yield f"# {name}: {examples.get(name) or given.get(name) or default}\n"


def _lower(doc: str | None) -> str:
    """The first sentence of a docstring, to stand within another."""
    text = " ".join((doc or "").split()).partition(". ")[0].removesuffix(".")
    return text[:1].lower() + text[1:]


def _commented(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)


def _baseline(defaults: Mapping[str, Any]) -> str:
    lines = [f"optimizer.name: {defaults['optimizer.name']}"]
    if model := defaults.get("model.name"):
        lines.append(f"# model.name: {model:<20} # the network; `settings model` lists all")
    else:
        lines.append("# model.name: mine.py:Net          # your network, a class of a file beside this one")
    if not defaults.get("dataset.name"):
        lines.append("# dataset.name: mine.py:Pictures   # your data set, or a name of `list datasets`")
    elif _has_path(defaults):
        lines.append("# dataset.path: DIR                # where its pictures lie, if not below --data-root")
    if LOSSES[defaults["loss.name"]].task != "landmarks":
        lines.append("# metrics: [f1_macro, ece]         # what is recorded beside the task's own metrics")
    return "".join(f"\n  {line}" for line in lines)


def _fitting(design: str, lr: float = 0.01) -> list[Factor]:
    """Two factors in the form of a design: of three levels and two, or of two each; empty where it takes neither."""
    schedule = Factor.of("schedule", {"constant": {}, "cosine": {"schedule.name": "cosine"}})
    for steps in ((1, 3, 10), (1, 3)):
        rates = [float(f"{lr * step:.6g}") for step in steps]
        factors = [Factor.of("learning rate", {f"{rate:g}": {"optimizer.lr": rate} for rate in rates}), schedule]
        try:
            _cells(design, factors)
        except ValueError:
            continue
        return factors
    return []


def _cells(design: str, factors: list[Factor]) -> Layout:
    return DESIGNS[design].layout(factors)


def _factors(factors: list[Factor]) -> str:
    lines = []
    for factor in factors:
        lines += [f"- name: {factor.name}", "  levels:"]
        for level in factor.levels:
            settings = ", ".join(f"{key}: {value}" for key, value in level.settings.items())
            lines.append(f'  - {{name: "{level.name}"{f", settings: {{{settings}}}" if settings else ""}}}')
    return "".join(f"\n{line}" for line in lines)


def _space(lr: float) -> str:
    return (
        f"\n- {{kind: float, key: optimizer.lr, low: {lr / 10:g}, high: {lr * 10:g}, log: true}}"
        "\n- {kind: float, key: optimizer.weight_decay}"
        "\n- {kind: choice, key: schedule.name, choices: [constant, cosine]}"
    )
