"""scripts/test-summary counts what ctest reports, names failures, and gives each skip its reason.

Usage: test_summary.py TOP CTEST
"""
import os
import re
import subprocess
import sys
import tempfile

top, ctest = os.path.realpath(sys.argv[1]), sys.argv[2]
faults = []

# A real run of ctest, so that it is its own form of report that is read.
TESTS = """
add_test(good "true")
add_test(bad "false")
add_test(absent "no-such-program-anywhere")
add_test(without_tool "sh" "-c" "echo looking; echo 'SKIP: the tool is not installed'; exit 77")
add_test(silent "sh" "-c" "exit 77")
set_tests_properties(without_tool silent PROPERTIES SKIP_RETURN_CODE 77)
"""


def summary(tests):
    with tempfile.TemporaryDirectory() as folder:
        preset = os.path.join(folder, "some-preset")
        os.mkdir(preset)
        with open(os.path.join(preset, "CTestTestfile.cmake"), "w", encoding="utf-8") as file:
            file.write(tests)
        subprocess.run([ctest, "--output-junit", "results.xml"], cwd=preset, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        run = subprocess.run([os.path.join(top, "scripts", "test-summary"), os.path.join(preset, "results.xml"),
                              *([os.path.join(folder, "gone", "results.xml")] if "MISSING" in tests else [])],
                             capture_output=True, text=True, check=False)
        return run.returncode, run.stdout


def expect(name, holds, text):
    if not holds:
        faults.append(f"{name}:\n{text}")


code, text = summary(TESTS)
expect("mixed: exit", code == 1, text)
expect("mixed: closing line", text.splitlines()[-1] == "1 passed, 2 failed, 2 skipped", text)
expect("mixed: the failures' names", re.search(r"Failed:\n  some-preset: bad\n  some-preset: absent\n", text), text)
expect("mixed: the reason", "without_tool\n      SKIP: the tool is not installed" in text, text)
code, text = summary('add_test(good "true")\n')
expect("all good", code == 0 and text.splitlines()[-1] == "1 passed, 0 failed, 0 skipped", text)
code, text = summary('add_test(only "sh" "-c" "exit 77")\nset_tests_properties(only PROPERTIES SKIP_RETURN_CODE 77)\n')
expect("nothing passed", code == 1 and text.splitlines()[-1] == "0 passed, 0 failed, 1 skipped", text)
code, text = summary('add_test(good "true")\n# MISSING\n')
expect("a preset without results", code == 1 and "gone: ctest left no results" in text, text)

if faults:
    print("\n".join(faults))
    sys.exit(1)
print("counts, names and reasons are right")
