"""The LuaJIT host: it must generate, cancel, and leave a PNG with its recipe."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from support import SOURCE, read_png


def main():
    if reason := os.environ.get("GAMEFORGE_TEST_SKIP"):
        print(f"skipped: {reason}")
        return 77
    luajit = shutil.which("luajit")
    if luajit is None:
        print("skipped: luajit is not installed (Debian: apt-get install luajit)")
        return 77
    environment = dict(os.environ)
    if preload := environment.get("GAMEFORGE_TEST_PRELOAD"):
        environment["LD_PRELOAD"] = preload
    script = SOURCE / "examples" / "lua" / "generate.lua"
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "potion.png"
        run = subprocess.run(
            [luajit, str(script), "a red potion", str(out)], env=environment, capture_output=True, text=True, timeout=300
        )
        print(run.stdout, run.stderr, sep="")
        assert run.returncode == 0, f"luajit ended with {run.returncode}"
        assert "\ndone\n" in run.stdout
        assert "cancelled the second job at step" in run.stdout
        png = read_png(out)
        assert (png.width, png.height) == (256, 256), (png.width, png.height)
        recipe = png.text("parameters")
        assert recipe and recipe.startswith("a red potion\nSteps: "), recipe

        # A host that does wrong is told so, and ends with the message of the library.
        run = subprocess.run(
            [luajit, str(script), "a red potion", str(out), "no-such-model"],
            env=environment, capture_output=True, text=True, timeout=300,
        )
        assert run.returncode == 1, run
        assert "no-such-model" in run.stderr, run.stderr
    return 0


if __name__ == "__main__":
    sys.exit(main())
