"""Runs every host binary that was frozen with a description against today's library.

Usage: frozen_hosts.py TOP LIBRARY-FOLDER MODEL-FOLDER MODEL BACKEND
"""
import glob
import os
import subprocess
import sys
import tempfile

import sources

top, library_folder, *arguments = sys.argv[1:]
hosts = sorted(glob.glob(os.path.join(top, "capi/abi/*/host")))
if not hosts:
    sources.skip("no host has been frozen in capi/abi yet")
failed = False
for host in hosts:
    with tempfile.TemporaryDirectory() as folder:
        program = os.path.join(folder, "host")
        with open(host, "rb") as source, open(program, "wb") as target:  # Whatever an archive did to its mode.
            target.write(source.read())
        os.chmod(program, 0o755)
        environment = dict(os.environ, LD_LIBRARY_PATH=library_folder)
        run = subprocess.run([program, *arguments, folder], capture_output=True, text=True, env=environment, timeout=300, check=False)
    print(f"{os.path.relpath(host, top)}: exit {run.returncode}\n{run.stdout}{run.stderr}")
    failed |= run.returncode != 0 or "host: everything is as it was" not in run.stdout
sys.exit(failed)
