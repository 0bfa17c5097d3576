"""One training run: learner, batches, random draws, and checks that every setting took effect."""
