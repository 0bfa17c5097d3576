"""The baseline CNN on facial expressions, grey, 48 × 48, seven imbalanced classes."""

from trainables.trainable import VisionTrainable


class ExpressionsCNN(VisionTrainable):
    dataset = "expressions"
    model = "expression_cnn"
