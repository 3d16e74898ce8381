"""What the tests of the hosts share: where things are, and readers of PNG and safetensors that owe nothing to GameForge.

The environment comes from tests/hosts/CMakeLists.txt:
  GAMEFORGE_LIBRARY       libgameforge.so
  GAMEFORGE_COMMAND       the command
  GAMEFORGE_SOURCE        the checkout
  GAMEFORGE_MODELS        the folder with the shipped model
  GAMEFORGE_BACKEND_PATH  the fake backend, where libtorch's is not built; it draws no tiles, but keeps the same rules
"""

import ctypes
import json
import os
import signal
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from dataclasses import dataclass, field
from pathlib import Path

SOURCE = Path(os.environ["GAMEFORGE_SOURCE"])
MODELS = Path(os.environ["GAMEFORGE_MODELS"])
REAL = not os.environ.get("GAMEFORGE_BACKEND_PATH")
NEEDS_REAL = "the libtorch backend is not built, and the fake one draws no tiles"
if not REAL:
    # The fake backend asks for a file of its own in a model's folder: the shipped model gets one in a copy of links.
    _copy = tempfile.TemporaryDirectory()
    _model = Path(_copy.name) / "gameforge-tiles"
    _model.mkdir()
    for _part in (MODELS / "gameforge-tiles").iterdir():
        (_model / _part.name).symlink_to(_part)
    # Steps as long as the real one's: what cancels a job must have the time to.
    (_model / "fake.json").write_text('{"step_us": 1000}')
    MODELS = Path(_copy.name)
    os.environ["GAMEFORGE_MODELS"] = os.environ["GAMEFORGE_MODEL_FOLDERS"] = str(MODELS)
sys.path.insert(0, str(SOURCE / "bindings" / "python"))


def run_in_this_interpreter():
    """False, with the reason printed, where this interpreter cannot run the library; begins anew with the sanitizer's
    runtime where it needs that first."""
    if reason := os.environ.get("GAMEFORGE_TEST_SKIP"):
        print(f"skipped: {reason}")
        return False
    preload = os.environ.get("GAMEFORGE_TEST_PRELOAD")
    if preload and os.environ.get("LD_PRELOAD") != preload:
        # Only now, so that nothing between ctest and this program runs with it.
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, "LD_PRELOAD": preload})
    return True


class RedisServer:
    """A server of the tests' own on a socket in a folder of its own, which ends with this process at the latest: what it
    inherits would keep ctest waiting."""

    def __init__(self, patience_s):
        self._temporary = tempfile.TemporaryDirectory()
        self.folder = Path(self._temporary.name)
        self.socket = self.folder / "redis.sock"
        self._patience_s = patience_s
        library = ctypes.CDLL(None)
        self.process = subprocess.Popen(
            ["redis-server", "--port", "0", "--unixsocket", str(self.socket), "--save", "", "--appendonly", "no",
             "--dir", str(self.folder)], stdout=subprocess.DEVNULL,
            preexec_fn=lambda: library.prctl(1, signal.SIGKILL))  # PR_SET_PDEATHSIG
        deadline = time.monotonic() + patience_s
        while not self.socket.exists():
            assert self.process.poll() is None and time.monotonic() < deadline, "redis-server did not start"
            time.sleep(0.01)

    def stop(self):
        self.process.terminate()
        self.process.wait(self._patience_s)
        self._temporary.cleanup()


@dataclass
class Png:
    width: int
    height: int
    channels: int
    chunks: list = field(default_factory=list)  # (type, bytes), IDAT left out.
    rows: list = field(default_factory=list)  # bytes, width * channels each.

    def pixel(self, x, y):
        row = self.rows[y]
        values = tuple(row[x * self.channels : (x + 1) * self.channels])
        return values if self.channels == 4 else values + (255,)

    def pixels(self):
        return [self.pixel(x, y) for y in range(self.height) for x in range(self.width)]

    def text(self, key):
        """The value of a tEXt or iTXt chunk; None when there is none."""
        for kind, data in self.chunks:
            name, _, rest = data.partition(b"\0")
            if name != key.encode("latin-1"):
                continue
            if kind == b"tEXt":
                return rest.decode("latin-1")
            if kind == b"iTXt":
                compressed = rest[0]
                assert compressed == 0
                return rest[2:].split(b"\0", 2)[2].decode("utf-8")
        return None


def read_png(path):
    """Decodes 8 bit RGB and RGBA without interlacing, and checks every CRC. PNG specification, second edition."""
    data = Path(path).read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n", "no PNG"
    position, packed, png = 8, b"", None
    while position < len(data):
        length, kind = struct.unpack(">I4s", data[position : position + 8])
        body = data[position + 8 : position + 8 + length]
        (crc,) = struct.unpack(">I", data[position + 8 + length : position + 12 + length])
        assert crc == zlib.crc32(kind + body), f"the CRC of {kind} is wrong"
        position += 12 + length
        if kind == b"IHDR":
            width, height, depth, colour, _, _, interlace = struct.unpack(">IIBBBBB", body)
            assert depth == 8 and colour in (2, 6) and interlace == 0
            png = Png(width, height, 3 if colour == 2 else 4)
        if kind == b"IDAT":
            packed += body
        else:
            png.chunks.append((kind, body))
    raw = zlib.decompress(packed)
    stride = png.width * png.channels
    before = bytearray(stride)
    for y in range(png.height):
        kind = raw[y * (stride + 1)]
        row = bytearray(raw[y * (stride + 1) + 1 : (y + 1) * (stride + 1)])
        for i in range(stride):
            left = row[i - png.channels] if i >= png.channels else 0
            up = before[i]
            corner = before[i - png.channels] if i >= png.channels else 0
            if kind == 1:
                row[i] = (row[i] + left) & 255
            elif kind == 2:
                row[i] = (row[i] + up) & 255
            elif kind == 3:
                row[i] = (row[i] + (left + up) // 2) & 255
            elif kind == 4:
                guess = left + up - corner
                distances = (abs(guess - left), abs(guess - up), abs(guess - corner))
                nearest = (left, up, corner)[distances.index(min(distances))]
                row[i] = (row[i] + nearest) & 255
        png.rows.append(bytes(row))
        before = row
    return png


def write_safetensors(path, name, shape, values):
    """One float32 tensor. Format: the README of huggingface/safetensors."""
    data = struct.pack(f"<{len(values)}f", *values)
    header = json.dumps({name: {"dtype": "F32", "shape": list(shape), "data_offsets": [0, len(data)]}}).encode()
    Path(path).write_bytes(struct.pack("<Q", len(header)) + header + data)


def read_safetensors(path, name):
    """Shape and float32 values of one tensor."""
    data = Path(path).read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    entry = json.loads(data[8 : 8 + length])[name]
    assert entry["dtype"] == "F32"
    begin, end = entry["data_offsets"]
    body = data[8 + length + begin : 8 + length + end]
    return tuple(entry["shape"]), struct.unpack(f"<{len(body) // 4}f", body)


def missing_modules(*names):
    """The modules of these that cannot be imported."""
    missing = []
    for name in names:
        try:
            __import__(name)
        except ImportError:
            missing.append(name)
    return missing
