"""The run's copies of the user's own code, on whatever node a trial runs."""

from pathlib import Path

from core.storage import Store
from core.user_code.references import permit, use
from trainables.extensions import extend
from trainables.trial.spec import TrialSpec


def use_own_code(spec: TrialSpec) -> None:
    """References in the trial's configuration are to the run's copies from now on; they are fetched from the run's URL
    where this node has none. Without copies, as in a scratch directory, those in use stay in use."""
    if spec.permitted is not None:
        permit(spec.permitted)
    if not spec.own_code:
        return
    run = Path(spec.directory)
    if spec.remote and not (run / "code").is_dir():
        store = Store(spec.remote)
        for name in store.files("code"):
            store.get(name, run / name)
    if (run / "code").is_dir():
        use(spec.own_code)
        extend(spec.extensions)
