"""Migrations: a database's schema, brought to where a folder of files says, and back."""

from __future__ import annotations

import ctypes
import json
from dataclasses import dataclass
from typing import Any, Callable, Mapping, Optional

from . import _ffi
from .errors import check, error_from

_EVENT_NAMES = {
    1: "waiting",
    2: "retrying",
    3: "checking",
    4: "started",
    5: "statement",
    6: "finished",
    7: "failed",
    8: "ended",
}
_UP, _ROLLBACK, _ROLLBACK_TO, _ROLLBACK_STEPS, _REDO = range(5)
_LOOK_AROUND_S = 0.05  # How late on_event hears of an event, and Ctrl-C is noticed.


@dataclass(frozen=True)
class MigrationEvent:
    """What a migrator tells. `type` is "waiting", "retrying", "checking", "started", "statement", "finished", "failed"
    or "ended"; `text` the migration, whom it waits for, or what failed; `direction` "up", "down" or ""."""

    type: str
    text: str
    direction: str
    version: int
    statement: int
    statement_count: int
    elapsed_us: int
    status: int


class Migrator:
    """One database and one set of migrations. Each method below does its work on a thread of the library and gives the
    report, a dict; `start_apply` gives control back at once, for hosts that poll.

        with gameforge.Migrator("sqlite:game.db", "migrations") as migrator:
            migrator.apply()

    url:     "sqlite:PATH" or "postgresql://..."; None for validate alone.
    folder:  of the files; or `files`, names and texts that the host brings along.
    Times are seconds; None means the library's default. A work that fails raises the error of its status, whose `report`
    has the report as far as it came. Any thread may use a migrator; it does one work at a time.
    """

    def __init__(
        self,
        url: Optional[str],
        folder: Optional[_ffi.PathLike] = None,
        *,
        files: Optional[Mapping[str, str]] = None,
        variables: Optional[Mapping[str, str]] = None,
        allow_out_of_order: bool = False,
        all_or_nothing: bool = False,
        checks: bool = True,
        applied_by: Optional[str] = None,
        lock_wait: Optional[float] = None,
        lock_timeout: Optional[float] = None,
        statement_timeout: Optional[float] = None,
        close_timeout: float = 10.0,
    ) -> None:
        self._handle: Optional[ctypes.c_void_p] = None
        self._library = _ffi.load_library()
        self.close_timeout = close_timeout
        options = _ffi.MigratorOptions()
        options.flags = (1 if allow_out_of_order else 0) | (2 if all_or_nothing else 0) | (0 if checks else 4)
        options.url = _ffi.utf8(url)
        options.folder = _ffi.path_bytes(folder) if folder is not None else None
        options.applied_by = _ffi.utf8(applied_by)
        # The arrays live until the call is over, which copies what it keeps.
        names, texts = _arrays(files or {})
        options.file_names, options.file_texts, options.file_count = names, texts, len(files or {})
        keys, values = _arrays(variables or {})
        options.variable_names, options.variable_values = keys, values
        options.variable_count = len(variables or {})
        for field, seconds in (
            ("lock_wait_us", lock_wait),
            ("lock_timeout_us", lock_timeout),
            ("statement_timeout_us", statement_timeout),
        ):
            if seconds is not None:
                if not seconds > 0:
                    raise ValueError(f"{field[:-3]} is {seconds} seconds; it must be more than 0")
                setattr(options, field, max(1, _ffi.microseconds(seconds)))
        handle = ctypes.c_void_p()
        check(self._library.gf_migrator_open(ctypes.byref(options), ctypes.byref(handle)))
        self._handle = handle

    # ---- What it does ----

    def plan(self, to: int = 0) -> dict[str, Any]:
        """What apply would do, with its SQL, what of it loses data, and warnings. Nothing is written."""
        return self._work("gf_migrator_plan", _goal(_UP, version=to))

    def apply(
        self, to: int = 0, on_event: Optional[Callable[[MigrationEvent], None]] = None
    ) -> dict[str, Any]:
        """Applies what is pending, up to the version `to` where it is not 0."""
        return self._work("gf_migrator_apply", _goal(_UP, version=to), on_event=on_event)

    def rollback(
        self,
        version: Optional[int] = None,
        *,
        to: Optional[int] = None,
        steps: Optional[int] = None,
        cascade: bool = False,
        on_event: Optional[Callable[[MigrationEvent], None]] = None,
    ) -> dict[str, Any]:
        """Undoes one migration, goes back to one, which stays, or undoes the last few. One of the three is needed."""
        if sum(one is not None for one in (version, to, steps)) != 1:
            raise ValueError("a rollback needs a version, to or steps, and one of them alone")
        if version is not None:
            goal = _goal(_ROLLBACK, version=version, cascade=cascade)
        elif to is not None:
            goal = _goal(_ROLLBACK_TO, version=to)
        else:
            goal = _goal(_ROLLBACK_STEPS, steps=steps or 0)
        return self._work("gf_migrator_apply", goal, on_event=on_event)

    def redo(self, version: int = 0, *, cascade: bool = False) -> dict[str, Any]:
        """Undoes a migration, or with 0 the last one, and applies it again."""
        return self._work("gf_migrator_apply", _goal(_REDO, version=version, cascade=cascade))

    def prove(self, to: int = 0, *, in_place: bool = False) -> dict[str, Any]:
        """Tries what apply would do on a scratch copy, or in place in a transaction that is rolled back."""
        return self._work("gf_migrator_prove", _goal(_UP, version=to), 1 if in_place else 0)

    def status(self) -> dict[str, Any]:
        """How each migration stands."""
        return self._work("gf_migrator_status")

    def validate(self) -> dict[str, Any]:
        """Checks the files, and with a database what it has of them: "errors", "warnings", "drift"."""
        return self._work("gf_migrator_validate")

    def round_trip(self) -> dict[str, Any]:
        """Runs every migration up, down and up on a scratch database."""
        return self._work("gf_migrator_round_trip")

    def baseline(self, version: int) -> dict[str, Any]:
        """Records every migration up to a version as applied: for a database that has that schema already."""
        return self._work("gf_migrator_baseline", version)

    def accept_edit(self, version: int, reason: str = "") -> dict[str, Any]:
        """The file as it is now counts as what was applied."""
        return self._work("gf_migrator_repair", 1, version, _ffi.utf8(reason))

    def mark_applied(self, version: int, reason: str = "") -> dict[str, Any]:
        """It was done by hand."""
        return self._work("gf_migrator_repair", 2, version, _ffi.utf8(reason))

    def mark_unapplied(self, version: int, reason: str = "") -> dict[str, Any]:
        """It was undone by hand."""
        return self._work("gf_migrator_repair", 3, version, _ffi.utf8(reason))

    def dump(self) -> str:
        """The schema as a SQL script."""
        return str(self._work("gf_migrator_dump")["dump"])

    def diff(self, *, since_last_run: bool = False) -> list[dict[str, Any]]:
        """Where the schema is not what the applied files make, or not what it was at the end of the last run."""
        report = self._work("gf_migrator_drift" if since_last_run else "gf_migrator_diff")
        return list(report["differences"])

    # ---- For hosts that poll ----

    def start_apply(self, to: int = 0) -> None:
        """Begins to apply and comes back at once; then `poll`, `done` and `result`."""
        check(self._library.gf_migrator_apply(self._open(), ctypes.byref(_goal(_UP, version=to))))

    def poll(self) -> Optional[MigrationEvent]:
        """The next event, or None where there is none now. Never waits."""
        event = _ffi.MigrationEventStruct()
        size = ctypes.c_uint64(0)
        buffer: Any = None
        while True:
            status = self._library.gf_migrator_poll(self._open(), ctypes.byref(event), buffer, ctypes.byref(size))
            if status == _ffi.WOULD_BLOCK:
                return None
            if status != _ffi.BUFFER_TOO_SMALL:
                check(status)
                if buffer is not None:
                    break
            # Asking for the size leaves the event where it is.
            buffer = ctypes.create_string_buffer(max(1, size.value))
        return MigrationEvent(
            type=_EVENT_NAMES.get(event.type, str(event.type)),
            text=buffer.value.decode("utf-8"),
            direction={1: "up", 2: "down"}.get(event.direction, ""),
            version=event.version,
            statement=event.statement,
            statement_count=event.statement_count,
            elapsed_us=event.elapsed_us,
            status=event.status,
        )

    def done(self, timeout: float = 0.0) -> bool:
        """Whether the work is over; waits at most `timeout` seconds for it."""
        info = _ffi.MigratorInfo()
        status = self._library.gf_migrator_wait(self._open(), _ffi.microseconds(timeout), ctypes.byref(info))
        if status == _ffi.TIMED_OUT:
            return False
        check(status)
        return True

    def result(self) -> dict[str, Any]:
        """The report of the work, once it is done. Raises why it could not be carried out."""
        handle = self._open()
        info = _ffi.MigratorInfo()
        check(self._library.gf_migrator_wait(handle, 0, ctypes.byref(info)))
        report = json.loads(_ffi.text_of(lambda b, s: self._library.gf_migrator_report_json(handle, b, s)) or "{}")
        if info.status != _ffi.OK:
            error = error_from(
                json.loads(_ffi.text_of(lambda b, s: self._library.gf_migrator_error_json(handle, b, s)))
            )
            error.report = report  # type: ignore[attr-defined]
            raise error
        return report

    def cancel(self) -> None:
        """Asks the work to stop before its next statement."""
        check(self._library.gf_migrator_cancel(self._open()))

    # ---- Life ----

    def close(self, timeout: Optional[float] = None) -> bool:
        """Cancels what runs, and waits at most `timeout` seconds (else close_timeout) for its end. True when it ended;
        else it ends behind this call."""
        handle, self._handle = self._handle, None
        if handle is None:
            return True
        seconds = self.close_timeout if timeout is None else timeout
        status = self._library.gf_migrator_close(handle, _ffi.microseconds(seconds))
        if status == _ffi.TIMED_OUT:
            return False
        check(status)
        return True

    def __enter__(self) -> "Migrator":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        handle = getattr(self, "_handle", None)
        if handle is not None:
            self._library.gf_migrator_close(handle, 0)

    def _open(self) -> ctypes.c_void_p:
        if self._handle is None:
            raise ValueError("the migrator is closed")
        return self._handle

    def _work(
        self, name: str, *arguments: Any, on_event: Optional[Callable[[MigrationEvent], None]] = None
    ) -> dict[str, Any]:
        passed = [ctypes.byref(one) if isinstance(one, ctypes.Structure) else one for one in arguments]
        check(getattr(self._library, name)(self._open(), *passed))
        try:
            # In short waits, between which Python sees to its signals.
            while not self.done(_LOOK_AROUND_S):
                self._tell(on_event)
        except BaseException:
            # Ctrl-C, or on_event: nobody would take the result.
            self.cancel()
            raise
        self._tell(on_event)
        return self.result()

    def _tell(self, on_event: Optional[Callable[[MigrationEvent], None]]) -> None:
        if on_event is None:
            return
        while (event := self.poll()) is not None:
            on_event(event)


