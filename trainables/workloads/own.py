"""Any network on any set of classes: the study names both."""

from trainables.trainable import VisionTrainable


class Own(VisionTrainable):
    dataset = model = ""
