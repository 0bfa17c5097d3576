"""Whether a setting takes effect in a configuration, by the `Needs` of its field."""

import json
from typing import Any

from core.component import Component, Needs
from trainables.config import SINGLE, TrialConfig


def no_effect(config: TrialConfig, key: str) -> str | None:
    """Why a dotted setting changes nothing in a configuration, such as "model.pretrained is false"; None if it counts.

    The names of components (`optimizer.name`) always count. A key of a mapping counts where the configuration kept it.
    """
    kind, _, rest = key.partition(".")
    name, _, entry = rest.partition(".")
    if key in SINGLE or name == "name":
        return None
    component: Component = getattr(config, kind)
    chosen = f"{kind}.name is {json.dumps(getattr(component, 'name', None))}"
    if name not in type(component).model_fields:
        return chosen
    for needs in type(component).model_fields[name].metadata:
        if isinstance(needs, Needs) and not any(needs.met(_value(config, other)) for other in needs.keys):
            return " and ".join(f"{other} is {json.dumps(_value(config, other))}" for other in needs.keys)
    return chosen if entry and entry not in getattr(component, name) else None


def _value(config: TrialConfig, key: str) -> Any:
    kind, _, name = key.partition(".")
    return getattr(getattr(config, kind), name, None)
