"""What the library is, and what it needs."""

from __future__ import annotations

import ctypes
import json
from dataclasses import dataclass
from typing import Any, Sequence

from . import _ffi
from .errors import check


@dataclass(frozen=True)
class StatusRow:
    """One row of the library's status table."""

    status: int
    name: str
    severity: int
    retryable: bool
    hint: str


def status_table() -> list[StatusRow]:
    """Every status that the library knows, in the order of their numbers."""
    library = _ffi.load_library()
    rows: list[StatusRow] = []
    row = _ffi.StatusDescription()
    # The end of the table is an answer here: it must not go through check(), which asks for this table.
    while library.gf_status_table(len(rows), ctypes.byref(row)) == _ffi.OK:
        rows.append(StatusRow(row.status, row.name.decode(), row.severity, row.retryable != 0, row.hint.decode()))
    return rows


def library_version() -> str:
    """The library's own version, such as "0.1.0"."""
    return _ffi.load_library().gf_version_text().decode("utf-8")


def version() -> dict[str, Any]:
    """The version of the library and of each part that it was linked with."""
    return json.loads(_ffi.text_of(_ffi.load_library().gf_version_json))


def doctor(model_folders: Sequence[_ffi.PathLike] = (), backend_path: _ffi.PathLike | None = None) -> dict[str, Any]:
    """What generation needs, what of it was found, and under "problems" what is missing and how to get it."""
    library = _ffi.load_library()
    options = _ffi.EngineOptions()
    folders = (ctypes.c_char_p * len(model_folders))(*[_ffi.path_bytes(folder) for folder in model_folders])
    options.model_folders = ctypes.cast(folders, ctypes.POINTER(ctypes.c_char_p)) if model_folders else None
    options.model_folder_count = len(model_folders)
    options.backend_path = _ffi.path_bytes(backend_path) if backend_path is not None else None
    return json.loads(
        _ffi.text_of(lambda buffer, size: library.gf_doctor_json(ctypes.byref(options), buffer, size))
    )


__all__ = ["StatusRow", "check", "doctor", "library_version", "status_table", "version"]
