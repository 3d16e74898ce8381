"""Failures: one class a group of statuses, and below it one a status, made from the library's own table."""

from __future__ import annotations

import json
from typing import Any, Optional

from . import _ffi


class GameForgeError(Exception):
    """A call or a job that failed.

    status:    the number, as gf_status has it.
    name:      "queue_full".
    retryable: whether the same call may succeed later.
    hint:      what to do about it.
    causes:    what lower layers said, from near to far: dicts of status, name, message.
    """

    def __init__(
        self,
        message: str,
        status: int = 901,
        name: str = "internal",
        retryable: bool = False,
        hint: str = "",
        causes: Optional[list[dict[str, Any]]] = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.name = name
        self.retryable = retryable
        self.hint = hint
        self.causes = causes or []

    def __str__(self) -> str:
        return f"{self.name} ({self.status}): {self.message}" if self.message else f"{self.name} ({self.status})"


class CallerError(GameForgeError):
    """1xx: an argument, a name or a handle is wrong."""


class FlowError(GameForgeError):
    """2xx: cancelled, timed out, refused for now."""


class MemoryOrDeviceError(GameForgeError):
    """3xx: out of memory, device lost, backend missing."""


class DataError(GameForgeError):
    """4xx: a file is not what it should be."""


class EnvironmentFailure(GameForgeError):
    """5xx: disk, network, servers."""


class InternalError(GameForgeError):
    """9xx: a bug of the library's."""


_groups: dict[int, type[GameForgeError]] = {
    1: CallerError,
    2: FlowError,
    3: MemoryOrDeviceError,
    4: DataError,
    5: EnvironmentFailure,
    9: InternalError,
}
_classes: dict[int, type[GameForgeError]] = {}


def error_class(status: int) -> type[GameForgeError]:
    """The class that a status is raised as: QueueFull for 205, a subclass of FlowError. A status that is newer than the
    table is raised as its group."""
    if not _classes:
        from .library import status_table

        for row in status_table():
            if row.status == 0:
                continue
            base = _groups.get(row.status // 100, GameForgeError)
            name = "".join(word.capitalize() for word in row.name.split("_"))
            _classes[row.status] = type(name, (base,), {"__doc__": row.hint, "__module__": __name__})
    return _classes.get(status, _groups.get(status // 100, GameForgeError))


def error_from(described: dict[str, Any]) -> GameForgeError:
    """The exception for an object of gf_last_error_json or gf_job_error_json."""
    status = int(described.get("status", 901))
    return error_class(status)(
        str(described.get("message", "")),
        status=status,
        name=str(described.get("name", "unknown")),
        retryable=bool(described.get("retryable", False)),
        hint=str(described.get("hint", "")),
        causes=list(described.get("causes", [])),
    )


def check(status: int) -> None:
    """Raises the thread's last error unless the status is 0."""
    if status == _ffi.OK:
        return
    library = _ffi.load_library()
    described = json.loads(_ffi.text_of(library.gf_last_error_json) or "{}")
    if described.get("status") != status:  # The table of texts may be of a call before; the number never is.
        described = {"status": status, "name": library.gf_status_name(status).decode("utf-8")}
    raise error_from(described)
