"""The C ABI as ctypes sees it: structs, prototypes, and where the shared object is found. Private to the package."""

from __future__ import annotations

import ctypes
import os
import threading
from ctypes import POINTER, c_char_p, c_double, c_float, c_int64, c_uint32, c_uint64, c_void_p
from pathlib import Path
from typing import Any, Callable, Iterator, Optional, Union

LIBRARY_NAMES = ("libgameforge.so", "libgameforge.so.0")

OK = 0
BUFFER_TOO_SMALL = 108
TIMED_OUT = 202
WOULD_BLOCK = 203


class _Struct(ctypes.Structure):
    """A struct of the ABI: begins with struct_size, which says how much of it the caller knows."""

    def __init__(self, **fields: Any) -> None:
        super().__init__(**fields)
        self.struct_size = ctypes.sizeof(self)


class StatusDescription(_Struct):
    _fields_ = [
        ("struct_size", c_uint32),
        ("status", c_uint32),
        ("severity", c_uint32),
        ("retryable", c_uint32),
        ("name", c_char_p),
        ("hint", c_char_p),
    ]


class LogRecord(_Struct):
    _fields_ = [
        ("struct_size", c_uint32),
        ("level", c_uint32),
        ("unix_us", c_int64),
        ("dropped", c_uint64),
        ("repeated", c_uint64),
    ]


class JobId(ctypes.Structure):
    _fields_ = [("high", c_uint64), ("low", c_uint64)]


class EventStruct(_Struct):
    _fields_ = [
        ("struct_size", c_uint32),
        ("type", c_uint32),
        ("job", JobId),
        ("host_tag", c_uint64),
        ("stage", c_uint32),
        ("step", c_uint32),
        ("total", c_uint32),
        ("image", c_uint32),
        ("status", c_uint32),
        ("reserved", c_uint32),
        ("retry_after_us", c_int64),
        ("at_us", c_int64),
    ]


class Rate(ctypes.Structure):
    _fields_ = [("tokens", c_uint32), ("burst", c_uint32), ("period_us", c_int64)]


class EngineOptions(_Struct):
    _fields_ = [
        ("struct_size", c_uint32),
        ("executor_count", c_uint32),
        ("thread_count", c_uint32),
        ("queue_limit", c_uint32),
        ("retained_job_count", c_uint32),
        ("log_level", c_uint32),
        ("allow_model_paths", c_uint32),
        ("model_folder_count", c_uint32),
        ("model_folders", POINTER(c_char_p)),
        ("backend_path", c_char_p),
        ("event_callback", c_void_p),
        ("event_user_data", c_void_p),
        ("log_callback", c_void_p),
        ("log_user_data", c_void_p),
        ("reserved_for_high", c_uint32),
        ("user_running_limit", c_uint32),
        ("normal_max_wait_us", c_int64),
        ("low_max_wait_us", c_int64),
        ("submit_rate", Rate),
        ("user_submit_rate", Rate),
        ("user_class_names", POINTER(c_char_p)),
        ("user_class_rates", POINTER(Rate)),
        ("user_class_count", c_uint32),
        ("keep_crash_note", c_uint32),
    ]


class Request(_Struct):
    _fields_ = [
        ("struct_size", c_uint32),
        ("flags", c_uint32),
        ("width_px", c_uint32),
        ("height_px", c_uint32),
        ("steps", c_uint32),
        ("image_count", c_uint32),
        ("cfg_scale", c_double),
        ("guidance_rescale", c_double),
        ("seed", c_uint64),
        ("host_tag", c_uint64),
        ("model", c_char_p),
        ("prompt", c_char_p),
        ("prompt_2", c_char_p),
        ("negative_prompt", c_char_p),
        ("negative_prompt_2", c_char_p),
        ("sampler", c_char_p),
        ("schedule", c_char_p),
        ("initial_latents", POINTER(c_float)),
        ("initial_latent_count", c_uint64),
        ("original_width_px", c_uint32),
        ("original_height_px", c_uint32),
        ("target_width_px", c_uint32),
        ("target_height_px", c_uint32),
        ("crop_left_px", c_uint32),
        ("crop_top_px", c_uint32),
        ("lora_names", POINTER(c_char_p)),
        ("lora_scales", POINTER(c_double)),
        ("lora_count", c_uint32),
        ("clip_skip", c_uint32),
        ("eta", c_double),
        ("strength", c_double),
        ("init_image", c_void_p),
        ("mask", c_void_p),
        ("noise", c_uint32),
        ("priority", c_uint32),
        ("user", c_char_p),
        ("user_class", c_char_p),
        ("idempotency_key", c_char_p),
        ("prompt_syntax", c_uint32),
        ("long_prompt", c_uint32),
        ("tile", c_uint32),
        ("reserved", c_uint32),
    ]


