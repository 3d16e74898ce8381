"""Engines and their jobs."""

from __future__ import annotations

import ctypes
import json
import time
from array import array
from dataclasses import dataclass
from typing import Any, Iterator, Mapping, Optional, Sequence

from . import _ffi
from .errors import GameForgeError, check, error_from
from .image import Image, _value
from .latents import float_buffer

EVENT_NAMES = {
    1: "accepted",
    2: "rejected",
    3: "started",
    4: "progress",
    5: "image",
    6: "done",
    7: "failed",
    8: "cancelled",
}
STAGE_NAMES = {0: "queued", 1: "loading", 2: "encoding", 3: "sampling", 4: "decoding", 5: "storing"}
STATE_NAMES = {0: "submitted", 1: "queued", 2: "running", 3: "done", 4: "failed", 5: "cancelled", 6: "rejected"}
LOG_LEVELS = {"off": 0, "error": 1, "warning": 2, "info": 3, "debug": 4}

_RANDOM_SEED = 1
_KEEP_LATENTS = 2
_LENIENT_LORA = 4
_MEMORY_MAY_CHANGE_PIXELS = 8
_NOISES = ("torch", "philox")
_PROMPT_SYNTAXES = ("weighted", "plain")
_LONG_PROMPTS = ("chunks", "cut", "refuse")
_TILES = ("", "x", "y", "xy")
_PRIORITIES = ("normal", "high", "low")
# How long a wait stays inside the library before Python may look for Ctrl-C.
_SLICE_S = 0.2


def _id_text(job: _ffi.JobId) -> str:
    return f"{job.high:016x}{job.low:016x}"


@dataclass(frozen=True)
class Event:
    """What an engine tells: `type` and `stage` by name, `job` as Job.id."""

    type: str
    job: str
    host_tag: int
    stage: str
    step: int
    total: int
    image: int
    status: int
    retry_after: float
    at: float

    @property
    def is_terminal(self) -> bool:
        return self.type in ("done", "failed", "cancelled", "rejected")


@dataclass(frozen=True)
class JobInfo:
    """A job as it stands. Times in seconds, 0 until their stage has ended."""

    state: str
    status: int
    stage: str
    step: int
    total: int
    images_ready: int
    image_count: int
    width: int
    height: int
    seed: int
    host_tag: int
    queue_s: float
    load_s: float
    encode_s: float
    sample_s: float
    decode_s: float
    total_s: float

    @property
    def is_over(self) -> bool:
        return self.state in ("done", "failed", "cancelled", "rejected")


