"""A thread pool for work that waits for files or runs outside of Python, such as decoding."""

import os
from concurrent.futures import ThreadPoolExecutor


def thread_pool() -> ThreadPoolExecutor:
    """A pool with one thread per core that this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return ThreadPoolExecutor(cores)
