"""No file of the tree names a place that only one machine has, nor a package registry's host. Usage: machine_paths.py TOP"""
import os
import re
import sys

import sources

top = sys.argv[1]
# Put together here, so that this file does not find itself.
places = "|".join(["wo" + "rk", "ro" + "ot", "ho" + "me", "Us" + "ers", "fa" + "rm"])
hosts = "|".join(["py" + r"pi\.org", "python" + r"hosted\.org", "deb" + r"\.debian\.org", "huggingface" + r"\.co/"])
pattern = re.compile(rf"(?<![\w.$}}*/-])/(?:{places})/[\w.]|(?:/tm" + rf"p/)[\w.]|\b(?:{hosts})")

found = []
checked = 0
for name in sources.files(top):
    with open(os.path.join(top, name), "rb") as file:
        start = file.read()
    if b"\0" in start[:8000]:
        continue  # Binary.
    # Vocabularies and other people's licences are what they are.
    if name.startswith(("models/", "tests/golden")):
        continue
    checked += 1
    for number, line in enumerate(start.decode("utf-8", "replace").splitlines(), 1):
        if pattern.search(line):
            found.append(f"{name}:{number}: {line.strip()[:160]}")
if found:
    print("Paths or hosts of one machine:")
    print("\n".join(found))
    sys.exit(1)
if checked < 20:
    sys.exit(f"only {checked} files were looked at")
print(f"{checked} files name no place of one machine")