class Job:
    """One submitted request. It has no handle: it may be dropped at any time, and goes on."""

    def __init__(self, engine: "Engine", job_id: _ffi.JobId) -> None:
        self._engine = engine
        self._id = job_id
        self.id: str = _id_text(job_id)

    def __repr__(self) -> str:
        return f"<gameforge.Job {self.id}>"

    def info(self) -> JobInfo:
        """How it stands now."""
        raw = _ffi.JobInfoStruct()
        library, handle = self._engine._use()
        check(library.gf_job_status(handle, ctypes.byref(self._id), ctypes.byref(raw)))
        return _job_info(raw)

    def wait(self, timeout: Optional[float] = None) -> JobInfo:
        """Waits until it is over, however it ends. Raises the FlowError "timed_out" when the time is over first."""
        library, handle = self._engine._use()
        raw = _ffi.JobInfoStruct()
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            left = _SLICE_S if deadline is None else max(0.0, min(_SLICE_S, deadline - time.monotonic()))
            status = library.gf_job_wait(handle, ctypes.byref(self._id), _ffi.microseconds(left), ctypes.byref(raw))
            if status != _ffi.TIMED_OUT or (deadline is not None and time.monotonic() >= deadline):
                check(status)
                return _job_info(raw)

    def result(self, timeout: Optional[float] = None) -> list[Image]:
        """Waits, then gives the images; raises why it failed, was rejected or was cancelled."""
        info = self.wait(timeout)
        if info.status != _ffi.OK:
            raise self.error() or GameForgeError(f"the job ended as {info.state}", status=info.status)
        return [self.image(index) for index in range(info.images_ready)]

    def cancel(self, after_image: bool = False) -> None:
        """Asks it to stop: before the next step, or with after_image when the image in work is finished."""
        library, handle = self._engine._use()
        check(library.gf_job_cancel(handle, ctypes.byref(self._id), 1 if after_image else 0))

    def image(self, index: int = 0) -> Image:
        """An image that is ready; may be taken any number of times."""
        library, handle = self._engine._use()
        image = ctypes.c_void_p()
        check(library.gf_job_image(handle, ctypes.byref(self._id), index, ctypes.byref(image)))
        return Image(_value(image))

    def error(self) -> Optional[GameForgeError]:
        """Why it failed, was rejected or was cancelled; None when it did not."""
        library, handle = self._engine._use()
        text = _ffi.text_of(
            lambda buffer, size: library.gf_job_error_json(handle, ctypes.byref(self._id), buffer, size)
        )
        described = json.loads(text)
        if described:
            return error_from(described)
        info = self.info()
        if info.status == _ffi.OK:
            return None
        return error_from({"status": info.status, "name": library.gf_status_name(info.status).decode("utf-8")})

    def report(self) -> dict[str, Any]:
        """What it did: the request with every default filled in, versions, times, memory, warnings."""
        library, handle = self._engine._use()
        return json.loads(
            _ffi.text_of(
                lambda buffer, size: library.gf_job_report_json(handle, ctypes.byref(self._id), buffer, size)
            )
        )

    def parameters_text(self, index: int = 0) -> str:
        """The recipe of an image in the form of stable-diffusion-webui, for Image.save."""
        library, handle = self._engine._use()
        return _ffi.text_of(
            lambda buffer, size: library.gf_job_parameters_text(handle, ctypes.byref(self._id), index, buffer, size)
        )

    def latents(self, index: int = 0) -> "array[float]":
        """The last latents of an image, [channels, height/f, width/f]; the job must have been asked to keep them."""
        library, handle = self._engine._use()
        count = ctypes.c_uint64(0)
        check(library.gf_job_latents(handle, ctypes.byref(self._id), index, None, ctypes.byref(count)))
        buffer = (ctypes.c_float * count.value)()
        check(library.gf_job_latents(handle, ctypes.byref(self._id), index, buffer, ctypes.byref(count)))
        values = array("f")
        values.frombytes(memoryview(buffer).cast("B"))
        return values

    def forget(self) -> None:
        """Drops a job that is over with its results; images that were taken stay."""
        library, handle = self._engine._use()
        check(library.gf_job_forget(handle, ctypes.byref(self._id)))


