"""The code in README.md, in docs/migrations.md and at the top of the public header compiles: C as C99, C++ as C++17,
Python parses.

Blocks are fenced as c, cpp or python; each is a whole program. The header's is indented in its first comment.
Usage: code_in_text.py TOP C-COMPILER CXX-COMPILER
"""
import os
import re
import subprocess
import sys
import tempfile

top, cc, cxx = sys.argv[1:4]
with open(os.path.join(top, "README.md"), encoding="utf-8") as file:
    readme = file.read()
with open(os.path.join(top, "include/gameforge/gameforge.h"), encoding="utf-8") as file:
    header = file.read()

blocks = [(f"README.md, block {i}", language, text) for i, (language, text) in
          enumerate(re.findall(r"^```(c|cpp|python)\n(.*?)^```$", readme, re.M | re.S), 1)]
with open(os.path.join(top, "docs/migrations.md"), encoding="utf-8") as file:
    blocks += [(f"docs/migrations.md, block {i}", language, text) for i, (language, text) in
               enumerate(re.findall(r"^```(c|cpp|python)\n(.*?)^```$", file.read(), re.M | re.S), 1)]
opening = header[: header.index("*/")]
used = "\n".join(line[4:] for line in opening.splitlines() if line.startswith(" *     "))
if not used:
    sys.exit("gameforge.h begins with no use that compiles")
blocks.append(("gameforge.h, opening comment", "c", "#include <gameforge/gameforge.h>\n#include <stdio.h>\n\nint main(void) {\n" + used + "\nreturn 0;\n}\n"))

flags = ["-I", os.path.join(top, "include"), "-Wall", "-Wextra", "-Werror", "-pedantic", "-fsyntax-only"]
failed = False
with tempfile.TemporaryDirectory() as folder:
    for name, language, text in blocks:
        if language == "python":
            try:
                compile(text, name, "exec")
            except SyntaxError as error:
                print(f"{name}: {error}")
                failed = True
            continue
        path = os.path.join(folder, "block." + language)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        compiler = [cc, "-std=c99"] if language == "c" else [cxx, "-std=c++17"]
        run = subprocess.run([*compiler, *flags, path], capture_output=True, text=True, check=False)
        if run.returncode != 0:
            print(f"{name}:\n{run.stderr}")
            failed = True
languages = {language for _, language, _ in blocks}
if languages != {"c", "cpp", "python"}:
    print(f"README.md shows {sorted(languages)} only")
    failed = True
if not failed:
    print(f"{len(blocks)} blocks compile")
sys.exit(failed)
