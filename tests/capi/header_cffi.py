"""cffi reads gameforge.h as it is, preprocessed and nothing else, and calls the library through what it read."""

import argparse
import os
import re
import subprocess
import sys
import tempfile

try:
    import cffi
except ImportError:
    print("skipped: cffi is not installed (Debian: python3-cffi; else: pip install cffi)")
    sys.exit(77)

arguments = argparse.ArgumentParser()
arguments.add_argument("--include", required=True)
arguments.add_argument("--cc", required=True)
arguments.add_argument("--library", default="")
arguments = arguments.parse_args()

path = os.path.join(arguments.include, "gameforge", "gameforge.h")
with open(path, encoding="utf-8") as file:
    header = file.read()
with tempfile.TemporaryDirectory() as folder:
    # cffi knows the fixed-width types itself; the system's stdint.h is more than it reads.
    with open(os.path.join(folder, "stdint.h"), "w", encoding="utf-8"):
        pass
    text = subprocess.run([arguments.cc, "-E", "-P", "-DGF_API=", "-I", folder, path], capture_output=True, text=True,
                          check=True).stdout
ffi = cffi.FFI()
ffi.cdef(text)

functions = re.findall(r"^GF_API\s[^;]*?\b(\w+)\s*\(", header, re.MULTILINE)
structs = re.findall(r"^typedef struct (gf_\w+) \{", header, re.MULTILINE)
typedefs, _, _ = ffi.list_types()
missing = [name for name in structs if name not in typedefs]
assert not missing, missing
assert ffi.sizeof("gf_status") == 4
assert int(ffi.cast("int", ffi.cast("gf_status", 904))) == 904
print(f"cffi {cffi.__version__}: {len(functions)} functions, {len(structs)} structs")

if not arguments.library:
    print("the library is built with a sanitizer, which Python does not carry: only the header was read")
    sys.exit(0)
library = ffi.dlopen(arguments.library)
for name in functions:
    getattr(library, name)  # AttributeError where the library has no such symbol.
assert library.gf_version() == 100, library.gf_version()
description = ffi.new("gf_status_description*", {"struct_size": ffi.sizeof("gf_status_description")})
rows = 0
while library.gf_status_table(rows, description) == library.GF_OK:
    name = ffi.string(description.name).decode()
    assert ffi.string(library.gf_status_name(description.status)).decode() == name
    rows += 1
enumerators = re.findall(r"^\s+(GF_(?:OK|ERR_\w+)) = (\d+)", header, re.MULTILINE)
assert rows == len(enumerators), (rows, len(enumerators))
assert library.gf_last_error_status() == library.GF_ERR_NOT_FOUND

# Every enumerator of the header is a row of the library's table under its number.
for name, number in enumerators:
    assert library.gf_status_describe(int(number), description) == library.GF_OK, name
    assert description.status == int(number)
print(f"{rows} statuses agree")
