"""Tests of what `cmake --install` makes, as a stranger's project meets it.

Usage: package.py STEP --build DIR --work DIR --cmake PROGRAM --cc PROGRAM --cxx PROGRAM --backend with-backend|without-backend

Steps: install (puts the package somewhere, then moves it: nothing may depend on where it was put), cmake and pkgconfig
(an outside project in C and in C++ is configured, built and run), bundle (one folder, moved, runs by itself).
"""
import argparse
import os
import re
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))

# What every program of a Linux machine shares, and what must be the newest of all that ask for it: glibc and GCC's own.
SYSTEM = {"libc.so.6", "libm.so.6", "libdl.so.2", "librt.so.1", "libpthread.so.0", "libutil.so.1", "ld-linux-x86-64.so.2", "libstdc++.so.6",
          "libgcc_s.so.1"}


def fail(text):
    print(text)
    sys.exit(1)


def run(words, **options):
    print("$ " + " ".join(words), flush=True)
    result = subprocess.run(words, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, **options)
    if result.returncode != 0:
        fail(f"{result.stdout}\nexit {result.returncode}")
    return result.stdout


def clean_environment(**more):
    """Nothing of ours that could help: no library path, no CMake prefix."""
    return {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C.UTF-8", **more}


def dynamic(path):
    """(needed, run paths) of an ELF file."""
    text = subprocess.run(["readelf", "-d", "--wide", path], capture_output=True, text=True, check=True).stdout
    needed = re.findall(r"\(NEEDED\).*\[(.+)\]", text)
    paths = [part for entry in re.findall(r"\((?:RUNPATH|RPATH)\).*\[(.*)\]", text) for part in entry.split(":")]
    return needed, paths


def is_elf(path):
    if os.path.islink(path) or not os.path.isfile(path):
        return False
    with open(path, "rb") as file:
        return file.read(4) == b"\x7fELF"


def is_png(path):
    with open(path, "rb") as file:
        return file.read(8) == b"\x89PNG\r\n\x1a\n"


def install(a):
    for folder in ("installed-first", "prefix"):
        shutil.rmtree(os.path.join(a.work, folder), ignore_errors=True)
    first, moved = os.path.join(a.work, "installed-first"), os.path.join(a.work, "prefix")
    run([a.cmake, "--install", a.build, "--prefix", first])
    os.rename(first, moved)
    for folder, _, names in os.walk(moved):
        for name in names:
            path = os.path.join(folder, name)
            if is_elf(path):
                paths = [entry for entry in dynamic(path)[1] if not entry.startswith("$ORIGIN")]
                # libtorch's own are as it came.
                if paths:
                    fail(f"{path}: its run path names {paths}")
                if name.startswith("libgameforge.so") and ".debug_info" in run(["readelf", "-S", "--wide", path]):
                    fail(f"{path} was installed with debug information")
            elif name.endswith((".cmake", ".pc")):
                with open(path, encoding="utf-8") as file:
                    if first in (text := file.read()) or a.build in text:
                        fail(f"{path} names the place where it was made")


def run_hosts(a, folder, environment):
    for host in ("outside_c", "outside_cpp"):
        picture = os.path.join(folder, host + ".png")
        print(run([os.path.join(folder, host), a.backend, picture], cwd=folder, env=environment))
        if a.backend == "with-backend" and not is_png(picture):
            fail(f"{host} made no PNG")


def fresh(a, name):
    folder = os.path.join(a.work, name)
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    return folder


def cmake(a):
    folder = fresh(a, "by-cmake")
    environment = clean_environment(CC=a.cc, CXX=a.cxx)
    run([a.cmake, "-G", "Ninja", "-S", os.path.join(HERE, "outside"), "-B", folder, "-DCMAKE_BUILD_TYPE=Release",
         "-DCMAKE_PREFIX_PATH=" + os.path.join(a.work, "prefix")], env=environment)
    run([a.cmake, "--build", folder], env=environment)
    run_hosts(a, folder, environment)


def pkgconfig(a):
    folder = fresh(a, "by-pkg-config")
    found = [os.path.join(place, name) for place, _, names in os.walk(os.path.join(a.work, "prefix")) for name in names if name == "gameforge.pc"]
    if len(found) != 1:
        fail(f"gameforge.pc is there {len(found)} times")
    environment = clean_environment(PKG_CONFIG_PATH=os.path.dirname(found[0]))

    def ask(*words):
        return run(["pkg-config", *words, "gameforge"], env=environment).split()

    models = ask("--variable=modelfolder")[0]
    library_folder = ask("--variable=libdir")[0]
    for compiler, host, extra in ((a.cc, "c", ["-std=c99"]), (a.cxx, "cpp", ["-std=c++17"])):
        run([compiler, *extra, f'-DMODEL_FOLDER="{models}"', os.path.join(HERE, "outside", "host." + host), "-o",
             os.path.join(folder, "outside_" + host), *ask("--cflags", "--libs")], env=environment)
    run_hosts(a, folder, clean_environment(LD_LIBRARY_PATH=library_folder))


def bundle(a):
    for folder in ("bundled-first", "elsewhere"):
        shutil.rmtree(os.path.join(a.work, folder), ignore_errors=True)
    run([a.cmake, "--install", a.build, "--component", "bundle", "--prefix", os.path.join(a.work, "bundled-first")])
    moved = os.path.join(a.work, "elsewhere", "my game")  # A space: paths that were put together carelessly break here.
    os.makedirs(os.path.dirname(moved))
    os.rename(os.path.join(a.work, "bundled-first"), moved)

    entries = os.listdir(moved)
    objects = [name for name in entries if is_elf(os.path.join(moved, name))]
    wanted = ["gameforge", "libgameforge.so.0"]
    if a.backend == "with-backend":
        wanted += ["libgameforge_torch.so", "libtorch_cpu.so", "libc10.so", "libgomp.so.1"]
    for name in wanted:
        if name not in objects:
            fail(f"the bundle has no {name}")
    for name in objects:
        needed, paths = dynamic(os.path.join(moved, name))
        print(f"{name}: needs {' '.join(needed)}; run path {' '.join(paths)}")
        for library in needed:
            if library not in SYSTEM and library not in objects:
                fail(f"{name} needs {library}, which is neither in the bundle nor on the list of the system's own")
        if any(not path.startswith("$ORIGIN") for path in paths):
            fail(f"{name}: its run path {paths} leaves the bundle")
        if name.startswith(("gameforge", "libgameforge")) and paths != ["$ORIGIN"]:
            fail(f"{name}: its run path is {paths}, not $ORIGIN alone")
        if not name.startswith(("gameforge", "libgameforge")) and name in SYSTEM:
            fail(f"{name} is the system's own and must not be in the bundle")
    for place, folders, names in os.walk(moved):
        for name in folders + names:
            path = os.path.join(place, name)
            if os.path.islink(path) and os.path.isabs(os.readlink(path)):
                fail(f"{path} is a link to {os.readlink(path)}")
    for licence in ["gameforge.txt", "boost.txt", *(["libtorch"] if a.backend == "with-backend" else [])]:
        if not os.path.exists(os.path.join(moved, "licenses", licence)):
            fail(f"the bundle has no licenses/{licence}")
    third = [name for name in objects if not name.startswith(("gameforge", "libgameforge", "libtorch", "libc10", "libgomp", "libcu"))]
    have = " ".join(os.listdir(os.path.join(moved, "licenses")))
    for name in third:
        if name.split(".so")[0].removeprefix("lib").rstrip("0123456789") not in have:
            fail(f"the bundle has no licence of {name}; it has {have}")

    # With an environment of nothing, in a folder that is not the bundle's.
    command = os.path.join(moved, "gameforge")
    loaded = run([command], env={"LD_TRACE_LOADED_OBJECTS": "1"}, cwd="/")
    for name, path in re.findall(r"(\S+) => (/.*) \(", loaded):
        if not os.path.realpath(path).startswith(os.path.realpath(moved)) and name not in SYSTEM:
            fail(f"{name} was found outside of the bundle: {path}")
    print(run([command, "version"], env={}, cwd="/"))
    if a.backend == "with-backend":
        picture = os.path.join(a.work, "elsewhere", "potion.png")
        print(run([command, "generate", "a red potion", "--seed", "1", "--steps", "2", "--transparent", "--upscale", "4", "--out", picture],
                  env={}, cwd="/"))
        if not is_png(picture):
            fail("the bundle's command made no PNG")
    shutil.rmtree(os.path.join(a.work, "elsewhere"))  # Half a gigabyte.


STEPS = {"install": install, "cmake": cmake, "pkgconfig": pkgconfig, "bundle": bundle}
parser = argparse.ArgumentParser()
parser.add_argument("step", choices=sorted(STEPS))
for option in ("build", "work", "cmake", "cc", "cxx", "backend"):
    parser.add_argument("--" + option, required=True)
arguments = parser.parse_args()
os.makedirs(arguments.work, exist_ok=True)
STEPS[arguments.step](arguments)
