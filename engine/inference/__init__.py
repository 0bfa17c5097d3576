"""What is done with trained models: predictions, exports, model cards, one trial trained again."""
