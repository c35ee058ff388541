"""How torch computes in a process that acts or learns."""

from __future__ import annotations


def prepare_torch(threads: int) -> None:
    """Set the threads of torch and the products of its matrices.

    "medium" lets torch take oneDNN's products on a CPU: on AMD processors two to three times as
    fast as MKL's and as exact, on processors that multiply bfloat16 in hardware (Intel AMX)
    relative errors of 0.4 % in exchange for more speed (torch.set_float32_matmul_precision).
    """
    import torch  # only processes that compute with it load it

    torch.set_num_threads(threads)
    torch.set_float32_matmul_precision("medium")
