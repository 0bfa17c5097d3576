"""Whose a run is, and what of it needs consent: what its record would execute or connect to.

A run is this user's if its study.json has this user's signature; any other is a stranger's. Of one's own run, a file
that is no longer what study.json says of it is a stranger's too. `trust` makes what there is now this user's.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from hashlib import sha256
from importlib.machinery import all_suffixes
from pathlib import Path, PurePath
from typing import Any

from analysis.records.run_directory import RunDirectory
from core.errors import PlanError
from core.user_code.copies import digest, digests
from core.value_words import cut, listed, shown
from engine.planning.own_code import extensions, references, scripts
from engine.planning.paths import DATA, WEIGHTS
from engine.runlog.signature import canonical, is_valid, key_file
from engine.runlog.study_file import Record, hold, write

SHOWN = 3  # names in a sentence
LONGEST = 80  # characters of a reference or an address
_trusted: dict[str, Record] = {}
"""by the digest of a record that this command was told to trust, what it signed: the folder may be read-only, and a
URL's mirror is read again"""


def refuse_strangers(
    run: RunDirectory, record: Record, given: Mapping[str, Any] | None = None, how: str = "`--trust`"
) -> None:
    """PlanError, with `how` to go on, if the run's record would execute what is not this user's; and, of a command that
    connects, if it would connect to what is neither of this user's record nor among the options `given` now."""
    code, servers = executed(record), connected(record, given or {})
    labels = record["request"]["options"].get("folders", {})
    outside = [label for label in labels if not re.fullmatch(r"[\w-]*", label)]
    if outside := [*outside, *(name for name in code if ".." in PurePath(name).parts)]:
        raise PlanError(f"{run.study}: {listed([*map(shown, outside)], SHOWN)} would lead out of {run.code}")
    if _is_trusted(record):
        return
    faults: list[str] = []
    if not is_valid(record):
        if code or (servers and given is not None):
            where = f" (files in {run.code})" if code and record.get("code") else ""
            what = f"{_named(code, servers)}{where}"
            faults = [f"{run.root}: is not signed as a run of yours, and its record would execute or connect to {what}"]
            how = f"{how} (once, too, for a run of your own from before signatures or under another {_key_place()})"
    elif code and (changed := _changed(run, record)):
        verb = "is" if len(changed) == 1 else "are"
        faults = [f"{run.root}: {listed(changed, SHOWN)} {verb} not as study.json records, and would be executed"]
    if faults:
        raise PlanError([*faults, f"read that first; whoever trusts it goes on with {how}"])


def needs_consent(run: RunDirectory, record: Record) -> bool:
    """Whether a record, or a file that it would execute, is not this user's."""
    return not _is_trusted(record) and (not is_valid(record) or bool(executed(record) and _changed(run, record)))


def is_strangers(record: Record) -> bool:
    """Whether neither a signature nor --trust says that a record is this user's."""
    return not (_is_trusted(record) or is_valid(record))


def trust(run: RunDirectory, record: Record) -> str:
    """Make a run as it is now this user's: sign its record. Returns a sentence about what that allows."""
    code = record.get("code")
    files = {name: file.read_bytes() for name, file in _files(run).items() if file.is_file()} if code else {}
    new = {**record, **({"code": {**code, "files": digests(files)}} if code else {})}
    new.pop("scripts", None)
    new |= scripts(record["request"])
    _trusted.update({_digest(each): new for each in (record, new)})
    kept = ""
    try:
        with hold(run):
            write(run, new)
    except (OSError, PlanError) as error:
        kept = f", for this command alone, as it cannot be signed now ({error})"
    named = _named(executed(record), connected(record, {}))
    return f"{run.root} is trusted{kept}; it executes or connects to {named or 'nothing'}"


def trusted_code(record: Record) -> dict[str, Any]:
    """What a study.json that goes on with this record says of the run's code: what was found to be so, or trusted."""
    return {key: value for key, value in _trusted.get(_digest(record), record).items() if key == "code"}


def executed(record: Record) -> list[str]:
    """What a record's trials import besides our own: references, and files that register components."""
    request = record["request"]
    return list(dict.fromkeys([*references(request, of_modules=True), *extensions(request)]))


def connected(record: Record, given: Mapping[str, Any]) -> list[str]:
    """The servers that a record's own options name, but for those `given` anew."""
    options = record["request"]["options"]
    found = []
    for name, what, nowhere in (("address", "Ray at", "local"), ("mlflow", "MLflow at", "none")):
        if given.get(name) is None and options.get(name) not in (None, nowhere):
            found.append(f"{what} {_without_user(str(options[name]))}")
    return found


def _named(code: list[str], servers: list[str]) -> str:
    """The first few of what is executed, and all of what is connected to."""
    files = [listed([cut(_printable(name), LONGEST) for name in code], SHOWN)] if code else []
    return ", ".join([*files, *servers])


def read_elsewhere(record: Record) -> list[str]:
    """A sentence about the data and weights that a record names; none where it names none."""
    request = record["request"]
    places = {"data root": request["options"].get("data_root"), "runs to reuse": request["options"].get("reuse_from")}
    named = [f"{what} {shown(place)}" for what, place in places.items() if place]
    named += [f"{key} {shown(value)}" for key, value in _settings(request) if value]
    return [f"the record names, and this reads: {listed(list(dict.fromkeys(named)), SHOWN)}"] if named else []


def _settings(node: Any, inside: str = "") -> Iterator[tuple[str, Any]]:
    """Where data and weights lie, by setting."""
    if isinstance(node, dict | list):
        for key, value in node.items() if isinstance(node, dict) else ((inside, item) for item in node):
            if isinstance(value, str) and (key in DATA or inside == WEIGHTS or key.startswith(f"{WEIGHTS}.")):
                yield key, value
            else:
                yield from _settings(value, key)


def _changed(run: RunDirectory, record: Record) -> list[str]:
    """Files that are no longer, or not, what the record says of them: below code/, and scripts elsewhere."""
    recorded, there = record.get("code", {}).get("files", {}), _files(run)
    names = [*recorded, *(name for name, file in there.items() if name not in recorded and _importable(file))]
    changed = [f"{run.code}/{_printable(name)}" for name in names if not _same(there.get(name), recorded.get(name))]
    before, now = record.get("scripts", {}), scripts(record["request"]).get("scripts", {})
    return changed + [_printable(name) for name, found in now.items() if before.get(name) != found]


def _files(run: RunDirectory) -> dict[str, Path]:
    """The files below the run's code/, and folders elsewhere that links there lead to, by their path there."""
    found = (path for path in sorted(run.code.rglob("*")) if path.is_file() or path.is_symlink())
    return {path.relative_to(run.code).as_posix(): path for path in found}


def _importable(file: Path) -> bool:
    return file.is_dir() or file.name.endswith(tuple(all_suffixes()))  # a .pyc beside its source runs in place of it


def _same(file: Path | None, recorded: str | None) -> bool:
    with suppress(OSError):
        return file is not None and file.is_file() and digest(file.read_bytes()) == recorded
    return False


def _is_trusted(record: Record) -> bool:
    return _digest(record) in _trusted


def _digest(record: Record) -> str:
    return sha256(canonical(record)).hexdigest()


def _without_user(address: str) -> str:
    """An address without the name and password that it may hold."""
    return cut(_printable(re.sub(r"^([\w+.-]+://)?[^/?#]*@", r"\1", address)), LONGEST)


def _printable(text: str) -> str:
    """A stranger's text with its control characters escaped."""
    return repr(text)[1:-1]


def _key_place() -> str:
    try:
        return str(key_file())
    except RuntimeError:
        return "key"
