"""What carries a plan out: Ray, clusters, the callback that logs, progress, budgets, proofs by training again."""
