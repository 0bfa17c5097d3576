"""Tables of searches: what settings matter, the best, rungs, the Pareto front."""
