"""Every C and C++ source is formatted as .clang-format says. Usage: format.py TOP"""
import os
import shutil
import subprocess
import sys

import sources

top = sys.argv[1]
tool = shutil.which("clang-format-14") or shutil.which("clang-format")
if tool is None:
    sources.skip("clang-format is not installed")
version = subprocess.run([tool, "--version"], capture_output=True, text=True, check=True).stdout
if "version 14." not in version:
    sources.skip(f"the formatting is that of clang-format 14; here is {version.strip()}")

# Frozen hosts and what is generated stay as they were made.
names = [name for name in sources.files(top)
         if name.endswith((".c", ".h", ".cpp", ".hpp", ".cu", ".cuh")) and not name.startswith("capi/abi/")]
if not names:
    sys.exit("no sources were found")
wrong = []
for name in names:
    if subprocess.run([tool, "--dry-run", "-Werror", "--style=file", os.path.join(top, name)],
                      capture_output=True, check=False).returncode != 0:
        wrong.append(name)
if wrong:
    print("Not formatted; run: clang-format -i " + " ".join(wrong))
    sys.exit(1)
print(f"{len(names)} files are formatted")
