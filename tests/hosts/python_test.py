"""The Python binding, as its users use it: assets, cancelling, errors, and memory that stays flat."""

import gc
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from array import array
from pathlib import Path

from support import MODELS, NEEDS_REAL, REAL, missing_modules, read_png, run_in_this_interpreter

import gameforge

MODEL = "gameforge-tiles"
PATIENCE_S = 120


def open_engine(**options):
    return gameforge.Engine([MODELS], use_environment=True, **options)


def resident_bytes():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Library(unittest.TestCase):
    def test_the_table_of_statuses_rises_and_each_has_a_class_of_its_group(self):
        from gameforge.errors import error_class

        rows = gameforge.status_table()
        numbers = [row.status for row in rows]
        self.assertEqual(numbers, sorted(set(numbers)))
        self.assertIn(205, numbers)
        groups = {
            1: gameforge.CallerError,
            2: gameforge.FlowError,
            3: gameforge.MemoryOrDeviceError,
            4: gameforge.DataError,
            5: gameforge.EnvironmentFailure,
            9: gameforge.InternalError,
        }
        for row in rows:
            if row.status != 0:
                self.assertTrue(issubclass(error_class(row.status), groups[row.status // 100]), row)
                self.assertTrue(row.hint, row)
        self.assertEqual(error_class(205).__name__, "QueueFull")

    def test_version_and_doctor_answer(self):
        self.assertEqual(gameforge.library_version(), gameforge.__version__)
        self.assertIsInstance(gameforge.version(), dict)
        self.assertIn("problems", gameforge.doctor([MODELS], os.environ.get("GAMEFORGE_BACKEND_PATH")))

    def test_another_library_is_refused_once_one_is_loaded(self):
        gameforge.load_library()
        with self.assertRaises(RuntimeError):
            gameforge.load_library("/nonexistent/libgameforge.so")


class Generation(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.engine = open_engine()

    @classmethod
    def tearDownClass(cls):
        cls.engine.close()

    def test_an_asset_is_generated_with_its_events_report_and_recipe(self):
        job = self.engine.submit("a red potion", seed=1, steps=6, host_tag=42)
        types = []
        for event in self.engine.events(job, timeout=PATIENCE_S):
            if event.job != job.id:
                continue
            types.append(event.type)
            self.assertEqual(event.host_tag, 42)
            if event.type == "progress":
                self.assertIn(event.stage, ("loading", "encoding", "sampling", "decoding", "storing"))
        self.assertEqual(types[0], "accepted")
        self.assertEqual(types[-1], "done")
        self.assertIn("started", types)

        image = job.result(timeout=1)[0]
        self.assertEqual(image.size, (32, 32))
        self.assertEqual(image.seed, 1)
        pixels = bytes(image.pixels)
        self.assertEqual(len(pixels), 32 * 32 * 4)
        self.assertEqual(set(pixels[3::4]), {255})
        self.assertGreater(len(set(pixels)), 4, "the picture is of one colour")

        info = job.info()
        self.assertTrue(info.is_over)
        self.assertEqual((info.width, info.height, info.seed, info.images_ready), (32, 32, 1, 1))
        self.assertIn("request", job.report())
        recipe = job.parameters_text()
        self.assertTrue(recipe.startswith("a red potion\nSteps: 6, Sampler: "), recipe)
        self.assertIn("Seed: 1, Size: 32x32", recipe)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "potion.png"
            image.save(path, parameters=recipe)
            png = read_png(path)
            self.assertEqual(png.text("parameters"), recipe)
            self.assertEqual(b"".join(bytes(p) for p in png.pixels()), pixels)
            self.assertEqual(image.to_png(parameters=recipe), path.read_bytes())

    @unittest.skipUnless(REAL, NEEDS_REAL)
    def test_a_lora_changes_the_picture_and_what_fits_nothing_is_told_to_each_job(self):
        plain = self.engine.generate("a red potion", seed=1, steps=3)[0]
        frost = self.engine.generate("a red potion", seed=1, steps=3, loras={"frost": 1.0})[0]
        tagged = self.engine.generate("a red potion <lora:frost>", seed=1, steps=3)[0]
        self.assertNotEqual(bytes(plain.pixels), bytes(frost.pixels))
        self.assertEqual(bytes(tagged.pixels), bytes(frost.pixels))
        self.assertEqual(bytes(self.engine.generate("a red potion", seed=1, steps=3)[0].pixels), bytes(plain.pixels))

        with tempfile.TemporaryDirectory() as folder:
            os.symlink(Path(MODELS) / MODEL, Path(folder) / MODEL)
            os.mkdir(Path(folder) / "loras")
            original = (Path(MODELS) / MODEL / "loras/frost.safetensors").read_bytes()
            header_bytes = int.from_bytes(original[:8], "little")
            header = json.loads(original[8 : 8 + header_bytes])
            data = original[8 + header_bytes :]
            header["lora_unet_elsewhere.alpha"] = {"dtype": "U8", "shape": [1], "data_offsets": [len(data), len(data) + 1]}
            text = json.dumps(header).encode()
            changed = len(text).to_bytes(8, "little") + text + data + b"\0"
            (Path(folder) / "loras/other.safetensors").write_bytes(changed)
            with gameforge.Engine([folder], use_environment=True) as engine:
                with self.assertRaises(gameforge.GameForgeError) as refused:
                    engine.generate("a red potion", steps=1, loras={"other": 1.0})
                self.assertIn("lora_unet_elsewhere.alpha", str(refused.exception))
                # The second job finds the files at work already, and is told all the same.
                for _ in range(2):
                    job = engine.submit("a red potion", seed=1, steps=3, loras={"other": 1.0}, lenient_loras=True)
                    self.assertEqual(bytes(job.result(timeout=PATIENCE_S)[0].pixels), bytes(frost.pixels))
                    self.assertIn("lora_unet_elsewhere.alpha", "".join(job.report()["warnings"]))

    @unittest.skipUnless(REAL, NEEDS_REAL)
    def test_a_picture_can_be_begun_from_and_painted_in_part(self):
        start = self.engine.generate("a blue potion", seed=5, steps=3)[0]
        changed = self.engine.generate("a red potion", seed=5, steps=4, init_image=start, strength=0.5)[0]
        self.assertNotEqual(bytes(changed.pixels), bytes(start.pixels))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "start.png"
            start.save(path)
            again = self.engine.generate(
                "a red potion", seed=5, steps=4, init_image=gameforge.Image.read(path), strength=0.5
            )[0]
            self.assertEqual(bytes(again.pixels), bytes(changed.pixels))

    def test_the_same_request_gives_the_same_pixels_and_another_seed_others(self):
        first, second, other = (
            bytes(self.engine.generate("a book", seed=seed, steps=3, timeout=PATIENCE_S)[0].pixels) for seed in (7, 7, 8)
        )
        self.assertEqual(first, second)
        self.assertNotEqual(first, other)

    def test_image_i_of_a_job_is_that_of_the_seed_plus_i(self):
        pair = self.engine.generate("a rune", seed=10, image_count=2, steps=3, timeout=PATIENCE_S)
        self.assertEqual([image.seed for image in pair], [10, 11])
        alone = self.engine.generate("a rune", seed=11, steps=3, timeout=PATIENCE_S)[0]
        self.assertEqual(bytes(pair[1].pixels), bytes(alone.pixels))

    def test_without_a_seed_one_is_drawn_and_told(self):
        job = self.engine.submit("a tree", steps=2)
        image = job.result(PATIENCE_S)[0]
        self.assertEqual(job.info().seed, image.seed)
        again = self.engine.generate("a tree", steps=2, seed=image.seed, timeout=PATIENCE_S)[0]
        self.assertEqual(bytes(image.pixels), bytes(again.pixels))

    def test_cancel_ends_a_long_job_soon_and_is_raised(self):
        job = self.engine.submit("a statue", seed=1, steps=1000, image_count=200)
        for event in self.engine.events(job, timeout=PATIENCE_S):
            if event.job == job.id and event.type == "progress" and event.stage == "sampling":
                break
        asked = time.monotonic()
        job.cancel()
        info = job.wait(PATIENCE_S)
        self.assertEqual(info.state, "cancelled")
        self.assertLess(time.monotonic() - asked, 10)
        with self.assertRaises(gameforge.FlowError) as raised:
            job.result()
        self.assertEqual(raised.exception.name, "cancelled")

    def test_cancel_after_image_keeps_what_is_finished(self):
        job = self.engine.submit("a door", seed=5, steps=4, image_count=256)
        for event in self.engine.events(job, timeout=PATIENCE_S):
            if event.job == job.id and event.type == "progress" and event.stage == "sampling":
                break
        job.cancel(after_image=True)
        info = job.wait(PATIENCE_S)
        self.assertEqual(info.state, "cancelled")
        self.assertGreaterEqual(info.images_ready, 1)
        self.assertLess(info.images_ready, 256)
        self.assertEqual(job.image(0).size, (32, 32))

    def test_a_wait_that_is_too_short_is_timed_out_and_changes_nothing(self):
        job = self.engine.submit("a portal", seed=1, steps=500)
        began = time.monotonic()
        with self.assertRaises(gameforge.FlowError) as raised:
            job.wait(0.0)
        self.assertEqual(raised.exception.name, "timed_out")
        self.assertTrue(raised.exception.retryable)
        self.assertLess(time.monotonic() - began, 5)
        job.cancel()
        self.assertEqual(job.wait(PATIENCE_S).state, "cancelled")

    def test_waiting_in_one_thread_lets_another_run(self):
        job = self.engine.submit("an altar", seed=1, steps=1000, image_count=100)
        canceller = threading.Timer(0.2, job.cancel)
        canceller.start()
        self.assertEqual(job.wait(PATIENCE_S).state, "cancelled")
        canceller.join()

    def test_kept_latents_have_the_vaes_shape_and_go_through_a_file(self):
        info = self.engine.model_info(MODEL)
        cells = (32 // info["vae_factor"]) ** 2 * info["latent_channels"]
        job = self.engine.submit("a coin", seed=2, steps=3, keep_latents=True)
        job.result(PATIENCE_S)
        values = job.latents(0)
        self.assertEqual(len(values), cells)
        side = 32 // info["vae_factor"]
        shape = (1, info["latent_channels"], side, side)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "latents.safetensors"
            gameforge.write_latents(path, values, shape)
            self.assertEqual(gameforge.read_latents(path), (shape, values))
            with self.assertRaises(ValueError):
                gameforge.write_latents(path, values, (1, 1, side, side))

    def test_initial_latents_decide_the_picture_instead_of_the_seed(self):
        import random

        info = self.engine.model_info(MODEL)
        cells = (32 // info["vae_factor"]) ** 2 * info["latent_channels"]
        draw = random.Random(3)
        noise = array("f", (draw.gauss(0, 1) for _ in range(cells)))
        with_noise = [
            bytes(
                self.engine.generate("a helmet", seed=seed, steps=3, initial_latents=noise, timeout=PATIENCE_S)[0].pixels
            )
            for seed in (1, 2 if REAL else 1)  # The fake backend mixes the seed in.
        ]
        self.assertEqual(with_noise[0], with_noise[1])
        drawn = self.engine.generate("a helmet", seed=1, steps=3, timeout=PATIENCE_S)[0]
        self.assertNotEqual(with_noise[0], bytes(drawn.pixels))

    @unittest.skipUnless(REAL, NEEDS_REAL)
    def test_the_tile_stands_on_the_models_background_which_can_be_keyed_out(self):
        image = self.engine.generate("a red potion", seed=1, timeout=PATIENCE_S)[0]
        background = self.engine.model_info(MODEL)["background"]
        keyed = image.key_background(background["rgb"], background["tolerance"])
        alphas = bytes(keyed.pixels)[3::4]
        self.assertEqual(set(alphas), {0, 255})
        self.assertGreater(alphas.count(0), 200)
        self.assertGreater(alphas.count(255), 50)


class Failures(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.engine = open_engine()

    @classmethod
    def tearDownClass(cls):
        cls.engine.close()

    def refused(self, kind, name, **fields):
        fields.setdefault("prompt", "a potion")
        prompt = fields.pop("prompt")
        with self.assertRaises(kind) as raised:
            self.engine.generate(prompt, timeout=PATIENCE_S, **fields)
        self.assertEqual(raised.exception.name, name, raised.exception)
        self.assertTrue(raised.exception.message)
        self.assertTrue(raised.exception.hint)
        return raised.exception

    def test_bad_fields_are_refused_by_name(self):
        self.assertIn("steps", self.refused(gameforge.CallerError, "invalid_argument", steps=10**6).message)
        self.assertIn("cfg_scale", self.refused(gameforge.CallerError, "invalid_argument", cfg_scale=float("nan")).message)
        self.assertIn("width", self.refused(gameforge.CallerError, "invalid_argument", width=33).message)
        self.assertIn("nosuch", self.refused(gameforge.CallerError, "unsupported", sampler="nosuch").message)
        self.assertIn("nosuch", self.refused(gameforge.CallerError, "not_found", model="nosuch").message)
        self.refused(gameforge.CallerError, "payload_too_large", prompt="x" * 70000)

    def test_text_with_a_nul_is_refused_before_c_cuts_it(self):
        with self.assertRaises(ValueError):
            self.engine.submit("a\0b")

    def test_a_folder_that_is_no_model_names_what_is_missing(self):
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "broken").mkdir()
            (Path(folder) / "broken" / "model_index.json").write_text("{ not json")
            with gameforge.Engine([folder], use_environment=True) as engine:
                with self.assertRaises(gameforge.DataError) as raised:
                    engine.generate("a potion", model="broken", timeout=PATIENCE_S)
                self.assertIn("model_index.json", raised.exception.message)

    def test_a_missing_backend_is_said_and_the_engine_lives_on(self):
        with gameforge.Engine([MODELS], backend_path="/nonexistent/backend.so") as engine:
            for _ in range(2):
                with self.assertRaises(gameforge.MemoryOrDeviceError) as raised:
                    engine.generate("a potion", timeout=PATIENCE_S)
                self.assertEqual(raised.exception.name, "backend_missing")
            self.assertEqual([model["name"] for model in engine.models()], [MODEL])

    def test_a_closed_engine_and_a_closed_image_are_errors_and_closing_twice_is_not(self):
        engine = open_engine()
        job = engine.submit("a potion", seed=1, steps=1000)
        self.assertTrue(engine.close(timeout=PATIENCE_S))
        self.assertTrue(engine.close())
        with self.assertRaises(ValueError):
            engine.poll()
        with self.assertRaises(ValueError):
            job.info()
        image = gameforge.Image.from_pixels(1, 1, b"\x01\x02\x03\xff")
        image.close()
        image.close()
        with self.assertRaises(ValueError):
            image.pixels


class Images(unittest.TestCase):
    def test_pixels_go_in_and_come_out_and_views_outlive_the_image(self):
        rgba = bytes(range(2 * 3 * 4))
        with gameforge.Image.from_pixels(2, 3, rgba) as image:
            view = image.pixels
            self.assertTrue(view.readonly)
        gc.collect()
        self.assertEqual(bytes(view), rgba)

    def test_wrong_sizes_are_refused(self):
        with self.assertRaises(ValueError):
            gameforge.Image.from_pixels(2, 2, b"\0" * 15)
        with self.assertRaises(gameforge.CallerError):
            gameforge.Image.from_pixels(0, 2, b"")
        with self.assertRaises(gameforge.CallerError):
            gameforge.Image.from_pixels(1, 1, b"\0\0\0\0").upscale(65)

    def test_upscale_key_and_grid(self):
        grey, red = b"\x2c\x30\x3c\xff", b"\xc8\x0a\x0a\xff"
        image = gameforge.Image.from_pixels(3, 3, grey * 4 + red + grey * 4)
        large = image.upscale(2)
        self.assertEqual(large.size, (6, 6))
        keyed = image.key_background()
        self.assertEqual(bytes(keyed.pixels), (b"\xc8\x0a\x0a\x00") * 4 + red + (b"\xc8\x0a\x0a\x00") * 4)
        self.assertEqual(bytes(image.key_background((1, 2, 3), 0).pixels), bytes(image.pixels))
        sheet = gameforge.grid([image, large], 2, gap=1, background=0x010203FF)
        self.assertEqual(sheet.size, (15, 8))
        with self.assertRaises(gameforge.CallerError):
            gameforge.grid([], 1)

    def test_assets_are_made_of_pixels(self):
        grey, red = b"\x2c\x30\x3c\xff", b"\xc8\x0a\x0a\xff"
        rows = [grey * 16] * 4 + [grey * 4 + red * 8 + grey * 4] * 8 + [grey * 16] * 4
        image = gameforge.Image.from_pixels(16, 16, b"".join(rows))
        self.assertEqual(image.seam_score()[0], image.seam_score()[1])
        sprite = image.cut_sprite()
        self.assertEqual(bytes(sprite.pixels)[3], 0)
        art = sprite.pixelate(cell=4, palette=[0x000000, 0xFF0000], dither="bayer", dither_percent=1)
        self.assertEqual(art.size, (4, 4))
        self.assertEqual(bytes(art.pixels)[4 * 5 : 4 * 6], b"\xff\0\0\xff")
        self.assertEqual(sprite.pixelate(size=(2, 2), colours=1).size, (2, 2))
        self.assertEqual(bytes(image.normal_map("alpha", wrap="xy").pixels)[:4], b"\x80\x80\xff\xff")
        self.assertEqual(gameforge.find_palette([image], 2), [0x2C303C, 0xC80A0A])
        sheet = gameforge.pack([art, image], power_of_two=True, trim=True)
        self.assertEqual(sheet.frames[0].source_width_px, 4)
        atlas = json.loads(sheet.atlas("s.png", names=["art", "image"], durations_ms=[10, 20], tags=[("all", 0, 1)]))
        self.assertEqual(atlas["frames"]["image"]["duration"], 20)
        self.assertEqual(atlas["meta"]["frameTags"][0]["to"], 1)
        self.assertLess(len(image.to_png(indexed=True)), len(image.to_png()))
        with self.assertRaises(gameforge.CallerError):
            gameforge.Image.from_pixels(2, 2, bytes(range(0, 240, 15))).cut_sprite()
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "p.hex")
            with open(path, "w") as file:
                file.write("ff0000\n00ff00\n")
            self.assertEqual(gameforge.read_palette(path), [0xFF0000, 0x00FF00])

    def test_an_unwritable_place_is_said_by_its_path(self):
        image = gameforge.Image.from_pixels(1, 1, b"\0\0\0\xff")
        with self.assertRaises(gameforge.GameForgeError) as raised:
            image.save("/nonexistent/folder/a.png")
        self.assertIn("/nonexistent/folder/a.png", raised.exception.message)

    @unittest.skipIf(missing_modules("numpy"), "NumPy is not installed")
    def test_numpy_sees_the_same_memory_read_only(self):
        import numpy

        rgba = bytes(range(2 * 3 * 4))
        image = gameforge.Image.from_pixels(2, 3, rgba)
        pixels = image.to_numpy()
        self.assertEqual(pixels.shape, (3, 2, 4))
        self.assertEqual(pixels.dtype, numpy.uint8)
        self.assertFalse(pixels.flags.writeable)
        self.assertFalse(pixels.flags.owndata)
        image.close()
        del image
        gc.collect()
        self.assertEqual(pixels.tobytes(), rgba)

    @unittest.skipIf(missing_modules("PIL"), "Pillow is not installed")
    def test_pillow_gets_the_same_pixels(self):
        rgba = bytes(range(2 * 3 * 4))
        picture = gameforge.Image.from_pixels(2, 3, rgba).to_pil()
        self.assertEqual((picture.mode, picture.size, picture.tobytes()), ("RGBA", (2, 3), rgba))

    def test_a_thousand_images_released_leave_memory_flat(self):
        sanitizer = gameforge.version()["sanitizer"]
        if sanitizer:
            self.skipTest(f"the {sanitizer} sanitizer keeps what is freed, and checks for leaks by itself")
        # In a process of its own: what the engines of the other tests give back, and when, is not what is measured.
        ended = subprocess.run(
            [sys.executable, "-B", __file__, "--released-images"], capture_output=True, text=True, timeout=PATIENCE_S
        )
        self.assertEqual(ended.returncode, 0, ended)
        grown = float(ended.stdout)
        # Three images a round of 64 KiB each: if one of them stayed, it would be 62.5 MiB.
        self.assertLess(grown, 4.0)


def grown_by_released_images():
    """MiB by which the process has grown when a thousand rounds of images have come and gone."""
    rgba = bytes(128 * 128 * 4)

    def make(count):
        for _ in range(count):
            image = gameforge.Image.from_pixels(128, 128, rgba)
            view = image.pixels
            image.upscale(1).close()
            del view, image

    make(1000)  # The allocator's own growth comes first: it keeps what it once took.
    gc.collect()
    before = resident_bytes()
    make(1000)
    gc.collect()
    return (resident_bytes() - before) / 2**20


def main():
    if not run_in_this_interpreter():
        return 77
    if "--released-images" in sys.argv:
        print(grown_by_released_images())
        return 0
    unittest.main(verbosity=2)
    return 0


if __name__ == "__main__":
    sys.exit(main())
