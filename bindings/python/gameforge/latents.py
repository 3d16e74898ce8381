"""Latents files: one tensor `latents` in a safetensors file."""

from __future__ import annotations

import ctypes
from array import array
from typing import Any, Sequence

from . import _ffi
from .errors import check

Shape = tuple[int, int, int, int]


def float_buffer(values: Any) -> "ctypes.Array[ctypes.c_float]":
    """A copy of float32 values: array('f'), a NumPy array of float32, or a sequence of numbers."""
    try:
        view = memoryview(values)
    except TypeError:
        return (ctypes.c_float * len(values))(*values)
    if view.format != "f" or not view.c_contiguous:
        raise ValueError(f"latents are float32 in C order; this buffer has the format {view.format!r}")
    return (ctypes.c_float * (view.nbytes // 4)).from_buffer_copy(view.cast("B"))


def read_latents(path: _ffi.PathLike) -> tuple[Shape, "array[float]"]:
    """Shape (images, channels, height, width) and values, half precision widened."""
    library = _ffi.load_library()
    shape = (ctypes.c_uint32 * 4)()
    count = ctypes.c_uint64(0)
    name = _ffi.path_bytes(path)
    check(library.gf_latents_read(name, None, ctypes.byref(count), shape))
    buffer = (ctypes.c_float * count.value)()
    check(library.gf_latents_read(name, buffer, ctypes.byref(count), shape))
    values = array("f")
    values.frombytes(memoryview(buffer).cast("B"))
    return (shape[0], shape[1], shape[2], shape[3]), values


def write_latents(path: _ffi.PathLike, values: Any, shape: Sequence[int]) -> None:
    """Writes float32 values of that shape (images, channels, height, width), whole or not at all."""
    buffer = float_buffer(values)
    lengths = (ctypes.c_uint32 * 4)(*shape)
    wanted = 1
    for length in shape:
        wanted *= length
    if wanted != len(buffer):  # The ABI has no count to compare with, and would read past the end.
        raise ValueError(f"the shape {tuple(shape)} has {wanted} values, not {len(buffer)}")
    check(_ffi.load_library().gf_latents_write(_ffi.path_bytes(path), buffer, lengths))
