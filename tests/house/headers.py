#!/usr/bin/env python3
"""Each public header compiles alone, and twice in one file, under g++ and clang++ with every warning an error.

What takes the time is third-party headers, so the sets of these that many of ours include are precompiled. A header is
compiled with such a set only where it includes every one of them itself or through ours: so it still stands alone.

headers.py TOOLCHAIN STATE [INCLUDE]: STATE is a folder where results are kept until a header changes. INCLUDE is the
folder to look through instead of AURA's own.
"""

import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
from toolchain import WARNINGS, Compilation, Toolchain, beginning, closing_line, in_ci, in_parallel, precompile

# What a header outside an integration's own folder may include of it, such as sim's disk under SQLite.
THIRD_PARTY = {"sqlite": "sqlite3.h", "glpk": "glpk.h"}

SHARED_SETS_MAX = 6


def public_headers(include):
    headers = sorted(path.relative_to(include) for path in (include / "aura").rglob("*.hpp"))
    return [header for header in headers if "detail" not in header.parts]


def integration_of(include, header, integrations):
    for name in integrations:
        if header.parts[1] == name:
            return name
        text = (include / header).read_text()
        if name in THIRD_PARTY and re.search(rf"^#include <{re.escape(THIRD_PARTY[name])}>", text, re.M):
            return name
    return None


def third_party_of(include, header, seen=None):
    """The headers of others that this one, and ours behind it, include."""
    seen = {str(header)} if seen is None else seen
    found = []
    for name in re.findall(r"^\s*#\s*include\s*<([^>]+)>", (include / header).read_text(), re.M):
        if name in seen:
            continue
        seen.add(name)
        if not name.startswith("aura/"):
            found.append(name)
        elif (include / name).exists():
            found += third_party_of(include, name, seen)
    return found


SECONDS = {"nlohmann/json.hpp": 1.2, "fmt/format.h": 0.5, "boost/system/result.hpp": 0.4, "chrono": 0.2}


def weight(names):
    """About how many seconds a compiler spends on these headers."""
    return sum(SECONDS.get(name, 0.03) for name in names) + any(name.startswith("boost/asio/") for name in names)


def shared_sets(needed):
    """Of the sets that our headers need, those few that save most when they are precompiled."""
    best = {header: () for header in needed}
    candidates = sorted({tuple(names) for names in needed.values()})
    chosen = []
    for _ in range(SHARED_SETS_MAX):
        def saved(candidate):
            users = (h for h, names in needed.items() if set(candidate) <= set(names))
            return sum(max(0, weight(candidate) - weight(best[h])) for h in users) - 2 * weight(candidate) - 1
        winner = max(candidates, key=saved, default=())
        if not winner or saved(winner) <= 0:
            break
        chosen.append(winner)
        for header, names in needed.items():
            if set(winner) <= set(names) and weight(winner) > weight(best[header]):
                best[header] = winner
    return chosen, best


def compile_alone(toolchain, include, state, precompiled, name, header):
    probe = state / name.replace("+", "p") / header.with_suffix(".cpp")
    text = f"#include <{header}>\n#include <{header}>\n"
    if not probe.exists() or probe.read_text() != text:
        probe.parent.mkdir(parents=True, exist_ok=True)
        probe.write_text(text)
    arguments = [*precompiled, *toolchain.flags, *WARNINGS, "-fsyntax-only", "-I", str(include), str(probe)]
    return Compilation(toolchain.compilers[name], arguments, probe.with_suffix(".json")).run()


def check(toolchain, state, include):
    """Returns (passed, failed, skipped) and prints what failed and what was left out."""
    headers = public_headers(include)
    skipped = 0
    for missing in toolchain.missing:
        print(f"SKIPPED: no {missing} here, so no header was tried with it")
        skipped += len(headers)
    off = toolchain.off()
    tasks = []
    for header in headers:
        integration = integration_of(include, header, off)
        if integration:
            print(f"SKIPPED: {header}, because aura::{integration} is off here")
            skipped += 1
        else:
            tasks += [(name, header) for name in toolchain.compilers]

    chosen, best = shared_sets({header: third_party_of(include, header) for header in {h for _, h in tasks}})
    builds = [(name, names) for name in toolchain.compilers for names in chosen]
    flags = dict(zip(builds, in_parallel(lambda build: precompile(toolchain, build[0], state, build[1], WARNINGS), builds)))
    results = in_parallel(lambda task: compile_alone(toolchain, include, state, flags.get((task[0], best[task[1]]), []),
                                                     *task), tasks)
    failed = 0
    for (name, header), (status, output) in zip(tasks, results):
        if status != 0:
            failed += 1
            print(f"FAILED: {header} does not compile alone with {name}:\n{beginning(output)}")
    return len(tasks) - failed, failed, skipped


def main():
    toolchain = Toolchain(sys.argv[1])
    include = pathlib.Path(sys.argv[3]) if len(sys.argv) > 3 else toolchain.include
    passed, failed, skipped = check(toolchain, pathlib.Path(sys.argv[2]), include)
    if skipped and in_ci():
        print("FAILED: nothing is skipped in CI")
        failed += 1
    closing_line(passed, failed, skipped)


if __name__ == "__main__":
    main()
