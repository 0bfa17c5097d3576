"""Satellite tiles, 64 × 64, ten kinds of land."""

from trainables.trainable import VisionTrainable


class EuroSATUltraNet18(VisionTrainable):
    dataset = "eurosat"
    model = "ultranet18"
