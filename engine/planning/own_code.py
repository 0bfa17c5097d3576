"""A study's references to the user's own code: short once it is read, copied when a run begins, used by `resume`."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from analysis.records.run_directory import RunDirectory
from core.code_hash import closure_hash
from core.component import REFERENCE
from core.definitions import Ref
from core.files import write_atomically
from core.user_code.copies import Files, collected, digest, digests, file_elsewhere, from_elsewhere, module_file
from core.user_code.references import LIBRARY_PREFIXES, file_at, located, permit, use
from core.value_words import listed
from engine.planning.paths import shortened
from engine.planning.run_options import Options
from search_spaces.study import AnyStudy, parse_study
from trainables.extensions import extend

SHOWN = 3  # files that a sentence names


def with_short_references(study: AnyStudy, options: Options) -> tuple[AnyStudy, Options]:
    """Both with short references to files: relative to the folders of `options.folders`, which are then in use.

    From now on nothing is imported but what they name.
    """
    folders = dict(options.folders)
    tree = shortened(study.model_dump(mode="json"), folders)
    given = shortened(options.model_dump(), folders)
    use(folders)
    permit([*references([tree, given], of_modules=True), *tree["code"], *given["code"]])
    if not folders:
        return study, options
    extend([*tree["code"], *given["code"]])
    return parse_study(tree, study.name), Options.model_validate({**given, "folders": folders})


def code_of(study: AnyStudy) -> dict[str, bytes]:
    """The user's files that a study's references lead to, by their path below the run's code/."""
    named = [located(reference).file for reference in references(study.model_dump(mode="json"))]
    return collected([*filter(None, named), *(file_at(name, f"code: {name}") for name in study.code)])


def uncopied(study: AnyStudy) -> list[str]:
    """A sentence about the modules that a study's references use and no run copies; none where there are none."""
    found = dict[str, None]()
    for place in map(located, references(study.model_dump(mode="json"), of_modules=True)):
        root = place.file or file_elsewhere(place.module)
        files = [*([root] if root and not place.file else []), *(from_elsewhere(root) if root else [])]
        found.update(dict.fromkeys(map(str, files)))
    if not found:
        return []
    what = f"code from other folders: {listed([*found], SHOWN)}"
    return [f"{what}; `run` copies none of it, so trials use what stands there when they start"]


def references(node: Any, of_modules: bool = False) -> Iterator[str]:
    """Those in plain data: to files, and to modules too, but for networks of the libraries."""
    if isinstance(node, dict):
        titled = {"settings", "levels"} & node.keys()  # a level or a factor, whose name is a title
        node = [value for key, value in node.items() if not (titled and key == "name")]
    if isinstance(node, list | tuple):
        for value in node:
            yield from references(value, of_modules)
    elif isinstance(node, str) and (found := REFERENCE.fullmatch(node)):
        yield from [node] if found["file"] or (of_modules and found["module"] not in LIBRARY_PREFIXES) else []


def extensions(request: Mapping[str, Any]) -> list[str]:
    """The files of a request that register components."""
    return [*request["study"].get("code", ()), *request["options"].get("code", ())]


def scripts(request: Mapping[str, Any]) -> dict[str, Any]:
    """What study.json says of files that a request names and no run copies: their digests, by path, or by the place
    below sys.path where it has them; nothing where there are none."""
    found = {}
    named = [match for match in map(REFERENCE.fullmatch, references(request, of_modules=True)) if match]
    files = [*extensions(request), *(match["file"] for match in named if match["file"])]
    places = [(file, Path(file).expanduser()) for file in files]
    places += [place for match in named if match["module"] and (place := module_file(match["module"]))]
    for name, file in places:
        if file.is_absolute() and file.is_file():
            found[name] = digest(file.read_bytes())
    return {"scripts": found} if found else {}


def twins(study: AnyStudy) -> list[str]:
    """Faults of references to files that are one and the same code under two names: what differs by them is nothing."""
    known: dict[tuple[str, str], str] = {}
    faults = []
    for reference in dict.fromkeys(references(study.model_dump(mode="json"))):
        place = located(reference)
        assert place.file
        code = (place.name, closure_hash([Ref(place.file, place.name)]))
        if (other := known.setdefault(code, reference)) != reference:
            faults.append(f"{reference}: is the same code as {other}, to the name; leave one out")
    return faults


def write_code(run: RunDirectory, files: Files) -> None:
    for name, content in files.items():
        write_atomically(run.code / name, lambda temporary, content=content: temporary.write_bytes(content))  # type: ignore[misc]


def copies(run: RunDirectory, labels: Mapping[str, Any]) -> dict[str, str]:
    """By label, the folder of the run's copies."""
    return {label: str(run.code / label) for label in labels}


def code_record(options: Options, files: Files) -> dict[str, Any]:
    """What study.json says of the user's own code; nothing where there is none."""
    return {"code": {"folders": dict(options.folders), "files": digests(files)}} if files else {}


def changed_since(record: Mapping[str, Any]) -> list[str]:
    """Sentences about originals that are no longer what the run has copied."""
    code = record.get("code")
    if not code:
        return []
    changed = []
    for name, recorded in code["files"].items():
        original = _original(name, code["folders"])
        try:
            same = digest(original.read_bytes(), len(recorded) // 2) == recorded  # of old records, eight bytes
        except (OSError, ValueError):  # gone, or on another machine
            continue
        if not same:
            changed.append(str(original))
    if not changed:
        return []
    verb = "was" if len(changed) == 1 else "were"
    what = f"{listed(changed, SHOWN)} {verb} changed since the run began"
    return [f"{what}: it continues with its own copy; a new run takes the new file"]


def whose_code(run: RunDirectory, record: Mapping[str, Any]) -> list[str]:
    """A sentence about the user's own code that a command on this run executes; none where there is none."""
    names = list(record.get("code", {}).get("files", ()))
    if not names:
        return []
    try:
        owner = run.code.owner()
    except (OSError, KeyError):
        owner = "unknown"
    return [f"code of the run's own is executed, from {run.code} (owner {owner}): {listed(names, SHOWN)}"]


def _original(name: str, folders: Mapping[str, str]) -> Path:
    label, _, rest = name.partition("/")
    return Path(folders[label]) / rest if rest and label in folders else Path(folders.get("", "")) / name
