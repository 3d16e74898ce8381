"""The command, as people and scripts use it: help, exit codes, JSON, files, and pictures."""

import json
import math
import os
import pty
import random
import shutil
import signal
import stat
import subprocess
import tempfile
import time
import unittest
import unittest.mock
from pathlib import Path

from support import MODELS, NEEDS_REAL, REAL, missing_modules, read_png, read_safetensors, write_safetensors

COMMAND = os.environ["GAMEFORGE_COMMAND"]
PATIENCE_S = 300
GOLDEN_MODELS = Path(__file__).resolve().parents[1] / "golden" / "models"
VAE_FACTOR = 2  # Of the shipped model, as its card says.


def run(*arguments, folder=None, environment=None):
    return subprocess.run(
        [COMMAND, *map(str, arguments)], cwd=folder, capture_output=True, text=True, timeout=PATIENCE_S,
        env={**os.environ, **(environment or {})},
    )


class Case(unittest.TestCase):
    def setUp(self):
        self.temporary = tempfile.TemporaryDirectory()
        self.folder = Path(self.temporary.name)

    def tearDown(self):
        self.temporary.cleanup()

    def good(self, *arguments):
        ended = run(*arguments, folder=self.folder)
        self.assertEqual(ended.returncode, 0, ended)
        return ended

    def json_line(self, *arguments):
        ended = self.good(*arguments, "--json")
        self.assertEqual(ended.stdout.count("\n"), 1, ended.stdout)
        return json.loads(ended.stdout)

    def bad(self, code, *arguments, says=()):
        """The command ends with that code and says these words; under --json the same in one line."""
        ended = run(*arguments, folder=self.folder)
        self.assertEqual(ended.returncode, code, ended)
        for word in [says] if isinstance(says, str) else says:
            self.assertIn(word, ended.stderr)
        self.assertNotIn("terminate called", ended.stderr)
        return ended


class Help(Case):
    COMMANDS = (
        ["generate"], ["sheet"], ["model"], ["model", "list"], ["model", "info"], ["bench"], ["bench", "pipeline"],
        ["doctor"], ["version"], ["migrate"], ["migrate", "run"], ["migrate", "create"], ["migrate", "rollback"],
        ["migrate", "redo"], ["migrate", "status"], ["migrate", "validate"], ["migrate", "baseline"],
        ["migrate", "repair"], ["migrate", "dump"], ["migrate", "diff"],
        ["asset"], ["asset", "key"], ["asset", "pixelate"], ["asset", "palette"], ["asset", "sheet"], ["asset", "normal"],
        ["asset", "seam"],
    )

    def test_every_command_explains_itself_with_examples(self):
        self.assertIn("generate", self.good("--help").stdout)
        for command in self.COMMANDS:
            with self.subTest(command=command):
                text = self.good(*command, "--help").stdout
                self.assertIn("Examples:", text)
                self.assertIn("gameforge " + " ".join(command), text)

    def test_generate_has_the_options_that_its_help_tells(self):
        text = self.good("generate", "--help").stdout
        for option in (
            "--model", "--negative", "--width", "--height", "--steps", "--cfg", "--seed", "--sampler", "--count", "--prompt2",
            "--negative2", "--init-latents", "--save-latents", "--transparent", "--upscale", "--threads", "--out", "--json",
            "--config",
        ):
            self.assertIn(option + " ", text)

    def test_a_command_line_that_is_no_command_line_is_group_1(self):
        for arguments in (
            [], ["nosuch"], ["generate"], ["generate", "a", "--nosuch"], ["generate", "a", "--steps", "many"],
            ["generate", "a", "--steps", "-1"], ["generate", "a", "--seed", "1e3"], ["generate", "a", "--seed", "-2"],
            ["sheet"], ["model"], ["bench"], ["migrate"], ["migrate", "nosuch"], ["migrate", "create"],
            ["migrate", "run", "--to", "x", "--db", "sqlite:x.db"], ["migrate", "rollback", "--db", "sqlite:x.db"],
            ["migrate", "rollback", "1", "--to", "2"], ["migrate", "rollback", "--steps", "0", "--db", "sqlite:x.db"],
            ["migrate", "repair", "--db", "sqlite:x.db"], ["migrate", "baseline"],
            ["migrate", "repair", "--mark-applied", "1", "--mark-unapplied", "1"],
            ["migrate", "run", "--prove", "--db", "sqlite:x.db"], ["migrate", "run", "--lock-wait", "-1"],
        ):
            with self.subTest(arguments=arguments):
                self.bad(1, *arguments)


