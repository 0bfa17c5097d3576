"""Facial expressions, grey, 48 × 48, seven uneven classes."""

from trainables.trainable import VisionTrainable


class ExpressionsCNN(VisionTrainable):
    dataset = "expressions"
    model = "expression_cnn"