def create_migration(folder: _ffi.PathLike, name: str) -> str:
    """Makes the next numbered file from a template, and gives its path."""
    library = _ffi.load_library()
    size = ctypes.c_uint64(4096)
    # A call that asks for the size alone makes no file.
    encoded, words = _ffi.path_bytes(folder), _ffi.utf8(name)
    while True:
        buffer = ctypes.create_string_buffer(max(1, size.value))
        status = library.gf_migration_create(encoded, words, buffer, ctypes.byref(size))
        if status == _ffi.BUFFER_TOO_SMALL:
            continue
        check(status)
        return buffer.value.decode("utf-8")


def _goal(kind: int, version: int = 0, steps: int = 0, cascade: bool = False) -> _ffi.MigrationGoal:
    return _ffi.MigrationGoal(kind=kind, version=version, steps=steps, cascade=1 if cascade else 0)


def _arrays(texts: Mapping[str, str]) -> tuple[Any, Any]:
    if not texts:
        return None, None
    keys = (ctypes.c_char_p * len(texts))(*[_ffi.utf8(key) for key in texts])
    values = (ctypes.c_char_p * len(texts))(*[_ffi.utf8(value) for value in texts.values()])
    pointer = ctypes.POINTER(ctypes.c_char_p)
    return ctypes.cast(keys, pointer), ctypes.cast(values, pointer)
