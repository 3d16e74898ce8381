"""Lists the files of the source tree: what git tracks, or every file where there is no git (an unpacked archive)."""
import os
import subprocess
import sys

# What a build makes in the tree; git ignores these.
MADE = {"build", "out", ".git", "__pycache__", ".mypy_cache"}


def files(top):
    """Paths relative to top, sorted."""
    top = os.path.realpath(top)
    git = subprocess.run(["git", "-C", top, "rev-parse", "--show-toplevel"], capture_output=True, text=True, check=False) \
        if _has("git") else None
    # A tree without git of its own may lie inside another repository's.
    if git is not None and git.returncode == 0 and os.path.realpath(git.stdout.strip()) == top:
        listed = subprocess.run(["git", "-C", top, "ls-files", "-z"], capture_output=True, text=True, check=True)
        return sorted(name for name in listed.stdout.split("\0") if name and os.path.isfile(os.path.join(top, name)))
    found = []
    for folder, folders, names in os.walk(top):
        folders[:] = [name for name in folders if name not in MADE]
        found += [os.path.relpath(os.path.join(folder, name), top) for name in names]
    return sorted(found)


def skip(reason):
    """Ends a check that cannot be made here; ctest counts it as skipped."""
    print(f"SKIP: {reason}")
    sys.exit(77)


def _has(program):
    return any(os.access(os.path.join(folder, program), os.X_OK) for folder in os.environ.get("PATH", "").split(os.pathsep))