class Engine:
    """Executors, models and a queue of jobs. Close it with `close()` or a `with` block.

    model_folders:      where models are looked up by name, in this order.
    thread_count:       threads that one executor computes on; 0: the usable cores.
    allow_model_paths:  whether a request may name a model by its path.
    backend_path:       the backend's shared object; None: beside the library.
    config:             a TOML file; what is given here wins over it.
    use_environment:    whether GAMEFORGE_* variables are looked at; they win over the file.
    close_timeout:      seconds that the end of a `with` block waits for running work to stop.
    """

    def __init__(
        self,
        model_folders: Sequence[_ffi.PathLike] = (),
        *,
        executor_count: int = 0,
        thread_count: int = 0,
        queue_limit: int = 0,
        retained_job_count: int = 0,
        log_level: str = "off",
        allow_model_paths: bool = False,
        backend_path: Optional[_ffi.PathLike] = None,
        config: Optional[_ffi.PathLike] = None,
        use_environment: bool = False,
        close_timeout: float = 10.0,
    ) -> None:
        self._handle: Optional[int] = None
        self._library = _ffi.load_library()
        self.close_timeout = close_timeout
        if log_level not in LOG_LEVELS:
            raise ValueError(f"log_level is {log_level!r}; it must be one of {', '.join(LOG_LEVELS)}")

        options = _ffi.EngineOptions()
        loaded = ctypes.c_void_p()
        if config is not None or use_environment:
            name = _ffi.path_bytes(config) if config is not None else None
            check(self._library.gf_config_load(name, 1 if use_environment else 0, ctypes.byref(loaded)))
        try:
            if loaded.value is not None:
                check(self._library.gf_config_read(loaded.value, ctypes.byref(options)))
            for field, value in (
                ("executor_count", executor_count),
                ("thread_count", thread_count),
                ("queue_limit", queue_limit),
                ("retained_job_count", retained_job_count),
                ("log_level", LOG_LEVELS[log_level]),
                ("allow_model_paths", 1 if allow_model_paths else 0),
            ):
                if value:
                    setattr(options, field, value)
            folders = (ctypes.c_char_p * max(1, len(model_folders)))(*[_ffi.path_bytes(f) for f in model_folders])
            if model_folders:
                options.model_folders = ctypes.cast(folders, ctypes.POINTER(ctypes.c_char_p))
                options.model_folder_count = len(model_folders)
            if backend_path is not None:
                options.backend_path = _ffi.path_bytes(backend_path)
            handle = ctypes.c_void_p()
            check(self._library.gf_engine_open(ctypes.byref(options), ctypes.byref(handle)))
            self._handle = _value(handle)
        finally:
            if loaded.value is not None:
                self._library.gf_config_release(loaded.value)

    def _use(self) -> tuple[ctypes.CDLL, int]:
        if self._handle is None:
            raise ValueError("the engine is closed")
        return self._library, self._handle

    def close(self, timeout: Optional[float] = None) -> bool:
        """Cancels what waits and runs, and waits at most `timeout` seconds (else close_timeout) for its end. True when
        it has ended; what has not ends by itself. Allowed more than once."""
        handle, self._handle = self._handle, None
        if handle is None:
            return True
        seconds = self.close_timeout if timeout is None else timeout
        status = self._library.gf_engine_close(handle, _ffi.microseconds(seconds))
        if status == _ffi.TIMED_OUT:
            return False
        check(status)
        return True

    def __enter__(self) -> "Engine":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        # No waiting inside the garbage collector: the threads end by themselves.
        handle, self._handle = getattr(self, "_handle", None), None
        if handle is not None:
            self._library.gf_engine_close(handle, 0)

    def submit(
        self,
        prompt: str,
        *,
        model: str = "gameforge-tiles",
        negative_prompt: Optional[str] = None,
        prompt_2: Optional[str] = None,
        negative_prompt_2: Optional[str] = None,
        width: int = 0,
        height: int = 0,
        steps: int = 0,
        cfg_scale: float = 0.0,
        guidance_rescale: float = 0.0,
        seed: Optional[int] = None,
        sampler: Optional[str] = None,
        schedule: Optional[str] = None,
        image_count: int = 1,
        initial_latents: Any = None,
        keep_latents: bool = False,
        host_tag: int = 0,
        loras: Optional[Mapping[str, float]] = None,
        lenient_loras: bool = False,
        memory_may_change_pixels: bool = False,
        clip_skip: int = 0,
        eta: float = 0.0,
        init_image: Optional[Image] = None,
        mask: Optional[Image] = None,
        strength: float = 0.0,
        noise: str = "torch",
        priority: str = "normal",
        user: Optional[str] = None,
        user_class: Optional[str] = None,
        idempotency_key: Optional[str] = None,
        prompt_syntax: str = "weighted",
        long_prompt: str = "chunks",
        tile: str = "",
    ) -> Job:
        """Hands in a request and answers at once. 0 and None mean the model's default; without a seed one is drawn,
        which Job.info tells. initial_latents: float32, standard normal, [image_count, channels, height/f, width/f].
        loras: names and scales. memory_may_change_pixels: where memory is short the picture may be decoded in tiles, which
        gives other pixels. init_image: begin from it, with `strength` of the steps; mask: white where it is painted
        anew. noise: "torch" (diffusers' pictures) or "philox" (CUDA's). priority: "normal", "high" or "low"; users of one
        priority take turns. idempotency_key: while a job that was submitted with it is known, it is the answer.
        prompt_syntax: "weighted" ((a:1.3), [a] and BREAK as in webui) or "plain". long_prompt, of more than 75 tokens:
        "chunks", "cut" or "refuse". tile: "x", "y" or "xy", the axes along which the picture joins itself."""
        library, handle = self._use()
        request = _ffi.Request()
        request.flags = (_RANDOM_SEED if seed is None else 0) | (_KEEP_LATENTS if keep_latents else 0)
        request.width_px = width
        request.height_px = height
        request.steps = steps
        request.image_count = image_count
        request.cfg_scale = cfg_scale
        request.guidance_rescale = guidance_rescale
        request.seed = seed or 0
        request.host_tag = host_tag
        request.model = _ffi.utf8(model)
        request.prompt = _ffi.utf8(prompt)
        request.prompt_2 = _ffi.utf8(prompt_2)
        request.negative_prompt = _ffi.utf8(negative_prompt)
        request.negative_prompt_2 = _ffi.utf8(negative_prompt_2)
        request.sampler = _ffi.utf8(sampler)
        request.schedule = _ffi.utf8(schedule)
        latents = None
        if initial_latents is not None:
            latents = float_buffer(initial_latents)
            request.initial_latents = ctypes.cast(latents, ctypes.POINTER(ctypes.c_float))
            request.initial_latent_count = len(latents)
        names = list(loras or {})
        if names:
            request.lora_names = (ctypes.c_char_p * len(names))(*[_ffi.utf8(name) for name in names])
            request.lora_scales = (ctypes.c_double * len(names))(*[float((loras or {})[name]) for name in names])
            request.lora_count = len(names)
        if lenient_loras:
            request.flags |= _LENIENT_LORA
        if memory_may_change_pixels:
            request.flags |= _MEMORY_MAY_CHANGE_PIXELS
        request.clip_skip = clip_skip
        request.eta = eta
        request.strength = strength
        request.init_image = None if init_image is None else init_image._handle()
        request.mask = None if mask is None else mask._handle()
        if noise not in _NOISES:
            raise ValueError(f"noise is {noise!r}; it must be one of {', '.join(_NOISES)}")
        request.noise = _NOISES.index(noise)
        if priority not in _PRIORITIES:
            raise ValueError(f"priority is {priority!r}; it must be one of {', '.join(_PRIORITIES)}")
        request.priority = _PRIORITIES.index(priority)
        if prompt_syntax not in _PROMPT_SYNTAXES:
            raise ValueError(f"prompt_syntax is {prompt_syntax!r}; it must be one of {', '.join(_PROMPT_SYNTAXES)}")
        request.prompt_syntax = _PROMPT_SYNTAXES.index(prompt_syntax)
        if long_prompt not in _LONG_PROMPTS:
            raise ValueError(f"long_prompt is {long_prompt!r}; it must be one of {', '.join(_LONG_PROMPTS)}")
        request.long_prompt = _LONG_PROMPTS.index(long_prompt)
        if tile not in _TILES:
            raise ValueError(f"tile is {tile!r}; it must be one of {', '.join(map(repr, _TILES))}")
        request.tile = _TILES.index(tile)
        request.user = _ffi.utf8(user)
        request.user_class = _ffi.utf8(user_class)
        request.idempotency_key = _ffi.utf8(idempotency_key)
        job = _ffi.JobId()
        check(library.gf_engine_submit(handle, ctypes.byref(request), ctypes.byref(job)))
        return Job(self, job)

    def generate(self, prompt: str, *, timeout: Optional[float] = None, **fields: Any) -> list[Image]:
        """Submits, waits and gives the images. Ctrl-C, and a timeout, cancel the job."""
        job = self.submit(prompt, **fields)
        try:
            return job.result(timeout)
        except BaseException:
            if self._handle is not None:
                self._library.gf_job_cancel(self._handle, ctypes.byref(job._id), 0)
            raise

    def load_ahead(self, model: str, host_tag: int = 0) -> Job:
        """Loads a model before its first request."""
        library, handle = self._use()
        job = _ffi.JobId()
        check(library.gf_model_load_ahead(handle, _ffi.utf8(model), host_tag, ctypes.byref(job)))
        return Job(self, job)

    def poll(self) -> Optional[Event]:
        """The next event, or None; never waits."""
        library, handle = self._use()
        raw = _ffi.EventStruct()
        status = library.gf_engine_poll(handle, ctypes.byref(raw))
        if status == _ffi.WOULD_BLOCK:
            return None
        check(status)
        return _event(raw)

    def events(self, job: Optional[Job] = None, timeout: Optional[float] = None) -> Iterator[Event]:
        """The engine's events as they come; those of other jobs too, since each is handed out once. Ends after the
        terminal event of `job` if one is given, and when none has come for `timeout` seconds."""
        raw = _ffi.EventStruct()
        last = time.monotonic()
        while True:
            library, handle = self._use()
            left = _SLICE_S if timeout is None else max(0.0, min(_SLICE_S, last + timeout - time.monotonic()))
            status = library.gf_engine_wait_event(handle, _ffi.microseconds(left), ctypes.byref(raw))
            if status == _ffi.TIMED_OUT:
                if timeout is not None and time.monotonic() >= last + timeout:
                    return
                continue
            check(status)
            event = _event(raw)
            yield event
            if job is not None and event.job == job.id and event.is_terminal:
                return
            last = time.monotonic()

    def poll_log(self) -> Optional[str]:
        """The next log line, module, tab, message; or None."""
        library, handle = self._use()
        record = _ffi.LogRecord()
        size = ctypes.c_uint64(4096)
        while True:
            buffer = ctypes.create_string_buffer(max(1, size.value))
            status = library.gf_engine_poll_log(handle, ctypes.byref(record), buffer, ctypes.byref(size))
            if status == _ffi.BUFFER_TOO_SMALL:
                continue
            if status == _ffi.WOULD_BLOCK:
                return None
            check(status)
            return buffer.value.decode("utf-8", "replace")

    def statistics(self) -> dict[str, Any]:
        """Jobs by state, models, memory, backend, threads."""
        library, handle = self._use()
        return json.loads(_ffi.text_of(lambda buffer, size: library.gf_engine_statistics_json(handle, buffer, size)))

    def models(self) -> list[dict[str, Any]]:
        """The models in the model folders: name, path, loaded, pinned."""
        library, handle = self._use()
        return json.loads(_ffi.text_of(lambda buffer, size: library.gf_model_list_json(handle, buffer, size)))

    def model_info(self, model: str) -> dict[str, Any]:
        """What a model is, from its small files; nothing is loaded."""
        library, handle = self._use()
        name = _ffi.utf8(model)
        return json.loads(
            _ffi.text_of(lambda buffer, size: library.gf_model_info_json(handle, name, buffer, size))
        )

    def pin_model(self, model: str, pinned: bool = True) -> None:
        """Keeps a model in memory once it is loaded, or lets it go again."""
        library, handle = self._use()
        check(library.gf_model_pin(handle, _ffi.utf8(model), 1 if pinned else 0))

    def release_model(self, model: str) -> None:
        """Gives the memory of a loaded model back."""
        library, handle = self._use()
        check(library.gf_model_release(handle, _ffi.utf8(model)))


