"""The specification of a trial, with its paths: everything sent to the process that trains it, as JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Segment:
    """One segment of a trial: trains the epochs after `begins` up to `until`, or up to the budget.

    A segment that ends at `until`, an epoch chosen by a trial scheduler, ends the trial as stopped; with `pause`
    another segment follows, as for a member of a population. `donor` is the member whose weights the segment starts
    from. `continues` is the same trial with fewer epochs, whose checkpoint this one starts from.
    """

    begins: int = 0
    until: int | None = None
    pause: bool = False
    donor: str | None = None
    continues: str | None = None


@dataclass(frozen=True)
class TrialSpec:
    """One trial; every field survives JSON.

    `trial` is its key, `code` the version of the code that computes its numbers. `checkpoint_seconds` after the last
    checkpoint, the next is due. `remote` is the URL that `directory` mirrors. `pictures` says whether thumbnails and
    feature maps are drawn at its end, `stoppable` whether a trial scheduler may end it after any epoch. `own_code` are
    the folders of the user's own code by label, in the run directory, `extensions` the files there that register
    components, `permitted` the references and files that may be imported, as a checkpoint may name others; None: all.
    """

    trial: str
    cell: str
    seed: int
    config: dict[str, Any]
    dataset_file: str
    fingerprint: str
    directory: str
    code: str = ""
    threads: int = 1
    data_root: str | None = None
    cache_dir: str | None = None
    segment: Segment = Segment()
    remote: str | None = None
    pictures: bool = False
    checkpoint_seconds: float = 0.0
    stoppable: bool = False
    own_code: dict[str, str] = field(default_factory=dict)
    extensions: Sequence[str] = ()
    permitted: Sequence[str] | None = None

    def __post_init__(self) -> None:
        if isinstance(self.segment, Mapping):
            object.__setattr__(self, "segment", Segment(**self.segment))

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)
