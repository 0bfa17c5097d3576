"""Trains several trials at once in one process: stacked networks, CUDA graphs, and the choice between them."""
