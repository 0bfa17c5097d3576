"""Runs plans on Ray: clusters, the log's callback, progress, budgets, reruns that prove code equivalent."""
