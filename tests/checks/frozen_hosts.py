"""Runs every host binary that was frozen with a description, or the ones that are named, against today's library.

Usage: frozen_hosts.py TOP LIBRARY-FOLDER MAKE-FAKE-MODEL BACKEND [HOST...]

With "-" for the program that makes a model for the fake backend, the shipped model is used; with "-" for BACKEND, the
library's own.
"""
import glob
import os
import shutil
import subprocess
import sys
import tempfile

import sources

top, library_folder, make_fake_model, backend, *hosts = sys.argv[1:]
if not hosts:
    hosts = sorted(glob.glob(os.path.join(top, "capi/abi/*/host")))
if not hosts:
    sources.skip("no host has been frozen in capi/abi yet")

failed = False
for host in hosts:
    with tempfile.TemporaryDirectory() as folder:
        program = shutil.copy(host, os.path.join(folder, "host"))
        os.chmod(program, 0o755)  # Whatever an archive did to its mode.
        models, model = os.path.join(top, "models"), "gameforge-tiles"
        if make_fake_model != "-":
            models, model = os.path.join(folder, "models"), "fake"
            # Slow enough for a job to be cancelled while it runs.
            subprocess.run([make_fake_model, models, model, '{"step_us": 1000, "log": true}'], check=True)
        environment = dict(os.environ, LD_LIBRARY_PATH=library_folder)
        run = subprocess.run([program, models, model, backend, folder], capture_output=True, text=True, env=environment,
                             timeout=300, check=False)
    print(f"{os.path.relpath(host, top)}: exit {run.returncode}\n{run.stdout}{run.stderr}")
    failed |= run.returncode != 0 or "host: everything is as it was" not in run.stdout
sys.exit(failed)
