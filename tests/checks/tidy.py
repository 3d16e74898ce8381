"""clang-tidy finds nothing in the rooms and the C ABI (torch apart: libtorch's headers take minutes a file).

Usage: tidy.py TOP BUILD
"""
import concurrent.futures
import json
import os
import shutil
import subprocess
import sys

import sources

top, build = (os.path.realpath(path) for path in sys.argv[1:3])
tool = shutil.which("clang-tidy-14") or shutil.which("clang-tidy")
if tool is None:
    sources.skip("clang-tidy is not installed")
with open(os.path.join(build, "compile_commands.json"), encoding="utf-8") as file:
    units = sorted({os.path.realpath(entry["file"]) for entry in json.load(file)})
rooms = (os.path.join(top, "src") + os.sep, os.path.join(top, "capi") + os.sep)
units = [unit for unit in units if unit.startswith(rooms) and f"{os.sep}src{os.sep}torch{os.sep}" not in unit]
if not units:
    sys.exit("no sources were found")


def examine(unit):
    # clang does not know every warning of gcc's by name, nor std::source_location before its version 15.
    shim = os.path.join(top, "tests", "checks", "source_location.hpp")
    extra = ["--extra-arg=-Wno-unknown-warning-option", f"--extra-arg=-include{shim}"]
    run = subprocess.run([tool, "-p", build, "--quiet", *extra, unit],
                         capture_output=True, text=True, check=False)
    return run.returncode, run.stdout.strip()


failed = 0
with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
    for unit, (code, text) in zip(units, pool.map(examine, units)):
        if code != 0 or text:
            failed += 1
            print(text)
print(f"{len(units)} files, {failed} with findings")
sys.exit(failed > 0)
