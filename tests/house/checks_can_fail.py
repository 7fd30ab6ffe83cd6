#!/usr/bin/env python3
"""Plants violations and sees the checks of this house catch each of them. checks_can_fail.py TOOLCHAIN"""

import contextlib
import io
import pathlib
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "support"), str(HERE.parent / "compile_fail")]
import compile_fail
import headers
import includes
import toolchain as tools

TOOLCHAIN = None


def plant(repository, files):
    for name, text in files.items():
        path = repository / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def header(*lines):
    return "\n".join(["#pragma once", *lines, ""])


class Planted(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.repository = pathlib.Path(folder.name).resolve()


class IncludeRules(Planted):
    GOOD = {
        "include/aura/core/time.hpp": header("#include <boost/version.hpp>", "#include <string>"),
        "include/aura/core/detail/bits.hpp": header(),
        "include/aura/stats/sketch.hpp": header("#include <aura/core/time.hpp>"),
        "include/aura/durable/saga.hpp": header("#include <aura/core/detail/bits.hpp>", "#include <aura/stats/sketch.hpp>",
                                                "", "#include <fmt/format.h>", "", "#include <unistd.h>", "#include <map>"),
        "include/aura/durable/detail/engine.hpp": header(),
        "include/aura/operational/breaker.hpp": header("#include <aura/core/time.hpp>"),
        "include/aura/orchestrator/orchestrator.hpp": header("#include <aura/durable/saga.hpp>"),
        "include/aura/sim/runtime.hpp": header("#include <aura/core/time.hpp>"),
        "include/aura/sqlite/journal.hpp": header("#include <aura/durable/saga.hpp>", "#include <sqlite3.h>"),
        "include/aura/aura.hpp": header("#include <aura/core/time.hpp>", "#include <aura/durable/saga.hpp>",
                                        "#include <aura/operational/breaker.hpp>",
                                        "#include <aura/orchestrator/orchestrator.hpp>"),
        "examples/first.cpp": "#include <aura/durable/saga.hpp>\n#include <aura/sim/runtime.hpp>\n",
    }

    def found(self, changes):
        plant(self.repository, {**self.GOOD, **changes})
        return includes.violations(self.repository)

    def test_a_house_as_drawn_passes(self):
        self.assertEqual(self.found({}), [])

    def test_each_breach_is_caught(self):
        breaches = {
            "core includes a layer": ("core/time", "#include <aura/durable/saga.hpp>", "core must not include durable"),
            "core includes stats": ("core/time", "#include <aura/stats/sketch.hpp>", "core must not include stats"),
            "stats includes a layer": ("stats/sketch", "#include <aura/durable/saga.hpp>", "stats must not include durable"),
            "siblings": ("operational/breaker", "#include <aura/durable/saga.hpp>",
                         "operational must not include durable"),
            "a layer includes the orchestrator": ("durable/saga", "#include <aura/orchestrator/orchestrator.hpp>",
                                                  "durable must not include orchestrator"),
            "a layer includes an integration": ("durable/saga", "#include <aura/sqlite/journal.hpp>",
                                                "durable must not include sqlite"),
            "the orchestrator includes an integration": (
                "orchestrator/orchestrator", "#include <aura/sqlite/journal.hpp>", "orchestrator must not include sqlite"),
            "an integration includes a layer that it does not serve": (
                "sqlite/journal", "#include <aura/operational/breaker.hpp>", "sqlite must not include operational"),
            "an integration includes sim": ("sqlite/journal", "#include <aura/sim/runtime.hpp>",
                                            "sqlite must not include sim"),
            "a layer includes sim": ("durable/saga", "#include <aura/sim/runtime.hpp>", "durable must not include sim"),
            "sim includes a layer": ("sim/runtime", "#include <aura/durable/saga.hpp>", "sim must not include durable"),
            "the umbrella inside": ("durable/saga", "#include <aura/aura.hpp>", "the umbrella is for users"),
            "another's detail": ("orchestrator/orchestrator", "#include <aura/durable/detail/engine.hpp>",
                                 "must not include what durable keeps in detail"),
            "the umbrella includes sqlite": ("aura", "#include <aura/sqlite/journal.hpp>", "aura.hpp must not include sqlite"),
            "the umbrella includes sim": ("aura", "#include <aura/sim/runtime.hpp>", "aura.hpp must not include sim"),
            "all of Asio": ("durable/saga", "#include <boost/asio.hpp>", "five seconds a file"),
            "SQLite in a layer": ("durable/saga", "#include <sqlite3.h>", "durable must not include <sqlite3.h>"),
            "a quoted include": ("durable/saga", '#include "detail/engine.hpp"', "write <aura/...>"),
            "a header that is not there": ("durable/saga", "#include <aura/core/gone.hpp>", "there is no"),
            "spaces do not hide it": ("core/time", "  #  include <aura/durable/saga.hpp>", "core must not include durable"),
            "an #if does not hide it": ("core/time", "#if 1\n#include <aura/durable/saga.hpp>\n#endif",
                                        "core must not include durable"),
            "std before third party": ("durable/saga", "#include <map>\n#include <fmt/format.h>", "stands too low"),
            "third party before ours": ("durable/saga", "#include <fmt/format.h>\n#include <aura/core/time.hpp>",
                                        "stands too low"),
            "a room that is not in the plan": ("attic/box", "#include <aura/core/time.hpp>", "no room attic"),
        }
        for name, (place, line, message) in breaches.items():
            with self.subTest(name):
                self.setUp()
                path = f"include/aura/{place}.hpp"
                found = self.found({path: header(line) if place == "attic/box" else self.GOOD[path] + line + "\n"})
                self.assertTrue(any(path in one and message in one for one in found), found)

    def test_the_umbrella_may_leave_nothing_out(self):
        found = self.found({"include/aura/durable/new.hpp": header()})
        self.assertEqual(found, ["include/aura/aura.hpp:1: aura.hpp does not include <aura/durable/new.hpp>"])

    def test_an_example_never_names_detail(self):
        found = self.found({"examples/first.cpp": "#include <aura/core/detail/bits.hpp>\n"})
        self.assertEqual(len(found), 1, found)

    def test_a_missing_pragma_is_caught(self):
        self.assertEqual(len(self.found({"include/aura/stats/sketch.hpp": "#include <map>\n"})), 1)

    def test_a_long_header_is_reported(self):
        plant(self.repository, {"include/aura/core/long.hpp": header(*["//"] * 400)})
        self.assertEqual(len(list(includes.long_headers(self.repository))), 1)


class HeadersAlone(Planted):
    BAD = {
        "it lacks an include": "std::string name();",
        "it shadows": "inline int f(int x) { { int x = 1; return x; } }",
        "it narrows": "inline int f(long x) { return x; }",
        "it leaves a parameter unused": "inline int f(int x) { return 1; }",
    }

    def counts(self):
        tools.forget_stamps()
        with contextlib.redirect_stdout(io.StringIO()):
            return headers.check(TOOLCHAIN, self.repository / "state", self.repository / "include")

    def test_each_bad_header_fails_and_a_good_one_passes(self):
        compilers = len(TOOLCHAIN.compilers)
        plant(self.repository, {"include/aura/core/good.hpp": header("inline int f() { return 1; }")})
        self.assertEqual(self.counts()[:2], (compilers, 0))
        for name, line in self.BAD.items():
            with self.subTest(name):
                plant(self.repository, {"include/aura/core/bad.hpp": header(line)})
                self.assertEqual(self.counts()[:2], (compilers, compilers))

    def test_a_missing_pragma_fails(self):
        plant(self.repository, {"include/aura/core/bad.hpp": "struct A {};\n"})
        self.assertEqual(self.counts()[:2], (0, len(TOOLCHAIN.compilers)))

    def test_a_remembered_result_ends_when_an_included_header_changes(self):
        compilers = len(TOOLCHAIN.compilers)
        plant(self.repository, {"include/aura/core/low.hpp": header("inline int f() { return 1; }"),
                                "include/aura/core/high.hpp": header("#include <aura/core/low.hpp>",
                                                                     "inline int g() { return f(); }")})
        self.assertEqual(self.counts()[:2], (2 * compilers, 0))
        self.assertEqual(self.counts()[:2], (2 * compilers, 0))
        plant(self.repository, {"include/aura/core/low.hpp": header("inline int renamed() { return 1; }")})
        self.assertEqual(self.counts()[:2], (compilers, compilers))


class CompileFail(Planted):
    GOOD = """// expect: this number is not even
// expect-gcc: even_only<3>
template <int n> struct even_only { static_assert(n % 2 == 0, "this number is not even"); };
#ifdef AURA_COMPILE_FAIL_FIXED
even_only<2> x;
#else
even_only<3> x;
#endif
"""

    def wrong(self, text):
        path = self.repository / "case.cpp"
        path.write_text(text)
        tools.forget_stamps()
        results = [compile_fail.check(TOOLCHAIN, self.repository / "state", {}, name, path)
                   for name in TOOLCHAIN.compilers]
        return [wrong for wrong in results if wrong]

    def test_a_sentence_that_appears_passes(self):
        self.assertEqual(self.wrong(self.GOOD), [])

    def test_another_sentence_fails(self):
        self.assertEqual(len(self.wrong(self.GOOD.replace("expect: this", "expect: that"))), len(TOOLCHAIN.compilers))

    def test_code_that_compiles_fails(self):
        self.assertEqual(len(self.wrong(self.GOOD.replace("even_only<3> x", "even_only<4> x"))),
                         len(TOOLCHAIN.compilers))

    def test_code_that_fails_even_when_fixed_fails(self):
        self.assertEqual(len(self.wrong(self.GOOD.replace("even_only<2> x", "even_only<5> x"))),
                         len(TOOLCHAIN.compilers))

    def test_a_file_that_expects_nothing_fails(self):
        self.assertEqual(len(self.wrong("int x = ;\n")), len(TOOLCHAIN.compilers))

    def test_a_wrong_culprit_fails_on_gcc_only(self):
        self.assertEqual(len(self.wrong(self.GOOD.replace("gcc: even_only<3>", "gcc: even_only<7>"))), 1)

    def test_too_many_errors_fail(self):
        self.assertEqual(len(self.wrong("// expect-errors: 0\n" + self.GOOD)), len(TOOLCHAIN.compilers))


if __name__ == "__main__":
    TOOLCHAIN = tools.Toolchain(sys.argv[1])
    outcome = unittest.TextTestRunner(stream=sys.stdout, verbosity=1).run(
        unittest.defaultTestLoader.loadTestsFromModule(sys.modules["__main__"]))
    failed = len({case.id().split(" ")[0] for case, _ in outcome.failures + outcome.errors})
    tools.closing_line(outcome.testsRun - failed, failed)
