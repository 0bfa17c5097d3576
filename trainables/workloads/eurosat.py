"""UltraNet18 on EuroSAT's satellite tiles, 64 × 64, ten land-use classes."""

from trainables.trainable import VisionTrainable


class EuroSATUltraNet18(VisionTrainable):
    dataset = "eurosat"
    model = "ultranet18"
