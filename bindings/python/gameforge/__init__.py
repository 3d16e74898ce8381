"""GameForge: game assets from a prompt, through libgameforge's C ABI. ctypes alone: no compiler, nothing to install.

    import gameforge

    with gameforge.Engine(model_folders=["models"]) as engine:
        image = engine.generate("a red potion", seed=1)[0]
        image.key_background().upscale(8).save("potion.png")

The library is looked for where load_library says. Every failure is a GameForgeError of the class of its status' group.
"""

from ._ffi import load_library
from .engine import Engine, Event, Job, JobInfo
from .errors import (
    CallerError,
    DataError,
    EnvironmentFailure,
    FlowError,
    GameForgeError,
    InternalError,
    MemoryOrDeviceError,
)
from .image import Image, Sheet, find_palette, grid, pack, read_palette
from .latents import read_latents, write_latents
from .library import doctor, library_version, status_table, version
from .migrator import MigrationEvent, Migrator, create_migration

__all__ = [
    "CallerError",
    "DataError",
    "Engine",
    "EnvironmentFailure",
    "Event",
    "FlowError",
    "GameForgeError",
    "Image",
    "InternalError",
    "Job",
    "JobInfo",
    "MemoryOrDeviceError",
    "MigrationEvent",
    "Migrator",
    "Sheet",
    "create_migration",
    "doctor",
    "find_palette",
    "grid",
    "library_version",
    "load_library",
    "pack",
    "read_latents",
    "read_palette",
    "status_table",
    "version",
    "write_latents",
]

__version__ = "0.1.0"
