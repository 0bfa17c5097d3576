"""The model/dataset pairs, one Ray Trainable each."""
