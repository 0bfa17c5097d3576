"""What proposes and hands out trials: queues, samplers, populations, paths, and studies around a winner."""
