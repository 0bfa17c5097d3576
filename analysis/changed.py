"""Which test examples a level gains and loses against its baseline: those that turn in the most seeds.

An example that turns one way with one seed and back with another is noise; it counts where one way prevails.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.predictions import class_name

if TYPE_CHECKING:
    from analysis.why import Classes

COLUMNS = (
    *("factor", "level", "baseline_level", "index", "true", "turned", "seeds", "back", "n"),
    *("baseline_says", "level_says"),
)
GAINED, LOST = "gained", "lost"
MAXIMUM_EXAMPLES = 50  # of each comparison, either way


def changed_rows(
    comparison: Mapping[str, Any], pairs: "Sequence[tuple[Classes, Classes]]", names: list[str]
) -> list[dict[str, Any]]:
    """Examples of a comparison that turned right ("gained") and wrong ("lost") in more of the `n` pairs of equal seeds
    than they turned the other way.

    `seeds` counts the pairs in which it turned so, `back` those in which it turned the other way; the first
    MAXIMUM_EXAMPLES by seeds, then by back, then by index. `baseline_says` and `level_says` are the classes named most
    often where it turned so. Pairs are of the same examples each; pairs whose examples differ from the first's are left
    out.
    """
    first = pairs[0][0]
    same = [(a, b) for a, b in pairs if np.array_equal(a.index, first.index) and np.array_equal(a.target, first.target)]
    right = np.stack([[a.right, b.right] for a, b in same])
    turned = {GAINED: ~right[:, 0] & right[:, 1], LOST: right[:, 0] & ~right[:, 1]}
    rows = []
    for way, other in ((GAINED, LOST), (LOST, GAINED)):
        seeds, back = turned[way].sum(axis=0), turned[other].sum(axis=0)
        order = np.lexsort((first.index, back, -seeds))
        for place in order[(seeds > back)[order]][:MAXIMUM_EXAMPLES]:
            said = [
                (int(a.prediction[place]), int(b.prediction[place])) for a, b in _where(same, turned[way][:, place])
            ]
            rows.append(
                {name: comparison[name] for name in ("factor", "level", "baseline_level")}
                | {"index": int(first.index[place]), "true": class_name(names, int(first.target[place]))}
                | {"turned": way, "seeds": int(seeds[place]), "back": int(back[place]), "n": len(same)}
                | {
                    "baseline_says": _most(names, [a for a, _ in said]),
                    "level_says": _most(names, [b for _, b in said]),
                }
            )
    return rows


def _where(pairs: "Sequence[tuple[Classes, Classes]]", flags: NDArray[np.bool_]) -> "list[tuple[Classes, Classes]]":
    return [pair for pair, flag in zip(pairs, flags, strict=True) if flag]


def _most(names: list[str], classes: list[int]) -> str:
    """The class named most often, the first one where two are equal."""
    counts = Counter(classes)
    return class_name(names, min(counts, key=lambda name: (-counts[name], name)))


def changed_table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    texts = dict.fromkeys(("factor", "level", "baseline_level", "true", "turned", "baseline_says", "level_says"), "str")
    counts = dict.fromkeys(("index", "seeds", "back", "n"), "int64")
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(texts | counts)
