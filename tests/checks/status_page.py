"""The status table of src/base, the enum of gameforge.h, the groups of the Python package and docs/errors.md tell the same.

Usage: status_page.py TOP            compares
       status_page.py TOP --write    writes docs/errors.md anew
"""
import os
import re
import sys

top = sys.argv[1]


def read(name):
    with open(os.path.join(top, name), encoding="utf-8") as file:
        return file.read()


table_text = re.sub(r"\\\n\s*", " ", read("src/base/status.hpp"))
row = re.compile(r'X\((\d+), (\w+), (\w+), (\w+), (true|false), (\w+),\s*"([^"]*)"\)')
rows = [(int(number), *rest) for number, *rest in row.findall(table_text)]
entries = len(re.findall(r"\bX\(\d", table_text))
if len(rows) < 30 or len(rows) != entries:
    sys.exit(f"{len(rows)} rows of {entries} were read from src/base/status.hpp")

recovery_words = {
    "none": "none: only the host can help",
    "retry": "retry with backoff",
    "wait": "wait as long as was asked, then retry",
    "degrade": "free memory, then retry with less",
    "reconnect": "reconnect, local mode meanwhile",
    "quarantine": "set the entry aside",
    "requeue": "give the job to another worker",
    "redo": "once more in full precision",
}
# Short names of the C enum where it says less than the table.
c_names = {"io_error": "IO", "network_error": "NETWORK", "redis_error": "REDIS", "database_error": "DATABASE"}


def c_name(name):
    return "GF_OK" if name == "ok" else "GF_ERR_" + c_names.get(name, name.upper())


page = ["# Errors", "",
        "Every call of the C ABI answers one of these; `gf_status_describe` tells the same at run time. The hundreds are the groups,",
        "and the command's exit code. *Recovery* is what the library tries by itself before the host hears of it, where the room that",
        "can do it is built and the host has registered nothing else; *retry* tells whether the same call may succeed later.", "",
        "This page is made from `src/base/status.hpp` by `tests/checks/status_page.py`; a test compares them.", "",
        "| number | C | name | category | severity | retry | recovery | what to do |",
        "| ---: | --- | --- | --- | --- | --- | --- | --- |"]
for number, name, category, severity, retryable, recovery, hint in rows:
    page.append(f"| {number} | `{c_name(name)}` | {name} | {category} | {severity} | {'yes' if retryable == 'true' else 'no'} | "
                f"{recovery_words[recovery]} | {hint} |")
text = "\n".join(page) + "\n"
page_name = os.path.join(top, "docs/errors.md")
if sys.argv[2:] == ["--write"]:
    with open(page_name, "w", encoding="utf-8") as file:
        file.write(text)
    sys.exit(0)

wrong = []
if not os.path.exists(page_name) or read("docs/errors.md") != text:
    wrong.append("docs/errors.md is not what the table says; run this script with --write")

enum = re.search(r"typedef enum gf_status \{(.*?)\} gf_status;", read("include/gameforge/gameforge.h"), re.S).group(1)
in_header = {name: int(number) for name, number in re.findall(r"(GF_OK|GF_ERR_\w+) = (\d+)", enum)}
in_table = {c_name(name): number for number, name, *_ in rows}
for name in sorted(in_header.keys() | in_table.keys()):
    if in_header.get(name) != in_table.get(name):
        wrong.append(f"{name} is {in_header.get(name)} in gameforge.h and {in_table.get(name)} in the table")

# The Python package makes its classes of the library's table; what it has of its own are the groups.
python_groups = {int(group) for group in re.findall(r"^    (\d): \w+,$", read("bindings/python/gameforge/errors.py"), re.M)}
if python_groups != {number // 100 for number, *_ in rows if number}:
    wrong.append(f"bindings/python/gameforge/errors.py has the groups {sorted(python_groups)}")

if wrong:
    sys.exit("\n".join(wrong))
print(f"{len(rows)} statuses agree")