def _event(raw: _ffi.EventStruct) -> Event:
    return Event(
        type=EVENT_NAMES.get(raw.type, str(raw.type)),
        job=_id_text(raw.job),
        host_tag=raw.host_tag,
        stage=STAGE_NAMES.get(raw.stage, str(raw.stage)),
        step=raw.step,
        total=raw.total,
        image=raw.image,
        status=raw.status,
        retry_after=raw.retry_after_us / 1e6,
        at=raw.at_us / 1e6,
    )


def _job_info(raw: _ffi.JobInfoStruct) -> JobInfo:
    return JobInfo(
        state=STATE_NAMES.get(raw.state, str(raw.state)),
        status=raw.status,
        stage=STAGE_NAMES.get(raw.stage, str(raw.stage)),
        step=raw.step,
        total=raw.total,
        images_ready=raw.images_ready,
        image_count=raw.image_count,
        width=raw.width_px,
        height=raw.height_px,
        seed=raw.seed,
        host_tag=raw.host_tag,
        queue_s=raw.queue_us / 1e6,
        load_s=raw.load_us / 1e6,
        encode_s=raw.encode_us / 1e6,
        sample_s=raw.sample_us / 1e6,
        decode_s=raw.decode_us / 1e6,
        total_s=raw.total_us / 1e6,
    )
