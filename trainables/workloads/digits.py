"""Pairs on scikit-learn's digits, 8 × 8: a whole ablation of them takes a minute on a laptop."""

from trainables.trainable import VisionTrainable


class DigitsSmallCNN(VisionTrainable):
    dataset = "digits"
    model = "small_cnn"


class DigitsResNet18(VisionTrainable):
    dataset = "digits"
    model = "resnet18"
