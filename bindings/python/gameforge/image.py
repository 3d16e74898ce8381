"""Images: counted, immutable, independent of the engine that made them."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any, Optional, Sequence

from . import _ffi
from .errors import check

if TYPE_CHECKING:
    import numpy
    import PIL.Image


class _Share:
    """One share of an image, released with the last Python object that needs it."""

    def __init__(self, handle: int) -> None:
        self._library = _ffi.load_library()
        self.handle: Optional[int] = handle

    def release(self) -> None:
        handle, self.handle = self.handle, None
        if handle is not None:
            self._library.gf_image_release(handle)

    def __del__(self) -> None:
        self.release()


class Image:
    """RGBA8, sRGB, straight alpha, top row first.

    Release it early with `close()` or a `with` block; else it goes with its last reference. What `pixels`,
    `__array_interface__` and `to_numpy` gave stays valid after that: each holds a share of its own.
    """

    def __init__(self, handle: int) -> None:
        """Takes over a handle; hosts get images from jobs, from_pixels and from other images."""
        self._library = _ffi.load_library()
        self._share = _Share(handle)
        info = _ffi.ImageInfo()
        check(self._library.gf_image_describe(handle, ctypes.byref(info)))
        self.width: int = info.width_px
        self.height: int = info.height_px
        self.stride: int = info.stride_bytes
        self.seed: int = info.seed
        self._bytes: int = info.byte_count

    @classmethod
    def from_pixels(cls, width: int, height: int, rgba: Any) -> "Image":
        """An image of the host's pixels, which are copied: width * height * 4 bytes, any object with a buffer."""
        view = memoryview(rgba).cast("B")
        if view.nbytes != width * height * 4:
            raise ValueError(f"{width}x{height} pixels are {width * height * 4} bytes, not {view.nbytes}")
        copy = (ctypes.c_uint8 * max(1, view.nbytes)).from_buffer_copy(view) if view.nbytes else (ctypes.c_uint8 * 1)()
        handle = ctypes.c_void_p()
        check(
            _ffi.load_library().gf_image_create(
                width, height, width * 4, ctypes.cast(copy, ctypes.c_void_p), ctypes.byref(handle)
            )
        )
        return cls(_value(handle))

    @classmethod
    def read(cls, path: _ffi.PathLike) -> "Image":
        """Reads a PNG file."""
        handle = ctypes.c_void_p()
        check(_ffi.load_library().gf_image_read_png(_ffi.path_bytes(path), ctypes.byref(handle)))
        return cls(_value(handle))

    def _handle(self) -> int:
        if self._share.handle is None:
            raise ValueError("the image is closed")
        return self._share.handle

    def close(self) -> None:
        """Releases this object's share; allowed more than once."""
        self._share.release()

    def __enter__(self) -> "Image":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<gameforge.Image {self.width}x{self.height} seed={self.seed}>"

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, as Pillow has it."""
        return self.width, self.height

    @property
    def pixels(self) -> memoryview:
        """The pixels in place: read-only, not copied."""
        share = ctypes.c_void_p()
        check(self._library.gf_image_share(self._handle(), ctypes.byref(share)))
        keeper = _Share(_value(share))
        address = ctypes.c_void_p()
        check(self._library.gf_image_pixels(_value(share), ctypes.byref(address)))
        exporter = (ctypes.c_uint8 * self._bytes).from_address(_value(address))
        exporter.share = keeper  # type: ignore[attr-defined]  # Lives as long as the last view.
        return memoryview(exporter).cast("B").toreadonly()

    @property
    def __array_interface__(self) -> dict[str, Any]:
        return {
            "version": 3,
            "shape": (self.height, self.width, 4),
            "typestr": "|u1",
            "data": self.pixels,
        }

    def to_numpy(self) -> "numpy.ndarray[Any, Any]":
        """A read-only array [height, width, 4] of uint8 on the same memory; needs NumPy."""
        import numpy

        return numpy.asarray(self)

    def to_pil(self) -> "PIL.Image.Image":
        """A Pillow image of mode RGBA; needs Pillow."""
        import PIL.Image

        return PIL.Image.frombytes("RGBA", self.size, bytes(self.pixels))

    def upscale(self, factor: int) -> "Image":
        """Each pixel becomes a square of `factor`, 1 to 64."""
        handle = ctypes.c_void_p()
        check(self._library.gf_image_upscale(self._handle(), factor, ctypes.byref(handle)))
        return Image(_value(handle))

    def key_background(self, colour: Optional[Sequence[int]] = None, tolerance: int = 16) -> "Image":
        """Clears the flat background from the border inwards: of this colour (red, green, blue), else of the border's
        commonest."""
        options = _ffi.KeyOptions(use_border=1 if colour is None else 0, tolerance=tolerance)
        if colour is not None:
            options.red, options.green, options.blue = colour
        handle = ctypes.c_void_p()
        check(self._library.gf_image_key_background(self._handle(), ctypes.byref(options), ctypes.byref(handle)))
        return Image(_value(handle))

    def to_png(self, parameters: Optional[str] = None, compression: int = 0) -> bytes:
        """The PNG file's bytes. parameters: the recipe, for the text chunk of that name; see Job.parameters_text."""
        options = _ffi.PngOptions(compression=compression, parameters=_ffi.utf8(parameters))
        size = ctypes.c_uint64(0)
        encode = self._library.gf_image_encode_png
        check(encode(self._handle(), ctypes.byref(options), None, ctypes.byref(size)))
        buffer = ctypes.create_string_buffer(size.value)
        check(encode(self._handle(), ctypes.byref(options), buffer, ctypes.byref(size)))
        return buffer.raw[: size.value]

    def save(self, path: _ffi.PathLike, parameters: Optional[str] = None, compression: int = 0) -> None:
        """Writes a PNG file, whole or not at all."""
        options = _ffi.PngOptions(compression=compression, parameters=_ffi.utf8(parameters))
        check(self._library.gf_image_write_png(self._handle(), ctypes.byref(options), _ffi.path_bytes(path)))


def grid(images: Sequence[Image], columns: int, gap: int = 0, background: int = 0x00000000) -> Image:
    """Lays images out row by row in cells of the largest; background: 0xRRGGBBAA."""
    handles = (ctypes.c_void_p * max(1, len(images)))(*[image._handle() for image in images])
    handle = ctypes.c_void_p()
    check(
        _ffi.load_library().gf_image_grid(handles, len(images), columns, gap, background, ctypes.byref(handle))
    )
    return Image(_value(handle))


def _value(pointer: ctypes.c_void_p) -> int:
    if pointer.value is None:
        raise RuntimeError("the library answered NULL")
    return pointer.value
