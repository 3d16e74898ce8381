"""Makes a folder with a fake model, a German locale where one is needed and possible, and runs a host in C with them.

Usage: guest_test.py FAKE_MODELS PROGRAM [ARGUMENT...]; MODELS stands for the folder, LOCALE before it asks for the
locale.
"""

import os
import shutil
import subprocess
import sys
import tempfile


def make_german_locale(folder):
    """LOCPATH for a host, or None and why not."""
    known = subprocess.run(["locale", "-a"], capture_output=True, text=True, check=False).stdout.lower()
    if "de_de.utf8" in known:
        return None, "the system has it"
    if not shutil.which("localedef"):
        return None, "localedef is not installed (Debian: libc-bin)"
    done = subprocess.run(["localedef", "-i", "de_DE", "-f", "UTF-8", os.path.join(folder, "de_DE.UTF-8")],
                          capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        return None, f"localedef: {done.stderr.strip()} (Debian: locales)"
    return folder, "made with localedef"


def main(make_models, *command):
    environment = dict(os.environ)
    command = list(command)
    with tempfile.TemporaryDirectory() as folder:
        if command[0] == "LOCALE":
            command.pop(0)
            path, why = make_german_locale(folder)
            print(f"German locale: {why}")
            if path:
                environment["LOCPATH"] = path
        models = os.path.join(folder, "models")
        subprocess.run([make_models, models, "fake", "{}"], check=True)
        command = [models if part == "MODELS" else part for part in command]
        done = subprocess.run(command, env=environment, check=False)
    if done.returncode < 0:
        print(f"FAILED: the host was killed by signal {-done.returncode}")
        return 1
    return done.returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
