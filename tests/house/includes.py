#!/usr/bin/env python3
"""Keeps the rule of includes: who may include whom, and in which order. includes.py REPOSITORY"""

import pathlib
import re
import sys

LAYERS = ["durable", "operational", "tactical", "strategic"]
SHARED = ["stats", "topology"]

# Whom a folder of include/aura may include besides itself.
MAY_INCLUDE = {
    "core": [],
    "stats": ["core"],
    "topology": ["core"],
    **{layer: [*SHARED, "core"] for layer in LAYERS},
    "orchestrator": [*LAYERS, *SHARED, "core"],
    "sim": ["core"],
    # Integrations: the layers that each serves. A new one gets a line here.
    "sqlite": ["durable", "core"],
    "glpk": ["operational", "core"],
}
INTEGRATIONS = ["sqlite", "glpk"]

# The umbrella aura.hpp: what it must include, and what it may.
UMBRELLA_MUST = ["core", *LAYERS, "orchestrator"]
UMBRELLA_MAY = [*UMBRELLA_MUST, *SHARED]

TOO_WIDE = {"boost/asio.hpp": "five seconds a file: include the headers that are used"}
ONLY_IN = {"sqlite3.h": ["sqlite", "sim"], "glpk.h": ["glpk"]}
LINES_MAX = 400

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
THIRD_PARTY = re.compile(r"^(boost|fmt|nlohmann|catch2)/|^(sqlite3|glpk)\.h$")


def includes_of(path):
    """Yields (line number, bracket, name, depth of #if around it)."""
    depth = 0
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if re.match(r"\s*#\s*if", line):
            depth += 1
        elif re.match(r"\s*#\s*endif", line):
            depth -= 1
        elif match := INCLUDE.match(line):
            yield number, match[1], match[2], depth


def kind_of(name):
    """0 ours, 1 third party, 2 standard library or operating system."""
    if name.startswith("aura/"):
        return 0
    return 1 if THIRD_PARTY.match(name) else 2


def folder_of(name):
    """core for aura/core/time.hpp; aura.hpp for the umbrella."""
    return name.split("/")[1]


def check_direction(header, name):
    """What is wrong with `header` including `name`, both written aura/..., or None."""
    here, there = folder_of(header), folder_of(name)
    if there == "aura.hpp":
        return "the umbrella is for users: include the headers that are used"
    if here == "aura.hpp":
        if there not in UMBRELLA_MAY:
            return f"aura.hpp must not include {there}: it needs only the core dependencies"
        if "/detail/" in name:
            return "aura.hpp includes public headers only"
        return None
    if here not in MAY_INCLUDE:
        return f"the house has no room {here}: see DESIGN.md, and MAY_INCLUDE in tests/house/includes.py"
    if there != here and there not in MAY_INCLUDE[here]:
        return f"{here} must not include {there}"
    if "/detail/" in name and there not in (here, "core") and here not in INTEGRATIONS:
        return f"{here} must not include what {there} keeps in detail"
    return None


def check_header(include, path):
    """Yields (line, what is wrong) of one header."""
    header = path.relative_to(include).as_posix()
    text = path.read_text()
    if "#pragma once" not in text:
        yield 1, "no #pragma once"
    highest = 0
    for number, bracket, name, depth in includes_of(path):
        if bracket == '"':
            yield number, f'write <aura/...> instead of "{name}"'
            continue
        if name in TOO_WIDE:
            yield number, f"<{name}> costs {TOO_WIDE[name]}"
        if name in ONLY_IN and folder_of(header) not in ONLY_IN[name]:
            yield number, f"{folder_of(header)} must not include <{name}>"
        if name.startswith("aura/"):
            if not (include / name).is_file():
                yield number, f"there is no <{name}>"
            elif wrong := check_direction(header, name):
                yield number, f"{wrong}: <{name}>"
        if depth == 0:
            if kind_of(name) < highest:
                yield number, f"<{name}> stands too low: ours come first, then third party, then the standard library"
            highest = max(highest, kind_of(name))


def check_umbrella(include):
    """Yields what aura.hpp leaves out."""
    umbrella = include / "aura" / "aura.hpp"
    if not umbrella.is_file():
        return
    included = {name for _, _, name, _ in includes_of(umbrella)}
    for folder in UMBRELLA_MUST:
        for path in sorted((include / "aura" / folder).rglob("*.hpp")):
            name = path.relative_to(include).as_posix()
            if "/detail/" not in name and name not in included:
                yield 1, f"aura.hpp does not include <{name}>"


def check_examples(repository):
    for path in sorted((repository / "examples").rglob("*.[ch]pp")):
        for number, _, name, _ in includes_of(path):
            if name.startswith("aura/") and "/detail/" in name:
                yield path, number, f"an example never names what is in detail: <{name}>"
            if name in TOO_WIDE:
                yield path, number, f"<{name}> costs {TOO_WIDE[name]}"


def violations(repository):
    """Every breach of the rules, as lines `file:line: what is wrong`."""
    include = repository / "include"
    found = []
    for path in sorted((include / "aura").rglob("*.hpp")):
        found += [(path, line, wrong) for line, wrong in check_header(include, path)]
    found += [(include / "aura" / "aura.hpp", line, wrong) for line, wrong in check_umbrella(include)]
    found += check_examples(repository)
    return [f"{path.relative_to(repository)}:{line}: {wrong}" for path, line, wrong in found]


def long_headers(repository):
    for path in sorted((repository / "include" / "aura").rglob("*.hpp")):
        lines = len(path.read_text().splitlines())
        if lines > LINES_MAX:
            yield f"{path.relative_to(repository)} has {lines} lines: past {LINES_MAX} a header wants splitting"


def main():
    repository = pathlib.Path(sys.argv[1]).resolve()
    for note in long_headers(repository):
        print(f"note: {note}")
    found = violations(repository)
    print("\n".join(found))
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
