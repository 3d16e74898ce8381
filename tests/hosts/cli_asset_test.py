"""gameforge asset: PNG files in, PNG files and atlases out."""

import json
import os
import struct
import subprocess
import tempfile
import unittest
import zlib
from pathlib import Path

from support import read_png

COMMAND = os.environ["GAMEFORGE_COMMAND"]
PATIENCE_S = 300
GREEN, RED, BLUE, CLEAR = (0, 255, 0, 255), (200, 30, 30, 255), (30, 30, 200, 255), (0, 0, 0, 0)


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def write_png(path, rows, text=None):
    """RGBA rows of pixels, by the specification alone."""
    raw = b"".join(b"\0" + b"".join(bytes(pixel) for pixel in row) for row in rows)
    parts = [chunk(b"IHDR", struct.pack(">IIBBBBB", len(rows[0]), len(rows), 8, 6, 0, 0, 0))]
    if text is not None:
        parts.append(chunk(b"tEXt", b"parameters\0" + text.encode("latin-1")))
    parts += [chunk(b"IDAT", zlib.compress(raw)), chunk(b"IEND", b"")]
    Path(path).write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


def square(side, inside, outside):
    middle = range(side // 4, side - side // 4)
    return [[inside if x in middle and y in middle else outside for x in range(side)] for y in range(side)]


def colour_type(path):
    return Path(path).read_bytes()[25]


class Case(unittest.TestCase):
    def setUp(self):
        self.temporary = tempfile.TemporaryDirectory()
        self.folder = Path(self.temporary.name)

    def tearDown(self):
        self.temporary.cleanup()

    def run_asset(self, *arguments):
        return subprocess.run(
            [COMMAND, "asset", *map(str, arguments)], cwd=self.folder, capture_output=True, text=True, timeout=PATIENCE_S
        )

    def good(self, *arguments):
        ended = self.run_asset(*arguments)
        self.assertEqual(ended.returncode, 0, ended)
        return ended.stdout

    def line(self, *arguments):
        return json.loads(self.good(*arguments, "--json"))

    def bad(self, code, says, *arguments):
        ended = self.run_asset(*arguments)
        self.assertEqual(ended.returncode, code, ended)
        self.assertIn(says, ended.stderr)

    def rgba(self, name):
        """What is in a PNG, whatever its colour type, by way of the command itself."""
        self.good("pixelate", name, "--out", "plain.png", "--rgba")
        return read_png(self.folder / "plain.png")


class Assets(Case):
    def test_a_sprite_is_cut_out_and_keeps_its_recipe(self):
        write_png(self.folder / "in.png", square(16, RED, GREEN), "a square\nSteps: 4")
        line = self.line("key", "in.png", "--out", "sprite.png")
        self.assertEqual((line["key"], line["width"], line["file"]), ("#00FF00", 16, "sprite.png"))
        sprite = read_png(self.folder / "sprite.png")
        self.assertEqual(sprite.pixel(0, 0)[3], 0)
        self.assertEqual(tuple(sprite.pixel(8, 8)), RED)
        self.assertIn((b"tEXt", b"parameters\0a square\nSteps: 4"), sprite.chunks)
        self.good("key", "in.png", "--out", "bare.png", "--no-recipe", "--edge", 0, "--colour", "#00ff00")
        self.assertNotIn(b"tEXt", [kind for kind, _ in read_png(self.folder / "bare.png").chunks])
        # Again: it is cut already.
        self.assertIsNone(self.line("key", "sprite.png", "--out", "again.png")["key"])

    def test_a_border_of_all_colours_is_refused_with_the_figures(self):
        write_png(self.folder / "in.png", [[((x * 37) % 256, (y * 53) % 256, (x * y) % 256, 255) for x in range(32)] for y in range(32)])
        self.bad(1, "the border has no dominant colour", "key", "in.png", "--out", "out.png")
        self.assertFalse((self.folder / "out.png").exists())

    def test_pixel_art_has_the_palettes_colours_in_an_indexed_file(self):
        write_png(self.folder / "in.png", square(16, RED, GREEN))
        (self.folder / "p.gpl").write_text("GIMP Palette\n#\n255 0 0 red\n0 128 0 green\n")
        line = self.line("pixelate", "in.png", "--out", "art.png", "--cell", 4, "--palette", "p.gpl")
        self.assertEqual((line["width"], line["height"], line["indexed"]), (4, 4, True))
        self.assertEqual(colour_type(self.folder / "art.png"), 3)
        art = self.rgba("art.png")
        self.assertEqual(tuple(art.pixel(0, 0))[:3], (0, 128, 0))
        self.assertEqual(tuple(art.pixel(1, 1))[:3], (255, 0, 0))
        for dither in ("none", "bayer", "floyd-steinberg"):
            arguments = ("pixelate", "in.png", "--width", 8, "--height", 8, "--colours", 2, "--dither", dither)
            self.good(*arguments, "--out", "a.png")
            self.good(*arguments, "--out", "b.png")
            self.assertEqual((self.folder / "a.png").read_bytes(), (self.folder / "b.png").read_bytes())

    def test_pictures_share_a_palette(self):
        write_png(self.folder / "a.png", square(8, RED, GREEN))
        write_png(self.folder / "b.png", square(8, BLUE, GREEN))
        text = self.good("palette", "a.png", "b.png", "--colours", 3)
        self.assertEqual(set(text.split()), {"c81e1e", "1e1ec8", "00ff00"})
        (self.folder / "p.hex").write_text(text)
        self.good("pixelate", "a.png", "--out", "c.png", "--palette", "p.hex")

    def test_frames_cut_back_out_of_a_sheet_are_the_files(self):
        pictures = {"a.png": square(9, RED, CLEAR), "b.png": square(16, BLUE, CLEAR), "c.png": square(5, GREEN, CLEAR)}
        for name, rows in pictures.items():
            write_png(self.folder / name, rows)
        for form in ("aseprite-hash", "aseprite-array", "texturepacker-hash", "texturepacker-array"):
            line = self.line("sheet", *pictures, "--out", "s.png", "--atlas", "s.json", "--format", form, "--trim",
                             "--power-of-two", "--padding", 1, "--extrude", 1, "--merge")
            self.assertEqual((line["frames"], line["atlas"]), (3, "s.json"))
            sheet = read_png(self.folder / "s.png")
            self.assertEqual(sheet.width & (sheet.width - 1), 0)
            atlas = json.loads((self.folder / "s.json").read_text())
            self.assertEqual(atlas["meta"]["image"], "s.png")
            self.assertEqual(atlas["meta"]["size"], {"w": sheet.width, "h": sheet.height})
            frames = atlas["frames"]
            if form.endswith("array"):
                frames = {frame["filename"]: frame for frame in frames}
            self.assertEqual(list(frames), list(pictures))
            for name, rows in pictures.items():
                frame, source = frames[name]["frame"], frames[name]["spriteSourceSize"]
                self.assertEqual(frames[name]["sourceSize"], {"w": len(rows[0]), "h": len(rows)})
                self.assertEqual("duration" in frames[name], form.startswith("aseprite"))
                for y in range(len(rows)):
                    for x in range(len(rows[0])):
                        u, v = x - source["x"], y - source["y"]
                        inside = 0 <= u < source["w"] and 0 <= v < source["h"]
                        found = tuple(sheet.pixel(frame["x"] + u, frame["y"] + v)) if inside else CLEAR
                        self.assertEqual(found, rows[y][x])

    def test_animations_are_tags_with_durations(self):
        for name in ("0.png", "1.png"):
            write_png(self.folder / name, square(4, RED, GREEN))
        self.good("sheet", "0.png", "1.png", "--out", "s.png", "--atlas", "s.json", "--tag", "walk:0-1", "--duration", 80,
                  "--layout", "grid", "--columns", 2)
        atlas = json.loads((self.folder / "s.json").read_text())
        self.assertEqual(atlas["meta"]["frameTags"], [{"name": "walk", "from": 0, "to": 1, "direction": "forward"}])
        self.assertEqual(atlas["frames"]["1.png"]["duration"], 80)
        self.assertEqual(atlas["frames"]["1.png"]["frame"], {"x": 4, "y": 0, "w": 4, "h": 4})
        self.bad(1, "tags[0] goes from frame 0 to 2", "sheet", "0.png", "1.png", "--out", "t.png", "--atlas", "t.json",
                 "--tag", "walk:0-2")
        self.assertFalse((self.folder / "t.png").exists())
        self.bad(1, "0.png", "sheet", "0.png", "0.png", "--out", "t.png", "--atlas", "t.json")

    def test_a_normal_map_and_a_seam(self):
        write_png(self.folder / "in.png", [[(x * 16, x * 16, x * 16, 255) for x in range(16)] for _ in range(16)])
        self.good("normal", "in.png", "--out", "n.png", "--strength", 16)
        left = read_png(self.folder / "n.png").pixel(8, 8)
        self.assertLess(left[0], 60)
        self.assertEqual(left[1], 128)
        line = self.line("seam", "in.png")
        self.assertAlmostEqual(line["x"]["score"], 15)
        self.assertEqual(line["y"]["score"], 1)
        self.assertEqual(self.run_asset("seam", "in.png", "--most", "1.1").returncode, 4)
        self.good("seam", "in.png", "--most", "1.1", "--axis", "y")

    def test_what_is_wrong_is_group_1_or_4_and_named(self):
        write_png(self.folder / "in.png", square(8, RED, GREEN))
        (self.folder / "bad.hex").write_text("ff0000\nred\n")
        out = ("--out", "out.png")
        self.bad(1, "none.png", "key", "none.png", *out)
        self.bad(1, "--colour is green", "key", "in.png", *out, "--colour", "green")
        self.bad(1, "tolerance", "key", "in.png", *out, "--tolerance", 0)
        self.bad(1, "none/out.png", "key", "in.png", "--out", "none/out.png")
        self.bad(4, "bad.hex:2: ", "pixelate", "in.png", *out, "--palette", "bad.hex")
        self.bad(1, "--dither is blue", "pixelate", "in.png", *out, "--colours", 2, "--dither", "blue")
        self.bad(1, "dither needs", "pixelate", "in.png", *out, "--dither", "bayer")
        self.bad(1, "--wrap is z", "normal", "in.png", *out, "--wrap", "z")
        self.bad(1, "--height is depth", "normal", "in.png", *out, "--height", "depth")
        self.bad(1, "--tag needs --atlas", "sheet", "in.png", *out, "--tag", "a:0-0")
        self.bad(1, "--tag is a:0", "sheet", "in.png", *out, "--atlas", "a.json", "--tag", "a:0")
        self.bad(1, "do not fit", "sheet", "in.png", *out, "--max-side", 7)
        (self.folder / "in.png").write_bytes(b"no picture")
        for command in ("key", "pixelate", "normal"):
            self.bad(4, "in.png", command, "in.png", *out)
        self.assertFalse((self.folder / "out.png").exists())


if __name__ == "__main__":
    unittest.main(verbosity=2)
