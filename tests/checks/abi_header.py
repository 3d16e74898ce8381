"""Reads the declarations of gameforge.h, and tells what of an older one a newer one no longer keeps.

The header is plain C in one style, so that a few patterns read all of it; what they do not know is an error, not a gap.
abidiff compares the libraries too, but it lets through what only C's rules call equal (a field that turned from int32_t
to uint32_t), and once it is told that tails may grow, other changes of the same struct.
"""
import re


def declarations(text):
    """{"enum": {name: {enumerator: value}}, "struct": {name: [field]}, "opaque", "callback", "function": {name: text}}."""
    text = re.sub(r"/\*.*?\*/", " ", text, flags=re.S)
    text = re.sub(r"\\\n", " ", text)
    macros = set(re.findall(r"^\s*#\s*define\s+(\w+)", text, re.M))
    text = re.sub(r"^\s*#.*$", "", text, flags=re.M)
    text = re.sub(r'extern\s+"C"\s*\{', "", text)
    found = {"enum": {}, "struct": {}, "opaque": {}, "callback": {}, "function": {}, "macro": {name: name for name in macros}}

    def take(pattern, add):
        nonlocal text
        for match in re.finditer(pattern, text, re.S):
            add(match)
        text = re.sub(pattern, " ", text, flags=re.S)

    def enum(match):
        values = {}
        for entry in filter(None, (part.strip() for part in match[2].split(","))):
            name, value = (part.strip() for part in entry.split("="))  # Values are written out: a convention.
            values[name] = int(value, 0)
        found["enum"][match[1]] = values

    def struct(match):
        found["struct"][match[1]] = [_spaced(field) for field in match[2].split(";") if field.strip()]

    take(r"typedef\s+enum\s+(\w+)\s*\{([^}]*)\}\s*\1\s*;", enum)
    take(r"typedef\s+struct\s+(\w+)\s*\{([^}]*)\}\s*\1\s*;", struct)
    take(r"typedef\s+struct\s+(\w+)\s+\1\s*;", lambda m: found["opaque"].update({m[1]: m[1]}))
    take(r"typedef\s+([\w\s*]+?)\(\s*\*\s*(\w+)\s*\)\s*\(([^)]*)\)\s*;", lambda m: found["callback"].update({m[2]: f"{_spaced(m[1])} ({_types(m[3])})"}))
    take(r"GF_API\s+([\w\s*]+?)\b(\w+)\s*\(([^)]*)\)\s*;", lambda m: found["function"].update({m[2]: f"{_spaced(m[1])} ({_types(m[3])})"}))
    rest = text.replace("}", " ").strip()
    if rest:
        raise ValueError(f"gameforge.h has something that this script does not read: {_spaced(rest)[:200]}")
    return found


def broken(old, new):
    """What a host of the old header can no longer rely on; an empty list when it all stands."""
    faults = []
    for kind in ("opaque", "callback", "function", "macro"):
        for name, declared in old[kind].items():
            if name not in new[kind]:
                faults.append(f"{kind} {name} is gone")
            elif new[kind][name] != declared:
                faults.append(f"{kind} {name} was {declared}, is {new[kind][name]}")
    for name, values in old["enum"].items():
        for enumerator, value in values.items():
            now = new["enum"].get(name, {}).get(enumerator)
            if now != value:
                faults.append(f"enum {name}: {enumerator} was {value}, is {now}")
    for name, fields in old["struct"].items():
        now = new["struct"].get(name, [])
        if now[: len(fields)] != fields:
            place = next((i for i, field in enumerate(fields) if i >= len(now) or now[i] != field))
            faults.append(f"struct {name}: field {place} was {fields[place]}, is {now[place] if place < len(now) else 'gone'}")
        elif len(now) > len(fields) and not fields[0].endswith("struct_size"):
            faults.append(f"struct {name} has grown, but has no struct_size by which a host could tell")
    return faults


def _spaced(text):
    return re.sub(r"\s*\*\s*", "* ", re.sub(r"\s+", " ", text)).strip()


def _types(parameters):
    """Parameters without their names, which bind nobody."""
    types = []
    for parameter in (_spaced(part) for part in parameters.split(",")):
        types.append(parameter if parameter == "void" else re.sub(r"\b\w+(\[\d+\])?$", r"\1", parameter).strip())
    return ", ".join(types)