class JobInfoStruct(_Struct):
    _fields_ = [
        ("struct_size", c_uint32),
        ("state", c_uint32),
        ("status", c_uint32),
        ("stage", c_uint32),
        ("step", c_uint32),
        ("total", c_uint32),
        ("images_ready", c_uint32),
        ("image_count", c_uint32),
        ("width_px", c_uint32),
        ("height_px", c_uint32),
        ("seed", c_uint64),
        ("host_tag", c_uint64),
        ("queue_us", c_int64),
        ("load_us", c_int64),
        ("encode_us", c_int64),
        ("sample_us", c_int64),
        ("decode_us", c_int64),
        ("total_us", c_int64),
    ]


class ImageInfo(_Struct):
    _fields_ = [
        ("struct_size", c_uint32),
        ("width_px", c_uint32),
        ("height_px", c_uint32),
        ("stride_bytes", c_uint32),
        ("byte_count", c_uint64),
        ("seed", c_uint64),
    ]


class KeyOptions(_Struct):
    _fields_ = [
        ("struct_size", c_uint32),
        ("use_border", c_uint32),
        ("red", c_uint32),
        ("green", c_uint32),
        ("blue", c_uint32),
        ("tolerance", c_uint32),
    ]


class PngOptions(_Struct):
    _fields_ = [
        ("struct_size", c_uint32),
        ("compression", c_uint32),
        ("parameters", c_char_p),
        ("indexed", c_uint32),
        ("reserved", c_uint32),
    ]


class SeamScore(_Struct):
    _fields_ = [
        ("struct_size", c_uint32),
        ("reserved", c_uint32),
        ("x", c_double),
        ("y", c_double),
        ("edge_x", c_double),
        ("edge_y", c_double),
        ("inner_x", c_double),
        ("inner_y", c_double),
        ("inner_most_x", c_double),
        ("inner_most_y", c_double),
    ]


class SpriteOptions(_Struct):
    _fields_ = [
        ("struct_size", c_uint32),
        ("use_key", c_uint32),
        ("key", c_uint32),
        ("tolerance", c_uint32),
        ("border_share", c_uint32),
        ("edge_px", c_uint32),
        ("hard_edge", c_uint32),
        ("keep_spill", c_uint32),
        ("enclosed_px", c_uint32),
    ]


class PixelateOptions(_Struct):
    _fields_ = [
        ("struct_size", c_uint32),
        ("cell_px", c_uint32),
        ("width_px", c_uint32),
        ("height_px", c_uint32),
        ("cell_colour", c_uint32),
        ("colour_count", c_uint32),
        ("palette_count", c_uint32),
        ("dither", c_uint32),
        ("dither_percent", c_uint32),
        ("alpha_threshold", c_uint32),
        ("palette", POINTER(c_uint32)),
    ]


class NormalMapOptions(_Struct):
    _fields_ = [
        ("struct_size", c_uint32),
        ("channel", c_uint32),
        ("wrap_x", c_uint32),
        ("wrap_y", c_uint32),
        ("green_down", c_uint32),
        ("reserved", c_uint32),
        ("strength", c_double),
    ]


class SheetOptions(_Struct):
    _fields_ = [
        ("struct_size", c_uint32),
        ("layout", c_uint32),
        ("columns", c_uint32),
        ("padding_px", c_uint32),
        ("border_px", c_uint32),
        ("extrude_px", c_uint32),
        ("max_side_px", c_uint32),
        ("trim", c_uint32),
        ("power_of_two", c_uint32),
        ("merge_duplicates", c_uint32),
    ]


class SheetFrame(ctypes.Structure):
    _fields_ = [
        ("x", c_uint32),
        ("y", c_uint32),
        ("width_px", c_uint32),
        ("height_px", c_uint32),
        ("trim_x", c_uint32),
        ("trim_y", c_uint32),
        ("source_width_px", c_uint32),
        ("source_height_px", c_uint32),
    ]


class AtlasTag(ctypes.Structure):
    _fields_ = [("name", c_char_p), ("first_frame", c_uint32), ("last_frame", c_uint32)]


class AtlasOptions(_Struct):
    _fields_ = [
        ("struct_size", c_uint32),
        ("format", c_uint32),
        ("image_name", c_char_p),
        ("names", POINTER(c_char_p)),
        ("durations_ms", POINTER(c_uint32)),
        ("tags", POINTER(AtlasTag)),
        ("tag_count", c_uint32),
        ("reserved", c_uint32),
    ]


