"""How this process allocates memory: tuned for training, for serving, or left as it is."""

import ctypes
import functools
import gc
import mmap
import platform

# Address space for what a training step allocates: 2.1 GB in batches of 128. Memory is used only where it is written.
HEAP_BYTES = 4 * 2**30
LARGE_BLOCK_BYTES = 8 * 2**20
# New Python objects between two garbage collections. Imports and JAX's traces make millions that stay; searching
# them every 700 takes 0.7 s of a start of 10.
GC_THRESHOLD = 50_000

# Parameters of mallopt(3), from malloc.h
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -3, -4, -8


def collect_garbage_less_often() -> None:
    """Raise the threshold of Python's garbage collector, for start-ups that make millions of lasting objects."""
    gc.set_threshold(GC_THRESHOLD, *gc.get_threshold()[1:])


@functools.cache
def keep_freed_memory() -> None:
    """Let glibc keep the memory freed after each training step, in huge pages, for the next step.

    By default it returns to the system and comes back in pages of 4 KiB: 64,000 page faults a step of EfficientNetB0 on
    JAX, 180 ms instead of 90 (2 cores, AMD Zen 4). Kept in small pages, a step takes 130 ms. One arena, because those
    of threads cannot grow past 64 MiB; no ``mmap``, because that always returns memory.
    """
    if not _has_glibc():
        return
    libc = ctypes.CDLL(None)
    for parameter, value in ((M_ARENA_MAX, 1), (M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, -1)):
        libc.mallopt(parameter, value)
    libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    libc.free.argtypes = [ctypes.c_void_p]
    libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    # The heap grows by this much at once, without touching it, and keeps the advice after it is freed.
    if heap := libc.malloc(HEAP_BYTES):
        page = -(-heap // mmap.PAGESIZE) * mmap.PAGESIZE
        libc.madvise(page, HEAP_BYTES - mmap.PAGESIZE, mmap.MADV_HUGEPAGE)
        libc.free(heap)


def return_large_blocks() -> None:
    """Let glibc return large blocks to the system when they are freed, whatever their sizes were before.

    An image of 25 megapixels comes in blocks of 16 MiB; kept, and fragmented by smaller ones, they would add up.
    """
    if _has_glibc():
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK_BYTES)


def _has_glibc() -> bool:
    return platform.libc_ver()[0] == "glibc"
