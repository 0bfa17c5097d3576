"""One training run, and its wrapping as a Ray Trainable."""