class MigratorOptions(_Struct):
    _fields_ = [
        ("struct_size", c_uint32),
        ("flags", c_uint32),
        ("url", c_char_p),
        ("folder", c_char_p),
        ("file_names", POINTER(c_char_p)),
        ("file_texts", POINTER(c_char_p)),
        ("variable_names", POINTER(c_char_p)),
        ("variable_values", POINTER(c_char_p)),
        ("file_count", c_uint32),
        ("variable_count", c_uint32),
        ("applied_by", c_char_p),
        ("tool_version", c_char_p),
        ("lock_wait_us", c_int64),
        ("lock_timeout_us", c_int64),
        ("statement_timeout_us", c_int64),
        ("lock_retries", c_uint32),
        ("reserved", c_uint32),
        ("hook", c_void_p),
        ("hook_user_data", c_void_p),
    ]


class MigrationGoal(_Struct):
    _fields_ = [
        ("struct_size", c_uint32),
        ("kind", c_uint32),
        ("version", c_int64),
        ("steps", c_uint32),
        ("cascade", c_uint32),
    ]


class MigratorInfo(_Struct):
    _fields_ = [
        ("struct_size", c_uint32),
        ("work", c_uint32),
        ("running", c_uint32),
        ("status", c_uint32),
        ("step_count", c_uint32),
        ("done_count", c_uint32),
        ("drop_count", c_uint32),
        ("warning_count", c_uint32),
        ("problem_count", c_uint32),
        ("problem_status", c_uint32),
        ("entry_count", c_uint32),
        ("pending_count", c_uint32),
        ("highest_applied", c_int64),
        ("line", c_uint32),
        ("column", c_uint32),
        ("statement_number", c_uint64),
        ("waited_us", c_int64),
        ("check_us", c_int64),
        ("apply_us", c_int64),
    ]


class MigrationEventStruct(_Struct):
    _fields_ = [
        ("struct_size", c_uint32),
        ("type", c_uint32),
        ("direction", c_uint32),
        ("status", c_uint32),
        ("version", c_int64),
        ("statement", c_uint64),
        ("statement_count", c_uint64),
        ("elapsed_us", c_int64),
    ]


