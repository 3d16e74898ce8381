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

    def seam_score(self) -> tuple[float, float]:
        """How well the image joins itself to the right and downwards: 1 is a seam like the inside."""
        score = _ffi.SeamScore()
        check(self._library.gf_image_seam_score(self._handle(), ctypes.byref(score)))
        return score.x, score.y

    def cut_sprite(
        self,
        key: Optional[int] = None,
        tolerance: int = 50,
        edge: int = 2,
        despill: bool = True,
        enclosed: int = 0,
        border_share: int = 500,
    ) -> "Image":
        """Cut out of its flat background, with soft edges. key: 0xRRGGBB, else the border's dominant colour; without
        one NotFoundError. tolerance and border_share: in 1/1000, of OKLab and of the border; enclosed: from which area
        on background inside of the subject is cut out."""
        options = _ffi.SpriteOptions(
            use_key=0 if key is None else 1,
            key=key or 0,
            tolerance=tolerance,
            border_share=border_share,
            edge_px=edge,
            hard_edge=0 if edge else 1,
            keep_spill=0 if despill else 1,
            enclosed_px=enclosed,
        )
        handle = ctypes.c_void_p()
        check(self._library.gf_image_cut_sprite(self._handle(), ctypes.byref(options), ctypes.byref(handle), None))
        return Image(_value(handle))

    def pixelate(
        self,
        cell: int = 0,
        size: tuple[int, int] = (0, 0),
        colours: int = 0,
        palette: Sequence[int] = (),
        dither: str = "none",
        dither_percent: int = 100,
        centre: bool = False,
        alpha_threshold: int = 128,
    ) -> "Image":
        """Pixel art, by the cell's size or the result's: of so many colours that are found, or of a palette of 0xRRGGBB.
        dither: none, bayer or floyd-steinberg. centre: a cell takes its middle's colour, not its commonest one."""
        options = _ffi.PixelateOptions(
            cell_px=cell,
            width_px=size[0],
            height_px=size[1],
            cell_colour=1 if centre else 0,
            colour_count=colours,
            palette_count=len(palette),
            dither=("none", "bayer", "floyd-steinberg").index(dither),
            dither_percent=dither_percent,
            alpha_threshold=alpha_threshold,
        )
        if palette:
            options.palette = (ctypes.c_uint32 * len(palette))(*palette)
        handle = ctypes.c_void_p()
        check(self._library.gf_image_pixelate(self._handle(), ctypes.byref(options), ctypes.byref(handle)))
        return Image(_value(handle))

    def normal_map(
        self,
        height: str = "luminance",
        wrap: str = "",
        strength: float = 8,
        directx: bool = False,
    ) -> "Image":
        """A normal map of the height in luminance, red, green, blue or alpha. wrap: x, y or xy, where opposite edges are
        neighbours. strength: how many pixels high the step from 0 to 255 is."""
        options = _ffi.NormalMapOptions(
            channel=("luminance", "red", "green", "blue", "alpha").index(height),
            wrap_x=int("x" in wrap),
            wrap_y=int("y" in wrap),
            green_down=int(directx),
            strength=strength,
        )
        handle = ctypes.c_void_p()
        check(self._library.gf_image_normal_map(self._handle(), ctypes.byref(options), ctypes.byref(handle)))
        return Image(_value(handle))

    def to_png(self, parameters: Optional[str] = None, compression: int = 0, indexed: bool = False) -> bytes:
        """The PNG file's bytes. parameters: the recipe, for the text chunk of that name; see Job.parameters_text. indexed: a
        palette, for at most 256 colours."""
        options = _ffi.PngOptions(compression=compression, parameters=_ffi.utf8(parameters), indexed=int(indexed))
        size = ctypes.c_uint64(0)
        encode = self._library.gf_image_encode_png
        check(encode(self._handle(), ctypes.byref(options), None, ctypes.byref(size)))
        buffer = ctypes.create_string_buffer(size.value)
        check(encode(self._handle(), ctypes.byref(options), buffer, ctypes.byref(size)))
        return buffer.raw[: size.value]

    def save(
        self, path: _ffi.PathLike, parameters: Optional[str] = None, compression: int = 0, indexed: bool = False
    ) -> None:
        """Writes a PNG file, whole or not at all."""
        options = _ffi.PngOptions(compression=compression, parameters=_ffi.utf8(parameters), indexed=int(indexed))
        check(self._library.gf_image_write_png(self._handle(), ctypes.byref(options), _ffi.path_bytes(path)))


