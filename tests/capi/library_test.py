"""What libgameforge.so shows to the dynamic linker: its symbols, what it needs, how it is linked, and what it never
calls."""

import argparse
import os
import re
import subprocess
import sys

# Libraries that a host has anyway, or that lie beside ours.
NEEDED = {
    "libc.so.6", "libm.so.6", "ld-linux-x86-64.so.2",  # glibc
    "libstdc++.so.6", "libgcc_s.so.1",  # the compiler's
    "libpng16.so.16", "libz.so.1",  # images; Debian's static archives of them are not position-independent
    "libsqlite3.so.0",  # records; likewise
}
SANITIZER_NEEDED = {"libasan.so.8", "libubsan.so.1", "libtsan.so.2"}

# What a guest in a process does not call, and why it may be there all the same.
FORBIDDEN = {
    "exit", "_exit", "_Exit", "quick_exit", "atexit", "on_exit", "raise", "kill", "tgkill",  # ends the host
    "abort", "__assert_fail", "_ZSt9terminatev",
    "signal", "sigaction", "sigaltstack", "__sysv_signal", "bsd_signal", "sigset",  # handlers are the host's
    "setlocale", "uselocale", "setenv", "putenv", "unsetenv", "clearenv", "environ", "secure_getenv",
    "printf", "__printf_chk", "puts", "putchar", "vprintf", "perror", "stdout", "stderr", "stdin",  # prints
    "fprintf", "__fprintf_chk", "vfprintf", "__vfprintf_chk", "fputs", "fputc",
    "_ZSt4cout", "_ZSt4cerr", "_ZSt4clog",
    "system", "popen", "fork", "vfork", "execve", "posix_spawn", "daemon", "chdir", "umask", "srand", "rand",
    "getenv",
}
ALLOWED = {
    "getenv": "gf_config_load reads the environment for hosts that ask for it",
    "_ZSt9terminatev": "the compiler calls it where an exception would leave a noexcept function: a bug of ours",
    "__assert_fail": "assertions of debug builds",
}
# Of these only a debug build may have the second kind.
DEBUG_ONLY = {"__assert_fail"}

arguments = argparse.ArgumentParser()
for name in ("--library", "--header", "--map", "--version", "--soversion"):
    arguments.add_argument(name, required=True)
arguments.add_argument("--sanitizer", default="")
arguments.add_argument("--debug", action="store_true")
arguments = arguments.parse_args()
failures = []


def output(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def expect(condition, text):
    if not condition:
        failures.append(text)


def same(what, found, wanted):
    found, wanted = set(found), set(wanted)
    expect(found == wanted, f"{what}: more than wanted: {sorted(found - wanted)}, missing: {sorted(wanted - found)}")


with open(arguments.header, encoding="utf-8") as file:
    header = file.read()
with open(arguments.map, encoding="utf-8") as file:
    export_map = re.sub(r"#.*", "", file.read())
declared = re.findall(r"^GF_API\s[^;]*?\b(\w+)\s*\(", header, re.MULTILINE)
mapped = re.findall(r"^\s+(gf_\w+);", export_map, re.MULTILINE)
expect("local:\n    *;" in export_map, "the map does not make everything else local")
expect("*" not in export_map.split("local:")[0], "the map exports by pattern; it must name each function")

exported, nodes = set(), set()
for line in output("nm", "-D", "--defined-only", arguments.library).splitlines():
    kind, symbol = line.split()[-2:]
    if kind == "A":
        nodes.add(symbol)
        continue
    name, _, node = symbol.partition("@")
    exported.add(name)
    expect(kind == "T", f"{name} is exported as {kind}, not as a function")
    expect(node.lstrip("@").startswith("GAMEFORGE_"), f"{name} has the version {node or 'none'}")
same("the map and the header", mapped, declared)
same("the exported symbols and the map", exported, mapped)
expect(all(name.startswith("gf_") for name in exported), "a symbol does not begin with gf_")
expect(len(exported) > 40, "the library exports hardly anything")

dynamic = output("readelf", "-dW", arguments.library)
needed = set(re.findall(r"\(NEEDED\).*\[(.*)\]", dynamic))
allowed = NEEDED | (SANITIZER_NEEDED if arguments.sanitizer else set())
expect(needed <= allowed, f"needed libraries that are not on the list: {sorted(needed - allowed)}")
expect(re.findall(r"\(SONAME\).*\[(.*)\]", dynamic) == [f"libgameforge.so.{arguments.soversion}"], "SONAME is wrong")
expect(re.findall(r"\((?:RUNPATH|RPATH)\).*\[(.*)\]", dynamic) == ["$ORIGIN"], "the run path is not $ORIGIN alone")
flags = " ".join(re.findall(r"\(FLAGS(?:_1)?\)(.*)", dynamic))
for flag in ("NODELETE", "NOW"):
    expect(flag in flags, f"it is not linked with {flag}: {flags}")
expect("TEXTREL" not in dynamic, "it has text relocations")
segments = output("readelf", "-lW", arguments.library)
expect("GNU_RELRO" in segments, "it has no GNU_RELRO segment")
stack = re.search(r"GNU_STACK.*", segments)
expect(stack and " RWE " not in stack.group(0), "its stack is executable")

folder = os.path.dirname(arguments.library)
for link in ("libgameforge.so", f"libgameforge.so.{arguments.soversion}"):
    target = os.path.realpath(os.path.join(folder, link))
    expect(os.path.basename(target) == f"libgameforge.so.{arguments.version}", f"{link} leads to {target}")

undefined = {line.split()[-1].partition("@")[0] for line in output("nm", "-D", "-u", arguments.library).splitlines()}
if not arguments.sanitizer:  # A sanitizer's own calls are its business.
    for name in sorted(undefined & FORBIDDEN):
        reason = ALLOWED.get(name)
        if name in DEBUG_ONLY and not arguments.debug:
            reason = None
        if reason:
            print(f"{name} is there: {reason}")
        else:
            failures.append(f"it calls {name}")
expect("_Znwm" in undefined, "the list of undefined symbols is not what nm is thought to print")

print(f"{len(exported)} symbols, needs {', '.join(sorted(needed))}")
for failure in failures:
    print("FAILED:", failure)
sys.exit(1 if failures else 0)
