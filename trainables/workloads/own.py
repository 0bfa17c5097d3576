"""Any network on any set of classes: the study names both."""

from typing import Any

from trainables.trainable import VisionTrainable


class Own(VisionTrainable):
    @classmethod
    def defaults(cls) -> dict[str, Any]:
        return {}
