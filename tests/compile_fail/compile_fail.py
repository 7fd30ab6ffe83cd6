#!/usr/bin/env python3
"""Each *.cpp here is a mistake that the library must explain. compile_fail.py TOOLCHAIN STATE [FILE...]

A file has lines
    // expect: <text>           must appear in what the compiler says, on g++ and on clang++
    // expect-gcc: <text>       must appear on g++
    // expect-errors: <n>       at most n errors are reported
Compiling it must fail and say so. With AURA_COMPILE_FAIL_FIXED defined it must compile: so nothing but the mistake
makes it fail.
"""

import os
import pathlib
import re
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "support"))
from toolchain import Compilation, Toolchain, beginning, closing_line, in_ci, in_parallel, precompile


def expectations(path):
    return re.findall(r"^// (expect(?:-gcc|-errors)?): (.*?)\s*$", path.read_text(), re.M)


def check(toolchain, state, precompiled, name, path):
    """What is wrong with one file on one compiler, or None."""
    expected = expectations(path)
    if not any(kind == "expect" for kind, _ in expected):
        return f"{path.name}: no line `// expect: ...`"
    arguments = [*precompiled.get(name, []), *toolchain.flags, "-I", str(toolchain.include), "-fsyntax-only",
                 "-fmessage-length=0", str(path)]
    memory = state / name.replace("+", "p") / (path.stem + ".json")

    fixed = Compilation(toolchain.compilers[name], ["-DAURA_COMPILE_FAIL_FIXED", *arguments], memory)
    status, said = fixed.run()
    if status != 0:
        return f"{path.name}: with the mistake fixed, {name} still refuses it:\n{beginning(said)}"

    broken = subprocess.run([toolchain.compilers[name], *arguments], text=True, stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={**os.environ, "LC_ALL": "C"})
    said = broken.stdout
    if broken.returncode == 0:
        return f"{path.name}: {name} accepts the mistake"
    if not re.search(rf"{re.escape(path.name)}:\d+", said):
        return f"{path.name}: {name} does not name the place where the user wrote it:\n{beginning(said)}"
    for kind, text in expected:
        if kind == "expect-errors":
            errors = len(re.findall(r"(?:^|: )error: ", said, re.M))
            if errors > int(text):
                return f"{path.name}: {errors} errors with {name}, at most {text} expected:\n{beginning(said)}"
        elif (kind == "expect" or name == "g++") and text not in said:
            return f"{path.name}: {name} does not say `{text}`. It says:\n{beginning(said)}"
    return None


def main():
    toolchain = Toolchain(sys.argv[1])
    state = pathlib.Path(sys.argv[2])
    files = [pathlib.Path(name).resolve() for name in sys.argv[3:]] or sorted(HERE.glob("*.cpp"))
    skipped = 0
    for missing in toolchain.missing:
        print(f"SKIPPED: no {missing} here, so no mistake was tried with it")
        skipped += len(files)
    third_party = re.findall(r"^#include <([^>]+)>", (HERE.parent / "support" / "third_party.hpp").read_text(), re.M)
    precompiled = {name: precompile(toolchain, name, state, third_party) for name in toolchain.compilers}
    tasks = [(name, path) for path in files for name in toolchain.compilers]
    wrong = [one for one in in_parallel(lambda task: check(toolchain, state, precompiled, *task), tasks) if one]
    for one in wrong:
        print(f"FAILED: {one}")
    failed = len(wrong)
    if skipped and in_ci():
        print("FAILED: nothing is skipped in CI")
        failed += 1
    closing_line(len(tasks) - len(wrong), failed, skipped)


if __name__ == "__main__":
    main()
