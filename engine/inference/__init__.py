"""Uses of trained models: predictions, exports, model cards."""
