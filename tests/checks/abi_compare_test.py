"""The comparison with frozen descriptions finds breaks that are planted, and lets additions through.

Usage: abi_compare_test.py TOP CXX-COMPILER
"""
import os
import shutil
import subprocess
import sys
import tempfile

import abi_compare
import abi_header

top, cxx = sys.argv[1:3]
with open(os.path.join(top, "include/gameforge/gameforge.h"), encoding="utf-8") as file:
    header = file.read()
faults = []


def planted(name, breaks, old, new):
    """Changes the real header and says whether that must be found."""
    if header.count(old) < 1:
        faults.append(f"{name}: the header has no {old!r} any more; plant it elsewhere")
        return
    found = abi_header.broken(abi_header.declarations(header), abi_header.declarations(header.replace(old, new, 1)))
    if bool(found) != breaks:
        faults.append(f"{name}: found {found}")


planted("nothing", False, "GF_API", "GF_API")
planted("a comment", False, "Opens an engine", "Opens another engine")
planted("an added function", False, "GF_API uint32_t gf_version(void);", "GF_API uint32_t gf_version(void);\nGF_API uint32_t gf_more(void);")
planted("a parameter's name", False, "uint64_t host_tag, gf_job_id* out_job", "uint64_t tag, gf_job_id* out_job")
planted("an added enumerator", False, "GF_LOG_DEBUG = 4", "GF_LOG_DEBUG = 4, GF_LOG_TRACE = 5")
planted("a grown tail", False, "} gf_log_record;", "  uint64_t more;\n} gf_log_record;")
planted("a removed function", True, "GF_API uint32_t gf_version(void);", "")
planted("another result", True, "GF_API uint32_t gf_version(void);", "GF_API uint64_t gf_version(void);")
planted("another parameter", True, "gf_engine_close(gf_engine* engine, int64_t timeout_us)", "gf_engine_close(gf_engine* engine, uint64_t timeout_us)")
planted("another enumerator's value", True, "GF_LOG_DEBUG = 4", "GF_LOG_DEBUG = 5")
planted("a field of another sign", True, "int64_t unix_us;", "uint64_t unix_us;")
planted("a renamed field", True, "int64_t unix_us;", "int64_t at_us;")
planted("a field in the middle", True, "int64_t unix_us;", "int64_t unix_us; int64_t more;")
planted("a removed field", True, "uint64_t dropped;", "")
planted("a grown struct without a size", True, "} gf_job_id;", "  uint64_t more;\n} gf_job_id;")
planted("a removed macro", True, "#define GF_EVENT_INIT", "#define GF_EVENTS_INIT")
planted("a callback's parameter", True, "const gf_log_record* record, const char* module", "const gf_log_record* record, char* module")

SOURCE = """
typedef unsigned u32;
struct thing;
enum kind { one = 1, two = 2 };
struct options { u32 struct_size; u32 first; const char* name; };
extern "C" __attribute__((visibility("default"))) kind open_it(const options* o, thing**) { return o->first ? one : two; }
extern "C" __attribute__((visibility("default"))) void close_it(thing*) {}
"""
if shutil.which("abidiff") is None:
    print("abidiff is not installed; the header's part alone was tested")
else:
    with tempfile.TemporaryDirectory() as folder:

        def library(name, source):
            path = os.path.join(folder, name.replace(" ", "_"))
            with open(path + ".cpp", "w", encoding="utf-8") as file:
                file.write(source)
            subprocess.run([cxx, "-g", "-shared", "-fPIC", "-fvisibility=hidden", path + ".cpp", "-o", path + ".so"], check=True)
            return path + ".so"

        frozen = os.path.join(folder, "frozen.abi")
        subprocess.run(["abidw", "--no-corpus-path", "--no-comp-dir-path", "--out-file", frozen, library("first", SOURCE)], check=True)

        def compiled(name, breaks, old, new):
            report = abi_compare.compare(frozen, library(name, SOURCE.replace(old, new)))
            if bool(report) != breaks:
                faults.append(f"{name}: {report or 'no difference was reported'}")

        compiled("unchanged", False, "one", "one")
        compiled("added symbol", False, 'extern "C" __attribute__((visibility("default"))) void close_it', 'extern "C" __attribute__((visibility("default"))) void more() {}\nextern "C" __attribute__((visibility("default"))) void close_it')
        compiled("grown tail", False, "const char* name;", "const char* name; u32 more; u32 reserved;")
        compiled("removed symbol", True, 'extern "C" __attribute__((visibility("default"))) void close_it(thing*) {}', "")
        compiled("field in the middle", True, "u32 first;", "u32 more; u32 first;")
        compiled("renumbered", True, "two = 2", "two = 3")

if faults:
    print("\n".join(faults))
    sys.exit(1)
print("planted breaks are found, additions pass")