class Information(Case):
    def test_version(self):
        parts = self.json_line("version")
        self.assertIsInstance(parts, dict)
        text = self.good("version").stdout
        self.assertTrue(text.startswith("GameForge 0."), text)
        self.assertEqual(self.good("--version").stdout.strip(), text.splitlines()[0])

    def test_doctor_says_what_there_is(self):
        report = self.json_line("doctor")
        self.assertEqual(report["problems"], [])
        self.assertIn("no problem was found", self.good("doctor").stdout)

    def test_doctor_says_what_is_missing_and_ends_with_group_3(self):
        ended = run("doctor", "--json", environment={"GAMEFORGE_BACKEND_PATH": "/nonexistent/backend.so"})
        self.assertEqual(ended.returncode, 3, ended)
        self.assertIn("/nonexistent/backend.so", json.dumps(json.loads(ended.stdout)["problems"]))

    def test_models_are_listed_and_told(self):
        names = [model["name"] for model in self.json_line("model", "list")["models"]]
        self.assertIn("gameforge-tiles", names)
        self.assertIn("gameforge-tiles", self.good("model", "list").stdout)
        info = self.json_line("model", "info", "gameforge-tiles")
        self.assertEqual(info["family"], "sdxl")
        self.assertEqual(info["background"]["rgb"], [44, 48, 60])
        self.assertIn("sdxl", self.good("model", "info", MODELS / "gameforge-tiles").stdout)
        self.bad(1, "model", "info", "nosuch", says="nosuch")

    def test_a_model_whose_files_are_wrong_is_group_4(self):
        broken = self.folder / "broken"
        shutil.copytree(MODELS / "gameforge-tiles", broken, ignore=shutil.ignore_patterns("*.safetensors", "loras"))
        (broken / "unet" / "config.json").write_text('{"_class_name": ')
        self.bad(4, "model", "info", broken, says=["unet", "config.json"])


    def single_file(self, name="tiny"):
        """The small golden model as one file, with what neither names nor shapes tell in a file beside it."""
        shutil.copy(GOLDEN_MODELS / "single-file" / "sdxl.safetensors", self.folder / f"{name}.safetensors")
        configs = {"scheduler": json.loads((GOLDEN_MODELS / "sdxl/scheduler/scheduler_config.json").read_text())}
        for part in ("unet", "vae", "text_encoder", "text_encoder_2"):
            configs[part] = json.loads((GOLDEN_MODELS / "sdxl" / part / "config.json").read_text())
        (self.folder / f"{name}.gameforge.json").write_text(json.dumps({"licence": "CC0-1.0", "configs": configs}))
        return self.folder / f"{name}.safetensors"

    def test_a_checkpoint_in_one_file_is_listed_told_and_draws_what_its_folder_draws(self):
        file = self.single_file()
        info = self.json_line("model", "info", file)
        self.assertEqual((info["name"], info["family"], info["licence"]), ("tiny", "sdxl", "CC0-1.0"))
        self.assertEqual([part["name"] for part in info["parts"]],
                         ["scheduler", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "unet", "vae"])
        # The parts' weights are the file's bytes, but for their headers and what training left.
        self.assertLess(abs(info["file_bytes"] - file.stat().st_size), file.stat().st_size * 0.6)
        if not REAL:
            self.skipTest(NEEDS_REAL)  # And the environment names the folders.
        (self.folder / "engine.toml").write_text(f'model_folders = ["{self.folder}"]\n')
        names = [model["name"] for model in self.json_line("model", "list", "--config", "engine.toml")["models"]]
        self.assertIn("tiny", names)
        self.assertEqual(self.json_line("model", "info", "tiny", "--config", "engine.toml")["path"], str(file.resolve()))
        pictures = []
        for model in (file, GOLDEN_MODELS / "sdxl"):
            line = self.json_line("generate", "a red potion", "--model", model, "--seed", 5, "--steps", 3, "--width", 64,
                                  "--height", 64, "--out", f"{len(pictures)}.png")
            self.assertEqual(line["status"], "ok")
            pictures.append(read_png(self.folder / f"{len(pictures)}.png"))
        self.assertEqual(pictures[0].rows, pictures[1].rows)

    def test_files_of_other_kinds_are_group_4_and_named(self):
        lora = next((MODELS / "gameforge-tiles" / "loras").glob("*.safetensors"))
        self.bad(4, "model", "info", lora, says=["it is a LoRA", lora.name])
        unet = next((MODELS / "gameforge-tiles" / "unet").glob("*.safetensors"))
        self.bad(4, "model", "info", unet, says="it is one part of a diffusers folder")
        file = self.single_file()
        (self.folder / "tiny.gameforge.json").write_text("[1]")
        self.bad(4, "model", "info", file, says="tiny.gameforge.json: it is not a JSON object")
        (self.folder / "tiny.gameforge.json").write_text('{"configs": {"unet": 3}}')
        self.bad(4, "model", "info", file, says="configs.unet is not a JSON object")
        (self.folder / "tiny.gameforge.json").unlink()
        with open(file, "r+b") as cut:
            cut.truncate(file.stat().st_size // 2)
        self.bad(4, "model", "info", file, says="tiny.safetensors")


class Generate(Case):
    def generate(self, *arguments):
        return self.json_line("generate", *arguments)

    def test_one_line_of_json_tells_files_seed_times_and_memory(self):
        line = self.generate("a red potion", "--seed", 1, "--steps", 4, "--out", "potion.png")
        self.assertEqual([image["file"] for image in line["images"]], ["potion.png"])
        self.assertEqual((line["seed"], line["width"], line["height"]), (1, 32, 32))
        for name in ("queue_s", "load_s", "encode_s", "sample_s", "decode_s", "total_s"):
            self.assertGreaterEqual(line["timings"][name], 0)
        self.assertGreater(line["timings"]["total_s"], 0)
        self.assertGreater(line["peak_memory_bytes"], 1 << 20)
        self.assertEqual(line["status"], "ok")
        png = read_png(self.folder / "potion.png")
        self.assertEqual((png.width, png.height, png.channels), (32, 32, 3))
        self.assertGreater(len(set(png.pixels())), 3, "the picture is of one colour")

    def test_a_memory_budget_is_kept_by_our_count_and_the_systems(self):
        budget = 96 << 20
        line = self.generate("a red potion", "--seed", 1, "--steps", 4, "--memory-budget", "96MiB", "--out", "potion.png")
        memory = line["memory"]
        self.assertEqual(memory["budget_bytes"], budget)
        self.assertLessEqual(memory["ledger_peak_bytes"], budget)
        print("memory with a budget of 96 MiB:", memory)
        if "ASAN_OPTIONS" not in os.environ:  # The sanitizer's shadow and quarantine are not ours.
            self.assertLessEqual(memory["resident_peak_bytes"] - memory["resident_before_bytes"], budget + (32 << 20))
        if not REAL:
            return
        self.assertGreater(memory["ledger_peak_bytes"], 1 << 20)
        # The whole model does not fit here: it comes and goes in parts, and the picture is the same.
        small = self.generate("a red potion", "--seed", 1, "--steps", 4, "--memory-budget", "36MiB", "--out", "small.png")
        self.assertEqual(small["report"]["memory"]["rungs"], ["offload_parts"])
        self.assertLessEqual(small["memory"]["ledger_peak_bytes"], 36 << 20)
        pictures = [read_png(self.folder / name).pixels() for name in ("small.png", "potion.png")]
        self.assertEqual(list(pictures[0]), list(pictures[1]))
        # Nor does a part of it here: refused, with what would fit.
        failed = self.bad(3, "generate", "a red potion", "--memory-budget", "4MiB", "--out", "none.png")
        self.assertRegex(failed.stderr, "a budget of [0-9]+ bytes would fit")
        self.assertFalse((self.folder / "none.png").exists())

    def test_a_picture_that_is_to_be_tiled_joins_itself(self):
        self.bad(1, "generate", "moss", "--tile", "z")
        if not REAL:
            self.skipTest(NEEDS_REAL)
        line = self.generate("a stone wall", "--seed", 10, "--steps", 6, "--count", 8, "--tile", "xy", "--out", ".")
        seams = [image["seam"] for image in line["report"]["images"]]
        means = {axis: sum(seam[axis] for seam in seams) / len(seams) for axis in "xy"}
        print("seam scores of 8 tiled pictures, in the mean:", means)
        self.assertLessEqual(means["x"], 1.1)
        self.assertLessEqual(means["y"], 1.1)
        self.assertEqual(line["report"]["request"]["tile"], "xy")
        picture = line["images"][0]["file"]
        self.assertIn("Tiling: True", read_png(self.folder / picture).text("parameters"))
        measured = self.json_line("asset", "seam", picture)  # What the report says is what the picture has.
        self.assertAlmostEqual(measured["x"]["score"], seams[0]["x"], 6)
        plain = self.generate("a stone wall", "--seed", 10, "--steps", 6, "--out", "plain.png")
        self.assertIsNone(plain["report"]["request"]["tile"])
        self.assertIsNone(plain["report"]["images"][0]["seam"])
        self.assertNotEqual(list(read_png(self.folder / "plain.png").pixels()),
                            list(read_png(self.folder / picture).pixels()))
        along = self.generate("a stone wall", "--seed", 10, "--steps", 6, "--tile", "x", "--out", "along.png")
        self.assertIn("Tiling: x", read_png(self.folder / "along.png").text("parameters"))
        self.assertNotEqual(list(read_png(self.folder / "along.png").pixels()),
                            list(read_png(self.folder / picture).pixels()))

    def test_the_recipe_is_in_the_png(self):
        self.good("generate", "a red potion, glass", "--negative", "blurry", "--seed", 5, "--steps", 3, "--cfg", 2.5,
                  "--sampler", "Euler a", "--out", "p.png")
        recipe = read_png(self.folder / "p.png").text("parameters")
        first, second, third = recipe.split("\n")
        self.assertEqual((first, second), ("a red potion, glass", "Negative prompt: blurry"))
        self.assertTrue(third.startswith("Steps: 3, Sampler: Euler a, "), third)
        for part in ("CFG scale: 2.5", "Seed: 5", "Size: 32x32", "Model: gameforge-tiles", "Version: GameForge 0."):
            self.assertIn(part, third)

        exiftool = shutil.which("exiftool")
        if exiftool:
            read = subprocess.run([exiftool, "-b", "-Parameters", "p.png"], cwd=self.folder, capture_output=True, text=True)
            self.assertEqual(read.stdout.strip(), recipe)
        else:
            print("exiftool is not installed: not asked")
        if missing_modules("PIL"):
            print("Pillow is not installed: not asked")
        else:
            import PIL.Image

            with PIL.Image.open(self.folder / "p.png") as picture:
                self.assertEqual(picture.info["parameters"], recipe)

    def test_a_prompt_that_latin1_does_not_hold_is_read_back_too(self):
        prompt = "ein Trank \u836f\u6c34 \U0001f9ea"
        self.good("generate", prompt, "--seed", 1, "--steps", 2, "--out", "p.png")
        self.assertTrue(read_png(self.folder / "p.png").text("parameters").startswith(prompt + "\nSteps: 2, "))
        exiftool = shutil.which("exiftool")
        if exiftool:
            read = subprocess.run([exiftool, "-b", "-Parameters", "p.png"], cwd=self.folder, capture_output=True, text=True)
            self.assertTrue(read.stdout.startswith(prompt))

    def test_seed_minus_one_is_any_seed(self):
        seeds = {self.generate("a red potion", "--seed", -1, "--steps", 1, "--out", "any.png")["seed"] for _ in range(2)}
        self.assertEqual(len(seeds), 2)
        self.assertNotIn(2**64 - 1, seeds)

    def test_the_same_seed_gives_the_same_bytes_and_another_seed_another_picture(self):
        for name, seed in (("a", 9), ("b", 9), ("c", 10)):
            self.good("generate", "a rune", "--seed", seed, "--steps", 4, "--out", name + ".png")
        same, again, other = ((self.folder / (name + ".png")).read_bytes() for name in "abc")
        self.assertEqual(same, again)
        self.assertNotEqual(read_png(self.folder / "a.png").rows, read_png(self.folder / "c.png").rows)
        self.assertNotEqual(same, other)

    def test_without_a_seed_one_is_drawn_and_printed(self):
        line = self.generate("a rune", "--steps", 2, "--out", "a.png")
        self.good("generate", "a rune", "--steps", 2, "--out", "b.png", "--seed", line["seed"])
        self.assertEqual((self.folder / "a.png").read_bytes(), (self.folder / "b.png").read_bytes())
        text = self.good("generate", "a rune", "--steps", 2, "--out", "c.png").stdout
        self.assertRegex(text, r"c\.png  32x32  seed \d+")

    def test_several_pictures_get_numbers_and_the_seeds_that_follow(self):
        line = self.generate("a tree", "--seed", 3, "--steps", 3, "--count", 3, "--out", "tree.png")
        self.assertEqual([image["file"] for image in line["images"]], ["tree_0.png", "tree_1.png", "tree_2.png"])
        self.assertEqual([image["seed"] for image in line["images"]], [3, 4, 5])
        self.good("generate", "a tree", "--seed", 5, "--steps", 3, "--out", "alone.png")
        self.assertEqual(read_png(self.folder / "tree_2.png").rows, read_png(self.folder / "alone.png").rows)

    def test_without_out_and_with_a_folder_the_name_is_of_prompt_and_seed(self):
        self.good("generate", "A Red, red Potion!", "--seed", 1, "--steps", 2)
        self.assertTrue((self.folder / "a-red-red-potion-1.png").is_file())
        (self.folder / "out").mkdir()
        self.good("generate", "../x", "--seed", 2, "--steps", 2, "--out", "out")
        self.assertTrue((self.folder / "out" / "x-2.png").is_file())

    def test_upscale_makes_each_pixel_a_square(self):
        self.good("generate", "a shield", "--seed", 1, "--steps", 3, "--out", "small.png")
        line = self.generate("a shield", "--seed", 1, "--steps", 3, "--upscale", 8, "--out", "large.png")
        self.assertEqual(line["images"][0]["width"], 256)
        small, large = read_png(self.folder / "small.png"), read_png(self.folder / "large.png")
        self.assertEqual((large.width, large.height), (256, 256))
        for y in range(256):
            for x in range(256):
                if large.pixel(x, y) != small.pixel(x // 8, y // 8):
                    self.fail(f"pixel {x}, {y}")

    @unittest.skipUnless(REAL, NEEDS_REAL)
    def test_transparent_clears_the_background_and_keeps_the_subject(self):
        self.good("generate", "a red potion", "--seed", 1, "--transparent", "--upscale", 2, "--out", "p.png")
        png = read_png(self.folder / "p.png")
        self.assertEqual((png.width, png.channels), (64, 4))
        alphas = [pixel[3] for pixel in png.pixels()]
        self.assertEqual(set(alphas), {0, 255})
        self.assertGreater(alphas.count(0), 800)
        self.assertGreater(alphas.count(255), 200)
        self.assertEqual([png.pixel(x, y)[3] for x in (0, 63) for y in (0, 63)], [0, 0, 0, 0])
        # What is kept is as it was; what is cleared has taken the colour of an edge instead of the background's.
        self.good("generate", "a red potion", "--seed", 1, "--upscale", 2, "--out", "q.png")
        before = read_png(self.folder / "q.png").pixels()
        for now, was in zip(png.pixels(), before):
            if now[3] == 255:
                self.assertEqual(now, was)

    def test_latents_go_out_and_come_in(self):
        # The noise decides the picture, whatever the seed; saved latents have its shape and are the same each time.
        side = 32 // VAE_FACTOR
        draw = random.Random(1)
        noise = [draw.gauss(0, 1) for _ in range(2 * 4 * side * side)]
        write_safetensors(self.folder / "noise.safetensors", "latents", (2, 4, side, side), noise)
        lines = [
            self.generate("a helmet", "--seed", seed, "--steps", 3, "--init-latents", "noise.safetensors",
                          "--save-latents", f"last{seed}.safetensors", "--out", f"{seed}.png")
            for seed in (1, 50)
        ]
        self.assertEqual([len(line["images"]) for line in lines], [2, 2], "as many pictures as the file has noises")
        if REAL:  # The fake backend mixes the seed in.
            for index in (0, 1):
                pictures = [read_png(self.folder / f"{seed}_{index}.png").rows for seed in (1, 50)]
                self.assertEqual(pictures[0], pictures[1])
        self.assertNotEqual(read_png(self.folder / "1_0.png").rows, read_png(self.folder / "1_1.png").rows)
        shape, values = read_safetensors(self.folder / "last1.safetensors", "latents")
        self.assertEqual(shape, (2, 4, side, side))
        self.assertTrue(all(map(math.isfinite, values)))
        if REAL:
            self.assertEqual(values, read_safetensors(self.folder / "last50.safetensors", "latents")[1])
        # A round trip through our own files: what was saved is read as noise, twice to the same picture.
        for name in "ab":
            self.good("generate", "a helmet", "--steps", 2, "--init-latents", "last1.safetensors", "--out", name + ".png",
                      "--seed", 1)
        for index in (0, 1):
            self.assertEqual(read_png(self.folder / f"a_{index}.png").rows, read_png(self.folder / f"b_{index}.png").rows)

    @unittest.mock.patch.dict(os.environ)
    def test_a_config_file_is_read_and_the_command_line_wins(self):
        for name in ("GAMEFORGE_MODEL_FOLDERS", "GAMEFORGE_THREAD_COUNT"):
            os.environ.pop(name, None)  # The environment would win over the file.
        config = self.folder / "gameforge.toml"
        config.write_text(f'model_folders = ["{self.folder}"]\nthread_count = 2\n')
        shutil.copytree(MODELS / "gameforge-tiles", self.folder / "mine", ignore=shutil.ignore_patterns("loras"))
        line = self.generate("a potion", "--config", config, "--model", "mine", "--seed", 1, "--steps", 2, "--out", "a.png")
        self.assertEqual((line["model"], line["report"]["threads"]), ("mine", 2))
        line = self.generate("a potion", "--config", config, "--model", "mine", "--seed", 1, "--steps", 2, "--out", "a.png",
                             "--threads", 1)
        self.assertEqual(line["report"]["threads"], 1)
        # The same pixels are promised for the same number of threads.
        line = self.generate("a potion", "--model", "./mine", "--seed", 1, "--steps", 2, "--out", "b.png", "--threads", 1)
        self.assertEqual(line["model"], str(self.folder.resolve() / "mine"))
        self.assertEqual(read_png(self.folder / "a.png").rows, read_png(self.folder / "b.png").rows)
        config.write_text("nosuch_key = 1\n")
        self.bad(1, "generate", "a", "--config", config, "--out", "c.png", says="nosuch_key")
        config.write_text("model_folders = [\n")
        self.bad(4, "generate", "a", "--config", config, "--out", "c.png", says="gameforge.toml")


    def test_a_terminal_sees_a_progress_bar_and_a_pipe_does_not(self):
        arguments = [COMMAND, "generate", "a door", "--seed", "1", "--steps", "5", "--out", "a.png"]
        ours, theirs = pty.openpty()
        process = subprocess.Popen(arguments, cwd=self.folder, stdout=subprocess.PIPE, stderr=theirs)
        os.close(theirs)
        seen = b""
        try:
            while chunk := os.read(ours, 4096):
                seen += chunk
        except OSError:
            pass  # So a terminal says that its other end is closed.
        finally:
            os.close(ours)
        process.communicate(timeout=PATIENCE_S)
        self.assertEqual(process.returncode, 0)
        # Only the newest event of a job is kept, so that not every step need be seen.
        self.assertRegex(seen, rb"\[#*\.*\] image 1, (step [0-5] of 5|decoding)")
        lines = seen.split(b"\r")
        self.assertEqual([line for line, next in zip(lines, lines[1:]) if line == next], [], "a line is drawn when it changes")
        self.assertTrue(seen.endswith(b"\r\x1b[K"), seen[-80:])
        ended = subprocess.run(arguments, cwd=self.folder, capture_output=True, timeout=PATIENCE_S)
        self.assertEqual(ended.stderr, b"")
        self.assertNotIn(b"\r", ended.stdout)


class Refusals(Case):
    def test_fields_out_of_range_are_group_1_and_named(self):
        for arguments, says in (
            (["--steps", "0"], "steps is 0"),
            (["--steps", "1000000"], "steps is 1000000"),
            (["--cfg", "nan"], "cfg"),
            (["--cfg", "0"], "cfg"),
            (["--width", "33"], "33"),
            (["--width", "0"], "width is 0"),
            (["--height", "9000"], "height"),
            (["--count", "0"], "count is 0"),
            (["--count", "257"], "count is 257"),
            (["--upscale", "0"], "upscale is 0"),
            (["--upscale", "65"], "upscale is 65"),
            (["--threads", "0"], "threads is 0"),
            (["--sampler", "nosuch"], "nosuch"),
            (["--model", "nosuch"], "nosuch"),
            (["--model", "./nosuch"], "nosuch"),
            (["--init-latents", "none.safetensors"], "none.safetensors"),
            (["--out", "none/a.png"], "none/a.png"),
            (["--out", "/dev/null/a.png"], "/dev/null/a.png"),
            (["--save-latents", "none/l.safetensors", "--out", "a.png"], "none/l.safetensors"),
        ):
            with self.subTest(arguments=arguments):
                self.bad(1, "generate", "a potion", "--seed", "1", *arguments, says=says)
        self.assertEqual(list(self.folder.iterdir()), [], "a refusal leaves no file")

    def test_latents_that_do_not_fit_are_named(self):
        write_safetensors(self.folder / "l.safetensors", "latents", (1, 4, 3, 3), [0.0] * 36)
        self.bad(1, "generate", "a", "--init-latents", "l.safetensors", "--width", "32", "--height", "32", "--out", "a.png",
                 says=["l.safetensors", "[1, 4, 3, 3]", "[1, 4, 16, 16]"])
        write_safetensors(self.folder / "m.safetensors", "latents", (1, 4, 16, 16), [0.0] * 1024)
        self.bad(1, "generate", "a", "--init-latents", "m.safetensors", "--count", "2", "--out", "a.png",
                 says=["m.safetensors", "[1, 4, 16, 16]", "[2, 4, 16, 16]"])
        (self.folder / "x.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}      ")
        self.bad(4, "generate", "a", "--init-latents", "x.safetensors", "--out", "a.png", says="x.safetensors")
        (self.folder / "y.safetensors").write_bytes(b"\xff\xff\xff\xff\xff\xff\xff\xff{}")
        self.bad(4, "generate", "a", "--init-latents", "y.safetensors", "--out", "a.png", says="y.safetensors")

    def test_a_prompt_that_is_not_utf8_is_group_1(self):
        ended = subprocess.run(
            [COMMAND.encode(), b"generate", b"a \xff potion", b"--out", b"a.png"], cwd=self.folder, capture_output=True,
            timeout=PATIENCE_S,
        )
        self.assertEqual(ended.returncode, 1, ended)
        self.assertIn(b"prompt", ended.stderr)

    def test_a_backend_that_is_missing_is_group_3(self):
        ended = run("generate", "a potion", "--out", "a.png", folder=self.folder,
                    environment={"GAMEFORGE_BACKEND_PATH": "/nonexistent/backend.so"})
        self.assertEqual(ended.returncode, 3, ended)
        self.assertIn("/nonexistent/backend.so", ended.stderr)

    def test_weights_that_are_cut_off_are_group_4(self):
        if not REAL:
            self.skipTest(NEEDS_REAL)
        broken = self.folder / "broken"
        shutil.copytree(MODELS / "gameforge-tiles", broken, ignore=shutil.ignore_patterns("loras"))
        weights = next((broken / "unet").glob("*.safetensors"))
        with open(weights, "r+b") as file:
            file.truncate(weights.stat().st_size // 2)
        self.bad(4, "generate", "a potion", "--model", broken, "--out", "a.png", says=["unet", weights.name])

    def test_a_file_that_cannot_be_replaced_is_said_before_the_work(self):
        (self.folder / "a-potion-1.png").mkdir()
        self.bad(1, "generate", "a potion", "--seed", "1", says="a-potion-1.png: it is a folder")
        (self.folder / "x_1.png").mkdir()
        self.bad(1, "generate", "a potion", "--seed", "1", "--count", "2", "--out", "x.png", says="x_1.png: it is a folder")
        self.assertFalse((self.folder / "x_0.png").exists())

    @unittest.skipIf(os.geteuid() == 0, "root may write everywhere")
    def test_a_folder_without_permission_is_group_1(self):
        closed = self.folder / "closed"
        closed.mkdir()
        closed.chmod(stat.S_IRUSR | stat.S_IXUSR)
        self.bad(1, "generate", "a potion", "--out", closed / "a.png", says="closed")

    def test_errors_under_json_are_one_line_too(self):
        ended = self.bad(1, "generate", "a", "--steps", "0", "--json")
        self.assertEqual(ended.stdout.count("\n"), 1)
        error = json.loads(ended.stdout)["error"]
        self.assertEqual((error["status"], error["name"]), (101, "invalid_argument"))
        self.assertTrue(error["hint"])

    def test_output_that_goes_nowhere_is_group_5(self):
        with open("/dev/full", "w") as full:
            ended = subprocess.run([COMMAND, "version"], stdout=full, stderr=subprocess.PIPE, text=True, timeout=PATIENCE_S)
        self.assertEqual(ended.returncode, 5, ended)

    def test_ctrl_c_cancels_with_group_2_and_leaves_no_half_file(self):
        process = subprocess.Popen(
            [COMMAND, "generate", "a potion", "--steps", "1000", "--count", "200", "--out", "a.png"], cwd=self.folder,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        time.sleep(1)  # Anywhere between its first line and its last: each place must do.
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 2, (out, err))
        self.assertIn("cancel", err)
        for left in self.folder.iterdir():
            read_png(left)  # What is there is whole.


class Sheet(Case):
    def test_a_sheet_has_a_row_a_prompt_and_a_column_a_seed(self):
        (self.folder / "prompts.txt").write_text("# a comment\na red potion\n\n  a book\n")
        line = self.json_line("sheet", "--prompts", "prompts.txt", "--out", "sheet.png", "--seeds", 3, "--steps", 3,
                              "--gap", 1, "--atlas", "sheet.json")
        self.assertEqual((line["prompts"], line["images"], line["columns"]), (["a red potion", "a book"], 6, 3))
        sheet = read_png(self.folder / "sheet.png")
        self.assertEqual((sheet.width, sheet.height), (3 * 33 + 1, 2 * 33 + 1))
        atlas = json.loads((self.folder / "sheet.json").read_text())
        self.assertEqual(list(atlas["frames"]), [f"{p} {s}" for p in ("a red potion", "a book") for s in range(3)])
        self.assertEqual(atlas["frames"]["a book 1"]["frame"], {"x": 34, "y": 34, "w": 32, "h": 32})
        self.assertEqual(atlas["meta"]["image"], "sheet.png")
        # The second seed of the second prompt is what generate gives for it.
        self.good("generate", "a book", "--seed", 1, "--steps", 3, "--out", "book.png")
        book = read_png(self.folder / "book.png")
        for y in range(32):
            for x in range(32):
                self.assertEqual(sheet.pixel(34 + x, 34 + y), book.pixel(x, y))

    def test_columns_and_upscale(self):
        (self.folder / "p.txt").write_text("a rune\na tree\na door\n")
        self.good("sheet", "--prompts", "p.txt", "--out", "s.png", "--steps", 2, "--columns", 2, "--gap", 0, "--upscale", 2)
        sheet = read_png(self.folder / "s.png")
        self.assertEqual((sheet.width, sheet.height), (128, 128))

    def test_what_is_no_list_of_prompts_is_refused(self):
        (self.folder / "empty.txt").write_text("# nothing\n")
        self.bad(1, "sheet", "--prompts", "empty.txt", "--out", "s.png", says="empty.txt")
        self.bad(1, "sheet", "--prompts", "none.txt", "--out", "s.png", says="none.txt")
        (self.folder / "p.txt").write_text("a rune\n")
        self.bad(1, "sheet", "--prompts", "p.txt", "--out", "s.png", "--columns", 2, says="columns is 2")
        self.bad(1, "sheet", "--prompts", "p.txt", "--out", "none/s.png", says="none/s.png")


class Bench(Case):
    def test_bench_measures_the_pipeline(self):
        line = self.json_line("bench", "pipeline", "--steps", 3, "--repeat", 2, "--threads", 1)
        self.assertEqual((line["steps"], line["repeat"], line["width"], line["height"]), (3, 2, 32, 32))
        for name in ("asset_s", "step_s", "encode_s", "decode_s"):
            self.assertLessEqual(0, line[name]["min"])
            self.assertLessEqual(line[name]["min"], line[name]["median"])
        self.assertGreater(line["load_s"], 0)
        self.assertGreaterEqual(line["asset_s"]["min"], 3 * line["step_s"]["min"])
        self.assertGreater(line["peak_rss_bytes"], 1 << 20)


if __name__ == "__main__":
    unittest.main(verbosity=2)
