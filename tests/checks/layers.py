"""An include from a room above, or from beside, does not compile; one from a room below, or from the room itself, does.

Takes the compiler's command of a room's own source from compile_commands.json, so that what is tested is the build.
Usage: layers.py TOP BUILD
"""
import concurrent.futures
import glob
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile

top, build = (os.path.realpath(path) for path in sys.argv[1:3])

# The arrows of the design: what each room may include. Transitive.
BELOW = {
    "base": [],
    "redis": ["base"],
    "sql": ["base"],
    "error": ["redis", "sql"],
    "queue": ["error"],
    "cache": ["error"],
    "migrate": ["error"],
    "pipeline": ["queue", "cache", "migrate"],
    "engine": ["pipeline"],
    "torch": ["base"],  # And pipeline's backend_abi.h, which a control below asks for.
}


def allowed(room):
    rooms = {room}
    for below in BELOW[room]:
        rooms |= allowed(below)
    return rooms


def header_of(room):
    """A header of the room that is plain to include."""
    found = sorted(glob.glob(os.path.join(top, "src", room, "*.hpp")), key=os.path.getsize)
    return f"{room}/{os.path.basename(found[0])}" if found else None


def command_of(room, commands):
    """The compiler's words for one of the room's sources, without the source and the output."""
    folder = os.path.join(top, "src", room) + os.sep
    for entry in commands:
        # A folder may have sources that are another target's, which stands on nothing of the room.
        if os.path.realpath(entry["file"]).startswith(folder) and f"gf_{room}.dir" in entry["command"]:
            words = shlex.split(entry["command"])
            kept, leave = [], False
            for word in words:
                if leave:
                    leave = False
                elif word in ("-o", "-c", "-MF", "-MT", "-MQ", "-include"):
                    leave = word != "-c"  # -c takes no word of its own, but the source follows.
                elif word in ("-MD", "-Winvalid-pch") or os.path.realpath(os.path.join(entry["directory"], word)) == os.path.realpath(entry["file"]):
                    pass
                else:
                    kept.append(word)
            return kept, entry["directory"]
    return None


def compiles(room_command, text):
    words, directory = room_command
    with tempfile.NamedTemporaryFile("w", suffix=".cpp") as source:
        source.write(text)
        source.flush()
        run = subprocess.run(words + ["-w", "-fsyntax-only", source.name], cwd=directory, capture_output=True, text=True, check=False)
    return run.returncode == 0, run.stderr


with open(os.path.join(build, "compile_commands.json"), encoding="utf-8") as file:
    commands = json.load(file)
present = {room: command for room in BELOW if (command := command_of(room, commands)) and header_of(room)}
headers = {room: header for room in BELOW if (header := header_of(room))}


def examine(pair):
    room, other = pair
    header = headers[other]
    good, errors = compiles(present[room], f'#include "{header}"\n')
    may = other in allowed(room)
    if may and not good and other == room:
        return f"{room}: its own {header} does not compile:\n{errors[:1500]}"
    if may and not good:
        # A room may link less than it is allowed; then the include is not found, and that is no fault.
        return None if re.search(rf"fatal error: {re.escape(header)}: No such file", errors) else f"{room}: {header}:\n{errors[:1500]}"
    if not may and good:
        return f"{room} can include {header}, which lies above or beside it"
    if not may and not re.search(rf"fatal error: {re.escape(header)}: No such file", errors):
        return f"{room}: {header} was refused for another reason than the layers:\n{errors[:1500]}"
    return None


pairs = [(room, other) for room in present for other in headers]
with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
    faults = [fault for fault in pool.map(examine, pairs) if fault]
if "torch" in present:
    good, errors = compiles(present["torch"], '#include "pipeline/backend_abi.h"\n')
    if not good:
        faults.append(f"torch: pipeline/backend_abi.h does not compile:\n{errors[:1500]}")
forbidden = sum(other not in allowed(room) for room, other in pairs)
if faults:
    print("\n".join(faults))
    sys.exit(1)
if not forbidden:
    sys.exit("no pair of rooms was there to be refused")
print(f"{len(pairs)} includes between {len(present)} rooms: {forbidden} refused as they must be")
