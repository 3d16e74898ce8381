"""The library and its header keep what every frozen description in capi/abi promised: added symbols and grown tails pass.

Usage: abi_compare.py TOP LIBRARY
"""
import glob
import os
import shutil
import subprocess
import sys

import abi_header
import sources


def compare(description, library, header=None, suppressions=os.path.join(os.path.dirname(os.path.abspath(__file__)), "grown_tails.supp")):
    """Runs abidiff; returns its report where it found a difference that may not be, else an empty text."""
    words = ["abidiff", "--exported-interfaces-only", "--no-added-syms", "--suppressions", suppressions]
    if header:
        words += ["--headers-dir2", header]
    run = subprocess.run([*words, description, library], capture_output=True, text=True, check=False)
    return "" if run.returncode == 0 else f"abidiff {os.path.basename(description)}: exit {run.returncode}\n{run.stdout}{run.stderr}"


def main(top, library):
    descriptions = sorted(glob.glob(os.path.join(top, "capi/abi/*.abi")))
    if not descriptions:
        sources.skip("no description has been frozen in capi/abi yet")
    with open(os.path.join(top, "include/gameforge/gameforge.h"), encoding="utf-8") as file:
        now = abi_header.declarations(file.read())
    faults = []
    for description in descriptions:
        with open(os.path.join(description[: -len(".abi")], "gameforge/gameforge.h"), encoding="utf-8") as file:
            faults += [f"{os.path.basename(description)}: {fault}" for fault in abi_header.broken(abi_header.declarations(file.read()), now)]
    if not faults and shutil.which("abidiff") is None:
        sources.skip("abidiff is not installed; the header alone was compared, and it keeps every promise")
    if shutil.which("abidiff"):
        sections = subprocess.run(["readelf", "-S", "--wide", library], capture_output=True, text=True, check=True).stdout
        if ".debug_info" not in sections:
            sys.exit(f"{library} has no debug information, without which abidiff would compare names alone")
        faults += filter(None, (compare(description, library, os.path.join(top, "include")) for description in descriptions))
    if faults:
        print("\n".join(faults))
        sys.exit(1)
    print(f"{len(descriptions)} frozen descriptions are kept")


if __name__ == "__main__":
    main(os.path.realpath(sys.argv[1]), sys.argv[2])
