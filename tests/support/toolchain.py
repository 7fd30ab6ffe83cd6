"""What the script tests share: the compilers and flags of this build, and compiling a file only when it changed."""

import concurrent.futures
import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys

WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror"]


class Toolchain:
    """The facts that CMake wrote down, see tests/house/toolchain.json.in."""

    def __init__(self, path):
        facts = json.loads(pathlib.Path(path).read_text())
        self.flags = ["-std=c++20"]
        known = [facts["own_include_folder"], *facts["implicit_include_folders"], ""]
        for folder in facts["include_folders"]:
            if folder not in known:
                self.flags += ["-isystem", folder]
        self.flags += ["-D" + definition for definition in facts["definitions"] if definition]
        self.include = pathlib.Path(facts["own_include_folder"])
        self.integrations = [name for name in facts["integrations"] if name]
        self.integrations_on = [name for name in facts["integrations_on"] if name]
        self.compilers = {}
        self.missing = []
        for name, least, path in (("g++", 12, facts["gcc"]), ("clang++", 16, facts["clang"])):
            version = compiler_version(path)
            if version and version[0] >= least:
                self.compilers[name] = path
            else:
                self.missing.append(f"{name} {least} or later")

    def off(self):
        return [name for name in self.integrations if name not in self.integrations_on]


def compiler_version(path):
    try:
        answer = subprocess.run([path, "-dumpversion"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    return [int(number) for number in re.findall(r"\d+", answer)] or None


class Compilation:
    """One compiler run that is remembered until a file that it read changes."""

    def __init__(self, compiler, arguments, state):
        self.command = [compiler, *arguments]
        self.state = pathlib.Path(state)

    def run(self):
        """Returns (exit status, output), from memory where nothing changed."""
        remembered = self._remembered()
        if remembered:
            return remembered["status"], remembered["output"]
        self.state.parent.mkdir(parents=True, exist_ok=True)
        listing = self.state.with_suffix(".d")
        listing.unlink(missing_ok=True)
        done = subprocess.run([*self.command, "-MD", "-MF", str(listing), "-MT", "x"], text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        if done.returncode == 0:
            files = dependencies(listing)
            self.state.write_text(json.dumps({"key": self._key(), "stamp": stamp(files), "files": files,
                                              "status": done.returncode, "output": done.stdout}))
        return done.returncode, done.stdout

    def _key(self):
        return hashlib.sha256(json.dumps([self.command, identity(self.command[0])]).encode()).hexdigest()

    def _remembered(self):
        try:
            past = json.loads(self.state.read_text())
        except (OSError, ValueError):
            return None
        if past["key"] != self._key() or past["stamp"] != stamp(past["files"]):
            return None
        return past


def precompile(toolchain, name, state, includes, warnings=()):
    """Compiles a header that includes these, once, for files with these warnings. Returns the flags that use it."""
    text = "".join(f"#include <{include}>\n" for include in includes)
    stem = hashlib.sha256(text.encode()).hexdigest()[:16]
    folder = pathlib.Path(state) / name.replace("+", "p") / "precompiled"
    folder.mkdir(parents=True, exist_ok=True)
    header = folder / f"{stem}.hpp"
    if not header.exists():
        header.write_text(text)
    output = folder / (f"{stem}.hpp.gch" if name == "g++" else f"{stem}.pch")
    arguments = [*toolchain.flags, *warnings, "-I", str(toolchain.include), "-x", "c++-header", str(header), "-o", str(output)]
    compilation = Compilation(toolchain.compilers[name], arguments, folder / f"{stem}.json")
    if not output.exists():
        compilation.state.unlink(missing_ok=True)
    status, said = compilation.run()
    if status != 0:
        print(f"note: {name} does not precompile {' '.join(includes)}:\n{beginning(said)}")
        return []
    # Which build of it this is belongs to what is remembered of those that use it.
    build = f"-DAURA_PRECOMPILED_AT={output.stat().st_mtime_ns}"
    return ["-Winvalid-pch", "-include", str(header), build] if name == "g++" else ["-include-pch", str(output), build]


def identity(compiler, _known={}):
    if compiler not in _known:
        _known[compiler] = subprocess.run([compiler, "--version"], capture_output=True, text=True).stdout
    return _known[compiler]


def dependencies(listing):
    words = listing.read_text().replace("\\\n", " ").split()
    return [os.path.realpath(word) for word in words[1:]]


def stamp(files, _seen={}):
    """Changes when one of the files does."""
    total = hashlib.sha256()
    for name in files:
        if name not in _seen:
            try:
                facts = os.stat(name)
                _seen[name] = f"{name} {facts.st_mtime_ns} {facts.st_size}"
            except OSError:
                _seen[name] = f"{name} is gone"
        total.update(_seen[name].encode())
    return total.hexdigest()


def forget_stamps():
    """Files have changed since they were last looked at (self-tests only)."""
    stamp.__defaults__[0].clear()


def in_parallel(work, items):
    jobs = int(os.environ.get("AURA_JOBS") or min(2, os.cpu_count() or 1))
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        return list(pool.map(work, items))


def beginning(output, lines=40):
    """The first lines of what a compiler says: the rest seldom helps."""
    all_lines = output.splitlines()
    rest = [f"... and {len(all_lines) - lines} lines more"] if len(all_lines) > lines else []
    return "\n".join([*all_lines[:lines], *rest])


def closing_line(passed, failed, skipped=0):
    print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    sys.exit(1 if failed else 0)


def in_ci():
    return os.environ.get("CI") == "true"
