"""Reads a user's study from a YAML file; every fault names its line."""

import re
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any

from core.user_code.references import UserCodeError
from core.value_words import shown
from core.yaml_text import Document, Place, read_bytes, read_document
from search_spaces.study import AnyStudy, StudyError, parsed, with_one_objective
from trainables.config import takes_text
from trainables.extensions import extend

NEEDED = "a study is a mapping with name, workload, epochs, and factors or space"


def read_study(path: Path) -> AnyStudy:
    """A user's study from a YAML file; StudyError if it is unreadable or invalid, with the line of each fault."""
    document = read_yaml(path, _is_text)
    study, faults = None, document.faults
    if isinstance(document.content, dict):
        _extend(document, path)
        study, more = parsed(_with_one_objective(document), document)
        wrong = {line for line, _ in faults}
        faults = sorted([*faults, *(fault for fault in more if fault[0] not in wrong)], key=lambda fault: fault[0])
        faults += [] if study is None else _epochs_faults(study, document)
    elif not faults:
        what = "is empty" if document.content is None else f"holds {shown(document.content)}"
        faults = [(document.line(()) or 1, f"{what}; {NEEDED}")]
    if faults or study is None:
        raise StudyError([f"{path}: line {line}: {fault}" for line, fault in faults])
    return study


def _extend(document: Document, path: Path) -> None:
    """Loads the study's `code`, which may register the design that it names."""
    files = document.content.get("code")
    if isinstance(files, list) and all(isinstance(file, str) for file in files):
        try:
            extend(str((path.parent / Path(file).expanduser()).resolve()) for file in files)
        except UserCodeError as error:
            document.faults += [(document.line(("code",)) or 1, fault) for fault in error.faults]


def _epochs_faults(study: AnyStudy, document: Document) -> list[tuple[int, str]]:
    """Epochs of a study that its own baseline replaces."""
    own = study.baseline.get("training.epochs", study.epochs)
    if own == study.epochs:
        return []
    what = (
        f"epochs: {study.epochs} has no effect: training.epochs is {shown(own)} by the baseline; leave out the latter"
    )
    return [(document.line(("epochs",)) or 1, what)]


def _with_one_objective(document: Document) -> dict[str, Any]:
    """The content with a single objective as its metric; a fault of the document where the metric is another."""
    try:
        return with_one_objective(document.content)
    except StudyError as error:
        document.faults += [(document.line(("objectives",)) or 1, fault) for fault in error.faults]
        return dict(document.content)


def read_yaml(path: Path, is_text: Callable[[Place], bool]) -> Document:
    """A YAML or JSON file and its faults; StudyError if it cannot be opened. `is_text`: see `read_document`."""
    try:
        return read_document(read_bytes(path), is_text)
    except (OSError, ValueError) as error:
        raise StudyError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None


def with_lines(faults: Iterable[str], path: Path, given: Collection[str]) -> list[str]:
    """A plan's faults, with the file and the lines of the setting or field that one begins with; those that the command
    line has `given` itself stand nowhere in the file.
    """
    document = read_yaml(path, _is_text)
    lines: dict[str, list[int]] = {}
    for place, line in document.lines.items():
        match place:
            case (*_, "baseline" | "settings", str(key)) | ("enqueue", _, str(key)) | (str(key),) if key not in given:
                lines.setdefault(key, []).append(line)
            case ("space", int(i), "key"):
                lines.setdefault(str(document.content["space"][i]["key"]), []).append(line)
    for key in list(lines):  # `optimizer.lr.x: 1` is a fault of optimizer.lr
        if key.count(".") > 1:
            lines.setdefault(key.rpartition(".")[0], lines[key])
    if "objectives" in lines:
        lines.setdefault("metric", lines["objectives"])  # which a single objective is
    fields = "|".join(map(re.escape, sorted(lines, key=lambda key: (-key.count("."), -len(key)))))
    # after a cell's name, before what is allowed
    form = re.compile(rf"(?:(?:(?!; ).)*?: )?({fields})(?:\.[^\s:]+)?[: ]")
    inside = re.compile(rf"\(({fields}) = ")  # of data that are not there

    def located(fault: str) -> str:
        if fault.startswith("--"):  # of the command line
            return fault
        if not (found := form.match(fault) or inside.search(fault)):
            return fault
        at = list(dict.fromkeys(lines[found[1]]))
        return f"{path}: line{'s' * (len(at) > 1)} {', '.join(map(str, at))}: {fault}"

    return list(map(located, faults)) if fields else list(faults)


def with_enqueued_lines(faults: Iterable[str], path: Path) -> list[str]:
    """A plan's faults, with the file of `--enqueue` and the line of the setting that `--enqueue: NUMBER: ` is about."""
    document = read_yaml(path, lambda place: False)

    def located(fault: str) -> str:
        if not (found := re.match(r"--enqueue: (\d+): ((\S+): .*)", fault)):
            return fault
        return f"--enqueue {path}: line {document.line((int(found[1]) - 1, found[3]))}: {found[2]}"

    return list(map(located, faults))


def _is_text(place: Place) -> bool:
    """Places of a study that take text: there, a number is text as it is written."""
    match place:
        case ("name" | "question",) | (*_, "name") | ("references", _):
            return True
        case (*_, "baseline" | "settings", str(key)) | ("enqueue", _, str(key)):
            return takes_text(key)
    return False
