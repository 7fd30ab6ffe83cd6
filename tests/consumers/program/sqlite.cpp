// A host that links aura::sqlite: opens a journal in the file that it is given.
#include <aura/core/asio_runtime.hpp>
#include <aura/core/version.hpp>
#include <aura/sqlite/journal.hpp>

#include <boost/asio/thread_pool.hpp>
#include <fmt/core.h>

int main(int argc, char** argv) {
  if (argc < 2) return 1;
  boost::asio::thread_pool threads(1);
  boost::asio::thread_pool disk(1);
  aura::AsioRuntime runtime(threads.get_executor(), disk.get_executor());
  const auto journal = aura::sqlite::SqliteJournal::open(runtime, {.path = argv[1]});
  if (!journal) return 2;
  fmt::print("AURA {} on SQLite\n", aura::library_version);
}
