"""How many threads libraries may start in a process that scores: cores are for processes."""

import os
from typing import Final

# Read by libraries when they start their threads; what the user has set stays. RAYON: the tokenizers', TOKIO: the object store's.
_VARIABLES: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS", "TOKIO_WORKER_THREADS")


def threads_of_process(processes: int) -> int:
    """Cores for each of so many processes of this machine; at least 1."""
    return max(1, (os.cpu_count() or 1) // processes)


def bound_threads(threads: int = 1) -> None:
    """Bounds every pool of this process, and of libraries that it loads later. threads: of what no score depends on: Arrow's pools.

    Inside an operator it is one, whatever `threads`: part of every version, for sums in another order have other last bits.
    """
    for name in _VARIABLES:
        os.environ.setdefault(name, "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

    import cv2
    import pyarrow as pa
    import threadpoolctl
    import torch

    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    threadpoolctl.threadpool_limits(1)  # of BLAS and OpenMP as they are loaded, numpy's OpenBLAS with a thread a core among them
    pa.set_cpu_count(threads)
    pa.set_io_thread_count(threads)
