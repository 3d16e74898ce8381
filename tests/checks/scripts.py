"""The shell scripts are well-formed (bash -n), say what they do under --help, and satisfy shellcheck where it is installed.

Usage: scripts.py TOP
"""
import os
import shutil
import subprocess
import sys

import sources

top = sys.argv[1]
scripts = []
for name in sources.files(top):
    if name.startswith((".ci/", "scripts/", "bench/")):
        with open(os.path.join(top, name), "rb") as file:
            if file.readline().startswith(b"#!/usr/bin/env bash"):
                scripts.append(os.path.join(top, name))
if len(scripts) < 4:
    sys.exit(f"only {len(scripts)} scripts were found")
failed = False
for script in scripts:
    failed |= subprocess.run(["bash", "-n", script], check=False).returncode != 0
    with open(script, encoding="utf-8") as file:
        if "set -euo pipefail" not in file.read():
            print(f"{script}: does not begin with set -euo pipefail")
            failed = True
    if os.sep + "scripts" + os.sep in script:
        shown = subprocess.run([script, "--help"], capture_output=True, text=True, check=False)
        if shown.returncode != 0 or not shown.stdout.startswith("Usage: scripts/"):
            print(f"{script} --help: exit {shown.returncode}\n{shown.stdout}{shown.stderr}")
            failed = True
checker = shutil.which("shellcheck")
if checker:
    failed |= subprocess.run([checker, *scripts], check=False).returncode != 0
else:
    print("shellcheck is not installed; the rest was checked")
print(f"{len(scripts)} scripts" + (" have faults" if failed else " are well-formed"))
sys.exit(failed)
