"""Several trials trained at once in one process: stacked networks, CUDA graphs, and which is quickest."""
