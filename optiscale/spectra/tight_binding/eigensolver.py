"""Batched Hermitian eigensolver: torch's, and on CUDA devices the batched one of cuSOLVER.

`torch.linalg.eigh` runs matrices above 32 x 32 one by one on a CUDA device, several hundred microseconds each.
cuSOLVER's `cusolverDnXsyevBatched` (CUDA 12.6 and later) takes 2 to 12 for n = 36 to 90. It is called here on torch's
memory and stream, from the library that torch has loaded.
"""

from __future__ import annotations

import ctypes
import functools
import os
from typing import Any

import torch
from torch import Tensor

_BATCH = 2048  # matrices a call: the workspace is about 1 MB a matrix, and larger batches are no faster
_TORCH_IS_FAST = 32
_SONAMES = ("libcusolver.so.12", "libcusolver.so.11")  # of CUDA 13 and 12
_CUDA_TYPE = {torch.float32: 0, torch.float64: 1, torch.complex64: 4, torch.complex128: 5}
_VECTORS, _LOWER = 1, 0


def eigh(matrices: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues in ascending order and eigenvectors of Hermitian matrices.

    Parameters
    ----------
    matrices
        (..., n, n), real or complex, on any device. Its memory may be overwritten.

    Returns
    -------
    tuple of Tensor
        (..., n) real, and (..., n, n) with the vectors in columns.
    """
    n = matrices.shape[-1]
    if matrices.is_cuda and n > _TORCH_IS_FAST and (solver := _cusolver()) is not None:
        flat = matrices.reshape(-1, n, n).contiguous()
        values = torch.empty(flat.shape[:-1], dtype=flat.real.dtype, device=flat.device)
        for start in range(0, len(flat), _BATCH):
            solver.solve(flat[start : start + _BATCH], values[start : start + _BATCH])
        # Row-major A is column-major conj(A): its vectors come back as rows, conjugated.
        return values.view(matrices.shape[:-1]), flat.mH.view(matrices.shape)
    values, vectors = torch.linalg.eigh(matrices)
    return values, vectors


@functools.cache
def _cusolver() -> _CuSolver | None:
    """Return the library's solver, None where it has no batched one (CUDA before 12.6)."""
    torch.linalg.eigh(torch.eye(2, device="cuda"))  # makes torch load the library
    for name in _SONAMES:
        try:
            library = ctypes.CDLL(name, mode=os.RTLD_NOLOAD | os.RTLD_NOW)
        except OSError:  # of another CUDA version
            continue
        if hasattr(library, "cusolverDnXsyevBatched"):
            return _CuSolver(library)
    return None


class _CuSolver:
    """Handles of the library, and its argument types."""

    def __init__(self, library: Any) -> None:
        pointer, number, long, size = ctypes.c_void_p, ctypes.c_int, ctypes.c_int64, ctypes.c_size_t
        self._handle, self._parameters = pointer(), pointer()
        _check(library.cusolverDnCreate(ctypes.byref(self._handle)), "cusolverDnCreate")
        _check(library.cusolverDnCreateParams(ctypes.byref(self._parameters)), "cusolverDnCreateParams")
        self._set_stream = library.cusolverDnSetStream
        self._set_stream.argtypes = [pointer, pointer]
        problem = [pointer, pointer, number, number, long, number, pointer, long, number, pointer, number]
        self._buffer_size = library.cusolverDnXsyevBatched_bufferSize
        self._buffer_size.argtypes = [*problem, pointer, pointer, long]
        self._syev = library.cusolverDnXsyevBatched
        self._syev.argtypes = [*problem, pointer, size, pointer, size, pointer, long]

    def solve(self, matrices: Tensor, values: Tensor) -> None:
        """Replace (B, n, n) contiguous matrices by their vectors, in rows and conjugated; fill (B, n) values."""
        batch, n, _ = matrices.shape
        kind = _CUDA_TYPE[matrices.dtype]
        problem = (
            self._handle, self._parameters, _VECTORS, _LOWER, n, kind, matrices.data_ptr(), n,
            _CUDA_TYPE[values.dtype], values.data_ptr(), kind,
        )  # fmt: skip
        on_device, on_host = ctypes.c_size_t(), ctypes.c_size_t()
        with torch.cuda.device(matrices.device):
            _check(self._set_stream(self._handle, torch.cuda.current_stream().cuda_stream), "cusolverDnSetStream")
            sizes = ctypes.byref(on_device), ctypes.byref(on_host)
            _check(self._buffer_size(*problem, *sizes, batch), "cusolverDnXsyevBatched_bufferSize")
            work = torch.empty(max(on_device.value, 1), dtype=torch.uint8, device=matrices.device)
            host = torch.empty(max(on_host.value, 1), dtype=torch.uint8)
            info = torch.empty(batch, dtype=torch.int32, device=matrices.device)
            status = self._syev(
                *problem, work.data_ptr(), on_device.value, host.data_ptr(), on_host.value, info.data_ptr(), batch
            )
            _check(status, "cusolverDnXsyevBatched")
            if bool(info.any()):
                raise RuntimeError(f"cusolverDnXsyevBatched: {int((info != 0).sum())} of {batch} matrices failed")


def _check(status: int, what: str) -> None:
    if status != 0:
        raise RuntimeError(f"{what} returned status {status}")
