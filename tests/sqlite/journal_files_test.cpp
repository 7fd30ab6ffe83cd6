// SqliteJournal on real files that cannot be used.
#include "support/catch.hpp"
#include "support/folder.hpp"

#include <aura/sim/runtime.hpp>
#include <aura/sqlite/journal.hpp>

#include <fcntl.h>
#include <fstream>
#include <string>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

namespace {

using namespace aura;  // NOLINT: a test

Result<void> try_to_open(const std::string& path) {
  sim::Runtime world;
  const auto opened = sqlite::SqliteJournal::open(world, {.path = path});
  if (!opened) return opened.error();
  return {};
}

/// What opening says to somebody who is not root, whom file modes do not stop.
std::string opened_as_nobody(const std::string& path) {
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    if (geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0)) _exit(1);
    const Result<void> opened = try_to_open(path);
    const std::string line = opened ? "opened" : to_string(opened.error());
    _exit(write(ends[1], line.data(), line.size()) == static_cast<ssize_t>(line.size()) ? 0 : 1);
  }
  close(ends[1]);
  std::string line;
  char buffer[512];
  for (ssize_t got = 0; (got = read(ends[0], buffer, sizeof buffer)) > 0;)
    line.append(buffer, static_cast<std::size_t>(got));
  close(ends[0]);
  waitpid(child, nullptr, 0);
  return line;
}

}  // namespace

TEST_CASE("a directory that is missing is named") {
  test::TemporaryFolder folder;
  const std::string path = folder.file("nowhere/app.db");
  const Error error = try_to_open(path).error();
  REQUIRE(error.is(journal_errc::io));
  REQUIRE(error.error_class() == ErrorClass::permanent);
  REQUIRE(error.message() ==
          path + ": opening the database: unable to open database file: No such file or directory");
}

TEST_CASE("a directory in place of a file is refused") {
  test::TemporaryFolder folder;
  REQUIRE(try_to_open(folder.path.string()).error().is(journal_errc::io));
}

TEST_CASE("a file that may only be read is refused, and not changed") {
  test::TemporaryFolder folder;
  const std::string path = folder.file("app.db");
  REQUIRE(try_to_open(path).has_value());
  REQUIRE(chmod(path.c_str(), 0444) == 0);
  REQUIRE(chmod(folder.path.c_str(), 0755) == 0);
  const std::string line = opened_as_nobody(path);
  REQUIRE(line.find("journal/11 permanent: " + path + ": opening the database: it cannot be written") == 0);
}

TEST_CASE("a folder that may only be read is refused") {
  test::TemporaryFolder folder;
  const std::string path = folder.file("app.db");
  REQUIRE(try_to_open(path).has_value());
  REQUIRE(chmod(path.c_str(), 0666) == 0);
  REQUIRE(chmod(folder.path.c_str(), 0555) == 0);
  const std::string line = opened_as_nobody(path);
  REQUIRE(chmod(folder.path.c_str(), 0755) == 0);
  INFO(line);
  REQUIRE(line.find(path) != std::string::npos);
  REQUIRE(line.find("permanent") != std::string::npos);
}
