"""What `prepare` tells about a data set, as rows ready for a table."""

from dataclasses import dataclass

from core.splits import SPLITS
from datasets.audit import audit
from datasets.cache.cache import Prepared


@dataclass(frozen=True)
class Summary:
    """Counts as a table, the rest as (name, value) pairs; everything is text."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    """one a class, then the total"""
    facts: tuple[tuple[str, str], ...]


def summary(prepared: Prepared) -> Summary:
    """Examples of each class and split as a trial sees them, and the facts and the audit of the whole data set."""
    info = prepared.info
    counts = [info.counts[split] for split in SPLITS]
    rows = [(name, *(str(n[label]) for n in counts)) for label, name in enumerate(info.classes)]
    total = ("total", *(str(sum(n)) for n in counts))
    channels, height, width = info.image_shape
    facts = (
        ("data set", info.name),
        ("examples", str(sum(map(sum, prepared.full.counts.values())))),
        *prepared.facts.items(),
        ("image", f"{channels} × {height} × {width}" + (f", of which {info.crop} × {info.crop}" if info.crop else "")),
        *((("landmarks", str(info.n_points)),) if info.n_points else ()),
        ("mean", " ".join(f"{value:.4f}" for value in info.mean)),
        ("std", " ".join(f"{value:.4f}" for value in info.std)),
        ("fingerprint", info.fingerprint),
        ("cache file", f"{prepared.path} ({prepared.path.stat().st_size / 1e6:.1f} MB)"),
        ("decoded", "now" if prepared.decoded else "before"),
        *(("audit", line) for line in audit(prepared).lines or ("nothing doubtful found",)),
    )
    return Summary(("class", *SPLITS), (*rows, total), facts)
