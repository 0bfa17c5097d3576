"""Proposes and queues trials: queues, samplers, populations, paths, and studies of a search's winner."""
