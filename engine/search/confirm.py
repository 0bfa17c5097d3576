"""Reruns a search's winners with seeds that it did not use: the best of many is also the luckiest of them."""

from pathlib import Path

from core.errors import PlanError
from engine.planning.run_options import Options, apply
from engine.search.winner import follow_up, read_search
from search_spaces.factors import Factor, Level
from search_spaces.study import AblationStudy, SearchStudy


def confirmation(directory: Path, top: int, given: Options) -> tuple[AblationStudy, Options]:
    """An ablation whose levels are the default and the `top` best of the search in `directory`, and its options."""
    source = read_search(directory, str(directory))
    if len(source.winners) < top:
        raise PlanError(
            f"--top {top}: {directory} has {len(source.winners)} configurations that finished; "
            f"allowed: 1 … {len(source.winners)}"
        )
    options = source.inherited(given)
    study = apply(source.study, Options(settings=options.settings, epochs=options.epochs))
    assert isinstance(study, SearchStudy)
    best = enumerate(source.winners[:top], 1)
    levels = [Level(name=f"#{rank} {winner.cell}", settings=winner.point) for rank, winner in best]
    factor = Factor(name="configuration", levels=(Level(name="default"), *levels))
    who = f"Do the {top} best" if top > 1 else "Does the best"
    question = f"{who} of the {source.tried} configurations of {source.study.name} hold with fresh seeds?"
    return follow_up(study, source, "confirm", question, [factor]), options