_size_out = POINTER(c_uint64)
# Handles are no addresses but fit into a pointer. Text out is a void pointer, so that NULL and buffers both pass.
_PROTOTYPES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "gf_status_name": (c_char_p, (c_uint32,)),
    "gf_status_table": (c_uint32, (c_uint32, POINTER(StatusDescription))),
    "gf_status_describe": (c_uint32, (c_uint32, POINTER(StatusDescription))),
    "gf_last_error_status": (c_uint32, ()),
    "gf_last_error_message": (c_char_p, ()),
    "gf_last_error_json": (c_uint32, (c_void_p, _size_out)),
    "gf_version": (c_uint32, ()),
    "gf_version_text": (c_char_p, ()),
    "gf_version_json": (c_uint32, (c_void_p, _size_out)),
    "gf_engine_open": (c_uint32, (POINTER(EngineOptions), POINTER(c_void_p))),
    "gf_engine_close": (c_uint32, (c_void_p, c_int64)),
    "gf_engine_poll": (c_uint32, (c_void_p, POINTER(EventStruct))),
    "gf_engine_wait_event": (c_uint32, (c_void_p, c_int64, POINTER(EventStruct))),
    "gf_engine_poll_log": (c_uint32, (c_void_p, POINTER(LogRecord), c_void_p, _size_out)),
    "gf_engine_statistics_json": (c_uint32, (c_void_p, c_void_p, _size_out)),
    "gf_config_load": (c_uint32, (c_char_p, c_uint32, POINTER(c_void_p))),
    "gf_config_read": (c_uint32, (c_void_p, POINTER(EngineOptions))),
    "gf_config_json": (c_uint32, (c_void_p, c_void_p, _size_out)),
    "gf_config_release": (c_uint32, (c_void_p,)),
    "gf_model_load_ahead": (c_uint32, (c_void_p, c_char_p, c_uint64, POINTER(JobId))),
    "gf_model_info_json": (c_uint32, (c_void_p, c_char_p, c_void_p, _size_out)),
    "gf_model_list_json": (c_uint32, (c_void_p, c_void_p, _size_out)),
    "gf_model_pin": (c_uint32, (c_void_p, c_char_p, c_uint32)),
    "gf_model_release": (c_uint32, (c_void_p, c_char_p)),
    "gf_engine_submit": (c_uint32, (c_void_p, POINTER(Request), POINTER(JobId))),
    "gf_job_status": (c_uint32, (c_void_p, POINTER(JobId), POINTER(JobInfoStruct))),
    "gf_job_wait": (c_uint32, (c_void_p, POINTER(JobId), c_int64, POINTER(JobInfoStruct))),
    "gf_job_cancel": (c_uint32, (c_void_p, POINTER(JobId), c_uint32)),
    "gf_job_error_json": (c_uint32, (c_void_p, POINTER(JobId), c_void_p, _size_out)),
    "gf_job_report_json": (c_uint32, (c_void_p, POINTER(JobId), c_void_p, _size_out)),
    "gf_job_latents": (c_uint32, (c_void_p, POINTER(JobId), c_uint32, c_void_p, _size_out)),
    "gf_job_forget": (c_uint32, (c_void_p, POINTER(JobId))),
    "gf_job_id_text": (c_uint32, (POINTER(JobId), c_void_p, _size_out)),
    "gf_job_id_parse": (c_uint32, (c_char_p, POINTER(JobId))),
    "gf_job_image": (c_uint32, (c_void_p, POINTER(JobId), c_uint32, POINTER(c_void_p))),
    "gf_job_parameters_text": (c_uint32, (c_void_p, POINTER(JobId), c_uint32, c_void_p, _size_out)),
    "gf_image_create": (c_uint32, (c_uint32, c_uint32, c_uint32, c_void_p, POINTER(c_void_p))),
    "gf_image_describe": (c_uint32, (c_void_p, POINTER(ImageInfo))),
    "gf_image_pixels": (c_uint32, (c_void_p, POINTER(c_void_p))),
    "gf_image_share": (c_uint32, (c_void_p, POINTER(c_void_p))),
    "gf_image_release": (c_uint32, (c_void_p,)),
    "gf_image_upscale": (c_uint32, (c_void_p, c_uint32, POINTER(c_void_p))),
    "gf_image_key_background": (c_uint32, (c_void_p, POINTER(KeyOptions), POINTER(c_void_p))),
    "gf_image_grid": (c_uint32, (POINTER(c_void_p), c_uint32, c_uint32, c_uint32, c_uint32, POINTER(c_void_p))),
    "gf_image_encode_png": (c_uint32, (c_void_p, POINTER(PngOptions), c_void_p, _size_out)),
    "gf_image_write_png": (c_uint32, (c_void_p, POINTER(PngOptions), c_char_p)),
    "gf_image_decode_png": (c_uint32, (c_char_p, c_uint64, POINTER(c_void_p))),
    "gf_image_read_png": (c_uint32, (c_char_p, POINTER(c_void_p))),
    "gf_png_read_parameters": (c_uint32, (c_char_p, c_void_p, _size_out)),
    "gf_image_seam_score": (c_uint32, (c_void_p, POINTER(SeamScore))),
    "gf_image_cut_sprite": (c_uint32, (c_void_p, POINTER(SpriteOptions), POINTER(c_void_p), POINTER(c_uint32))),
    "gf_image_pixelate": (c_uint32, (c_void_p, POINTER(PixelateOptions), POINTER(c_void_p))),
    "gf_palette_read": (c_uint32, (c_char_p, POINTER(c_uint32), _size_out)),
    "gf_palette_find": (c_uint32, (POINTER(c_void_p), c_uint32, c_uint32, POINTER(c_uint32), _size_out)),
    "gf_image_normal_map": (c_uint32, (c_void_p, POINTER(NormalMapOptions), POINTER(c_void_p))),
    "gf_image_pack": (
        c_uint32,
        (POINTER(c_void_p), c_uint32, POINTER(SheetOptions), POINTER(c_void_p), POINTER(SheetFrame)),
    ),
    "gf_atlas_json": (
        c_uint32,
        (POINTER(SheetFrame), c_uint32, c_uint32, c_uint32, POINTER(AtlasOptions), c_void_p, _size_out),
    ),
    "gf_latents_read": (c_uint32, (c_char_p, c_void_p, _size_out, POINTER(c_uint32))),
    "gf_latents_write": (c_uint32, (c_char_p, c_void_p, POINTER(c_uint32))),
    "gf_migrator_open": (c_uint32, (POINTER(MigratorOptions), POINTER(c_void_p))),
    "gf_migrator_close": (c_uint32, (c_void_p, c_int64)),
    "gf_migrator_plan": (c_uint32, (c_void_p, POINTER(MigrationGoal))),
    "gf_migrator_apply": (c_uint32, (c_void_p, POINTER(MigrationGoal))),
    "gf_migrator_prove": (c_uint32, (c_void_p, POINTER(MigrationGoal), c_uint32)),
    "gf_migrator_status": (c_uint32, (c_void_p,)),
    "gf_migrator_validate": (c_uint32, (c_void_p,)),
    "gf_migrator_round_trip": (c_uint32, (c_void_p,)),
    "gf_migrator_baseline": (c_uint32, (c_void_p, c_int64)),
    "gf_migrator_repair": (c_uint32, (c_void_p, c_uint32, c_int64, c_char_p)),
    "gf_migrator_dump": (c_uint32, (c_void_p,)),
    "gf_migrator_diff": (c_uint32, (c_void_p,)),
    "gf_migrator_drift": (c_uint32, (c_void_p,)),
    "gf_migrator_cancel": (c_uint32, (c_void_p,)),
    "gf_migrator_poll": (c_uint32, (c_void_p, POINTER(MigrationEventStruct), c_void_p, _size_out)),
    "gf_migrator_wait": (c_uint32, (c_void_p, c_int64, POINTER(MigratorInfo))),
    "gf_migrator_report_json": (c_uint32, (c_void_p, c_void_p, _size_out)),
    "gf_migrator_error_json": (c_uint32, (c_void_p, c_void_p, _size_out)),
    "gf_migration_create": (c_uint32, (c_char_p, c_char_p, c_void_p, _size_out)),
    "gf_doctor_json": (c_uint32, (POINTER(EngineOptions), c_void_p, _size_out)),
}

