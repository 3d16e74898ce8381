"""A format of the log that does not fit its arguments must not compile, nor one that is no literal.

Usage: log_formats.py --cxx COMPILER --root REPOSITORY FLAG...
"""

import argparse
import os
import subprocess
import sys
import tempfile

GOOD = [
    'logger.log(gf::LogLevel::info, "m", "nothing");',
    'logger.log(gf::LogLevel::info, "m", "{} {} {:.2f} {}", 1, text, 0.5, true);',
    'logger.log(gf::LogLevel::info, "m", "{:>8}", std::string_view("x"));',
]
BAD = {
    "too few arguments": 'logger.log(gf::LogLevel::info, "m", "{} {}", 1);',
    "a text as a number": 'logger.log(gf::LogLevel::info, "m", "{:d}", text);',
    "a number as a text": 'logger.log(gf::LogLevel::info, "m", "{:s}", 1);',
    "an open brace": 'logger.log(gf::LogLevel::info, "m", "{", 1);',
    "a format made at run time": 'logger.log(gf::LogLevel::info, "m", text.c_str(), 1);',
    "a module made at run time": 'logger.log(gf::LogLevel::info, text.c_str(), "{}", 1);',
    "a pointer": 'logger.log(gf::LogLevel::info, "m", "{}", static_cast<void*>(nullptr));',
    "17 arguments": 'logger.log(gf::LogLevel::info, "m", "{}", 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17);',
}


def compiles(command, folder, line):
    path = os.path.join(folder, "planted.cpp")
    with open(path, "w", encoding="utf-8") as out:
        out.write('#include "error/logger.hpp"\n#include <string>\n'
                  f"void planted(gf::error::Logger& logger, const std::string& text) {{\n  (void)text;\n  {line}\n}}\n")
    return subprocess.run([*command, path], capture_output=True, text=True, check=False)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--cxx", required=True)
    parser.add_argument("--root", required=True)
    arguments = parser.parse_args()
    command = [arguments.cxx, "-std=c++20", "-fsyntax-only", "-DFMT_HEADER_ONLY", "-I", os.path.join(arguments.root, "src")]
    faults = []
    with tempfile.TemporaryDirectory() as folder:
        done = compiles(command, folder, "\n  ".join(GOOD))
        if done.returncode != 0:
            faults.append(f"what fits does not compile:\n{done.stderr}")
        for name, line in BAD.items():
            if compiles(command, folder, line).returncode == 0:
                faults.append(f"{name} compiles: {line}")
    for fault in faults:
        print(fault)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
