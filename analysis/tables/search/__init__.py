"""Tables of searches: importance and marginals of settings, the best configurations, rungs, the Pareto front."""