PathLike = Union[str, "os.PathLike[str]"]


def _candidates() -> Iterator[Path]:
    package = Path(__file__).resolve().parent
    for folder in (package, package / "lib"):
        for name in LIBRARY_NAMES:
            yield folder / name
    # A checkout: bindings/python/gameforge beside build/PRESET/lib; the optimised build before the others.
    builds = package.parents[2] / "build"
    for preset in ("release", "core", "dev"):
        yield builds / preset / "lib" / LIBRARY_NAMES[0]
    if builds.is_dir():
        for folder in sorted(builds.iterdir()):
            yield folder / "lib" / LIBRARY_NAMES[0]


def find_library(path: Optional[PathLike] = None) -> str:
    """The shared object's path, as load_library looks for it."""
    given = os.fspath(path) if path is not None else os.environ.get("GAMEFORGE_LIBRARY", "")
    if given:
        return given
    for candidate in _candidates():
        if candidate.is_file():
            return str(candidate)
    # The system's own search: /usr/local/lib, LD_LIBRARY_PATH.
    return LIBRARY_NAMES[1]


_lock = threading.Lock()
_library: Optional[ctypes.CDLL] = None
_library_path = ""


def load_library(path: Optional[PathLike] = None) -> ctypes.CDLL:
    """Loads libgameforge, once a process: from `path`; else from GAMEFORGE_LIBRARY; else from beside this package, from
    the build folders of a checkout, or from where the system looks.

    Calling it is needed only to name the path. Raises OSError when the library cannot be loaded, and RuntimeError when
    another one is loaded already.
    """
    global _library, _library_path
    with _lock:
        if _library is not None:
            if path is not None and os.path.realpath(os.fspath(path)) != os.path.realpath(_library_path):
                raise RuntimeError(f"libgameforge is loaded already, from {_library_path}")
            return _library
        found = find_library(path)
        library = ctypes.CDLL(found)
        for name, (result, arguments) in _PROTOTYPES.items():
            function = getattr(library, name)
            function.restype = result
            function.argtypes = arguments
        _library, _library_path = library, found
        return library


def text_of(read: Callable[[Any, Any], int]) -> str:
    """The text of a function that takes (buffer, size) last."""
    from .errors import check

    size = c_uint64(0)
    check(read(None, ctypes.byref(size)))
    while True:
        buffer = ctypes.create_string_buffer(max(1, size.value))
        status = read(buffer, ctypes.byref(size))
        if status == BUFFER_TOO_SMALL:  # It grew between the calls.
            continue
        check(status)
        return buffer.value.decode("utf-8")


def utf8(text: Optional[str]) -> Optional[bytes]:
    """Text for a const char*; a NUL inside would silently cut it."""
    if text is None:
        return None
    if "\0" in text:
        raise ValueError("a text holds a NUL character")
    return text.encode("utf-8")


def path_bytes(path: PathLike) -> bytes:
    encoded = os.fsencode(path)
    if b"\0" in encoded:
        raise ValueError("a path holds a NUL character")
    return encoded


def microseconds(seconds: float) -> int:
    """A timeout for the ABI; longer than an age is as good as for ever."""
    return int(max(0.0, min(seconds, 1e9)) * 1_000_000)
