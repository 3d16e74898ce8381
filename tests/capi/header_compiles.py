"""gameforge.h and gameforge.hpp compile alone, without a warning, in every language that they promise; so does every
INIT macro, and so do the examples in their comments."""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile

WARNINGS = ["-pedantic", "-Wall", "-Wextra", "-Wshadow", "-Werror", "-fsyntax-only"]


def macros_source(header, wrapper):
    """A source that uses every INIT macro of the header, at file scope and in a function."""
    macros = re.findall(r"^#define (GF_(\w+)_INIT)\b", header, re.MULTILINE)
    structs = re.findall(r"^typedef struct (gf_\w+) \{\s*uint32_t struct_size;", header, re.MULTILINE)
    named = {"gf_" + name.lower(): macro for macro, name in macros}
    assert set(named) == set(structs), (sorted(named), sorted(structs))
    lines = [f'#include "gameforge/{wrapper}"']
    for struct, macro in named.items():
        lines.append(f"{struct} global_{struct} = {macro};")
    lines.append("int use_all(void);\nint use_all(void) {\n  unsigned wrong = 0;")
    for struct, macro in named.items():
        lines.append(f"  {struct} local_{struct} = {macro};")
        lines.append(f"  wrong += local_{struct}.struct_size != sizeof local_{struct};")
        lines.append(f"  wrong += global_{struct}.struct_size != sizeof global_{struct};")
    lines.append("  return (int)wrong;\n}\n")
    return "\n".join(lines), len(named)


def example_source(header, wrapper):
    """The code of the header's opening comment, in a function."""
    comment = header[: header.index("*/")]
    code = [line[3:] for line in comment.splitlines() if line.startswith(" *     ")]
    assert len(code) > 5, "the opening comment has no example"
    return f'#include <stdio.h>\n#include "gameforge/{wrapper}"\nint example(void);\nint example(void) {{\n' + \
        "\n".join(code) + "\n  return 0;\n}\n"


def main():
    arguments = argparse.ArgumentParser()
    for name in ("--include", "--cc", "--cxx"):
        arguments.add_argument(name, required=True)
    arguments = arguments.parse_args()
    with open(os.path.join(arguments.include, "gameforge", "gameforge.h"), encoding="utf-8") as file:
        header = file.read()
    with open(os.path.join(arguments.include, "gameforge", "gameforge.hpp"), encoding="utf-8") as file:
        wrapper = file.read()

    compilers = [("c", arguments.cc), ("c++", arguments.cxx)]
    for language, other in (("c", "clang"), ("c++", "clang++")):
        if shutil.which(other) and os.path.basename(arguments.cc) != "clang":
            compilers.append((language, other))
        else:
            print(f"{other} is not installed: only the build's own compiler is asked")

    failures = 0
    with tempfile.TemporaryDirectory() as folder:

        def compiles(language, compiler, standard, source, include):
            path = os.path.join(folder, "source." + ("c" if language == "c" else "cpp"))
            with open(path, "w", encoding="utf-8") as file:
                file.write(source)
            done = subprocess.run([compiler, f"-std={standard}", *WARNINGS, "-I", include, path], capture_output=True,
                                  text=True, check=False)
            return done.returncode == 0, done.stderr

        macros, count = macros_source(header, "gameforge.h")
        example = example_source(header, "gameforge.h")
        cases = []
        for language, compiler in compilers:
            for standard in ("c99", "c11", "c17") if language == "c" else ("c++11", "c++17", "c++20"):
                cases.append((language, compiler, standard, "every INIT macro", macros))
                cases.append((language, compiler, standard, "the example of gameforge.h", example))
                if language == "c++":
                    source, _ = macros_source(header, "gameforge.hpp")
                    cases.append((language, compiler, standard, "every INIT macro, through gameforge.hpp", source))
                    cases.append((language, compiler, standard, "the example of gameforge.hpp",
                                  example_source(wrapper, "gameforge.hpp")))
        for language, compiler, standard, what, source in cases:
            good, errors = compiles(language, compiler, standard, source, arguments.include)
            if not good:
                failures += 1
                print(f"FAILED: {what} with {compiler} as {standard}:\n{errors}")
        print(f"{count} INIT macros, {len(cases)} compilations")

        # The test sees a macro that a field was forgotten in, and a declaration that C99 does not have.
        spoiled = os.path.join(folder, "spoiled")
        os.makedirs(os.path.join(spoiled, "gameforge"))
        for name, old, new in (
            ("a field more than the macro has", "} gf_key_options;", "  uint32_t more;\n} gf_key_options;"),
            ("a bool without its header", "gf_status gf_job_forget(", "bool gf_job_forget("),
        ):
            assert old in header
            with open(os.path.join(spoiled, "gameforge", "gameforge.h"), "w", encoding="utf-8") as file:
                file.write(header.replace(old, new))
            good, _ = compiles("c", arguments.cc, "c99", macros, spoiled)
            if good:
                failures += 1
                print(f"FAILED: {name} was not noticed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