def grid(images: Sequence[Image], columns: int, gap: int = 0, background: int = 0x00000000) -> Image:
    """Lays images out row by row in cells of the largest; background: 0xRRGGBBAA."""
    handles = (ctypes.c_void_p * max(1, len(images)))(*[image._handle() for image in images])
    handle = ctypes.c_void_p()
    check(
        _ffi.load_library().gf_image_grid(handles, len(images), columns, gap, background, ctypes.byref(handle))
    )
    return Image(_value(handle))


class Sheet:
    """A sprite sheet: `image`, and `frames`, where each picture lies."""

    def __init__(self, image: Image, frames: "ctypes.Array[_ffi.SheetFrame]") -> None:
        self.image = image
        self.frames = frames

    def atlas(
        self,
        image_name: Optional[str] = None,
        format: str = "aseprite-hash",
        names: Sequence[str] = (),
        durations_ms: Sequence[int] = (),
        tags: Sequence[tuple[str, int, int]] = (),
    ) -> str:
        """The atlas as JSON: aseprite-hash, aseprite-array, texturepacker-hash or texturepacker-array. tags: name, first
        and last frame of animations."""
        count = len(self.frames)
        for given, what in ((names, "names"), (durations_ms, "durations_ms")):
            if given and len(given) != count:
                raise ValueError(f"{len(given)} {what} are given for {count} frames")
        options = _ffi.AtlasOptions(
            format=("aseprite-hash", "aseprite-array", "texturepacker-hash", "texturepacker-array").index(format),
            image_name=_ffi.utf8(image_name),
            tag_count=len(tags),
        )
        if names:
            options.names = (ctypes.c_char_p * count)(*[_ffi.utf8(name) for name in names])
        if durations_ms:
            options.durations_ms = (ctypes.c_uint32 * count)(*durations_ms)
        if tags:
            options.tags = (_ffi.AtlasTag * len(tags))(*[(_ffi.utf8(name), first, last) for name, first, last in tags])
        write = _ffi.load_library().gf_atlas_json
        given = (self.frames, count, self.image.width, self.image.height, ctypes.byref(options))
        size = ctypes.c_uint64(0)
        check(write(*given, None, ctypes.byref(size)))
        buffer = ctypes.create_string_buffer(size.value)
        check(write(*given, buffer, ctypes.byref(size)))
        return buffer.value.decode("utf-8")


def pack(
    images: Sequence[Image],
    columns: int = 0,
    grid: bool = False,
    padding: int = 0,
    border: int = 0,
    extrude: int = 0,
    trim: bool = False,
    power_of_two: bool = False,
    merge_duplicates: bool = False,
) -> Sheet:
    """Packs images into a sprite sheet: wherever there is room, or as a grid."""
    options = _ffi.SheetOptions(
        layout=int(grid),
        columns=columns,
        padding_px=padding,
        border_px=border,
        extrude_px=extrude,
        trim=int(trim),
        power_of_two=int(power_of_two),
        merge_duplicates=int(merge_duplicates),
    )
    handles = (ctypes.c_void_p * max(1, len(images)))(*[image._handle() for image in images])
    frames = (_ffi.SheetFrame * max(1, len(images)))()
    handle = ctypes.c_void_p()
    check(
        _ffi.load_library().gf_image_pack(
            handles, len(images), ctypes.byref(options), ctypes.byref(handle), frames
        )
    )
    return Sheet(Image(_value(handle)), frames)


def read_palette(path: _ffi.PathLike) -> list[int]:
    """The colours of a .gpl or .hex file, 0xRRGGBB."""
    return _colours(lambda buffer, count: _ffi.load_library().gf_palette_read(_ffi.path_bytes(path), buffer, count))


def find_palette(images: Sequence[Image], colours: int) -> list[int]:
    """At most so many colours that the images share, 0xRRGGBB, dark ones first."""
    handles = (ctypes.c_void_p * max(1, len(images)))(*[image._handle() for image in images])
    return _colours(
        lambda buffer, count: _ffi.load_library().gf_palette_find(handles, len(images), colours, buffer, count)
    )


def _colours(read: Any) -> list[int]:
    buffer = (ctypes.c_uint32 * 256)()
    count = ctypes.c_uint64(256)
    check(read(buffer, ctypes.byref(count)))
    return list(buffer[: count.value])


def _value(pointer: ctypes.c_void_p) -> int:
    if pointer.value is None:
        raise RuntimeError("the library answered NULL")
    return pointer.value
