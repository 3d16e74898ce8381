"""The check of header comments passes the real header and finds each kind of fault in a spoiled one."""

import os
import re
import subprocess
import sys
import tempfile

GOOD = """
/**
 * Does a thing.
 *
 * Errors: GF_ERR_IO.
 * Ownership: nothing passes.
 * Threads: any.
 * Blocks: never.
 */
GF_API int gf_thing_do(int a,
                       int b);
"""

# What is spoiled, how, and the words that must be in the answer.
FAULTS = [
    ("Blocks is missing", lambda t: t.replace(" * Blocks: never.\n", ""), "gf_thing_do has no Blocks:"),
    ("Threads is missing", lambda t: t.replace(" * Threads: any.\n", ""), "gf_thing_do has no Threads:"),
    ("Ownership is missing", lambda t: t.replace(" * Ownership: nothing passes.\n", ""), "has no Ownership:"),
    ("the order is wrong", lambda t: t.replace(" * Threads: any.\n * Blocks: never.\n",
                                               " * Blocks: never.\n * Threads: any.\n"), "the last three tags are"),
    ("a tag comes after them", lambda t: t.replace(" * Blocks: never.\n", " * Blocks: never.\n * Returns: 0.\n"),
     "the last three tags are"),
    ("a tag is empty", lambda t: t.replace("Threads: any.", "Threads:"), "nothing stands behind Threads:"),
    ("a tag is there twice", lambda t: t.replace(" * Threads: any.\n", " * Threads: any.\n * Threads: one.\n"),
     "more than once"),
    ("the comment is missing", lambda t: t[t.index("GF_API"):], "has no comment right above it"),
    ("something stands between", lambda t: t.replace("GF_API", "typedef int gf_x;\nGF_API"), "has no comment right"),
    ("an ordinary comment is no doc comment", lambda t: t.replace("/**", "/*"), "has no comment right above it"),
    ("the sentence is missing", lambda t: t.replace(" * Does a thing.\n *\n", " *\n *\n"), "begin with a sentence"),
]


def main(script, header):
    def run(*paths):
        done = subprocess.run([sys.executable, script, *paths], capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    failures = 0

    def expect(name, condition, answer):
        nonlocal failures
        if not condition:
            failures += 1
            print(f"FAILED: {name}\n{answer}")

    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "header.h")

        def check_text(text):
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
            return run(path)

        code, answer = check_text(GOOD)
        expect("the control passes", code == 0 and "1 functions checked" in answer, answer)
        for name, spoil, words in FAULTS:
            assert spoil(GOOD) != GOOD, name
            code, answer = check_text(spoil(GOOD))
            expect(name, code == 1 and words in answer, f"exit code {code}: {answer}")
            # A fault in one function is not hidden by good neighbours.
            code, answer = check_text(GOOD + spoil(GOOD) + GOOD)
            expect(name + ", between good ones", code == 1 and words in answer, f"exit code {code}: {answer}")
        code, answer = check_text("int main(void);\n")
        expect("a header without functions never passes", code == 2, answer)
        code, answer = run(os.path.join(folder, "missing.h"))
        expect("a missing header never passes", code == 2, answer)
        code, answer = run()
        expect("no header never passes", code == 2, answer)

        # The real header, and the real header with each of its tags taken out in turn.
        with open(header, encoding="utf-8") as file:
            real = file.read()
        code, answer = check_text(real)
        expect("the real header passes", code == 0, answer)
        tags = list(re.finditer(r"^ \* (?:Ownership|Threads|Blocks):.*\n", real, re.MULTILINE))
        print(f"{len(tags)} tags in the real header")
        for tag in tags[::7]:
            code, answer = check_text(real[: tag.start()] + real[tag.end():])
            expect(f"without {tag.group(0).strip()!r} at {tag.start()}", code == 1, answer)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
