"""Makes the C library's allocator keep freed memory for the next tensor.

By default glibc maps every tensor of more than 128 KiB (up to 32 MiB, as it learns) from the system anew and gives it
back when it is freed. The system zeroes each page at its first touch, which took about a third of a training step on
48 × 48 images (benchmarks/README.md). Larger ones are mapped as before: kept, they would leave holes of gigabytes
in the memory of a large network's process. See mallopt(3).
"""

import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of malloc.h
LARGEST = 32 * 2**20  # bytes, the most that glibc takes
NEVER = 2**31 - 1


def keep_freed() -> None:
    """Keeps memory freed from now on, and returns what is free now to the system; no-op without glibc's allocator."""
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt") and hasattr(library, "malloc_trim"):
        library.mallopt(M_MMAP_THRESHOLD, LARGEST)
        library.mallopt(M_TRIM_THRESHOLD, NEVER)
        library.malloc_trim(0)
