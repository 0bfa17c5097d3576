"""Threads for work that waits for files or runs outside of Python, such as decoding."""

import os
from concurrent.futures import ThreadPoolExecutor


def thread_pool() -> ThreadPoolExecutor:
    """As many threads as there are cores that this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return ThreadPoolExecutor(cores)
