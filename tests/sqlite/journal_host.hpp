// A SqliteJournal on a simulated disk, in virtual time.
#pragma once

#include <aura/sim/disk.hpp>
#include <aura/sim/runtime.hpp>
#include <aura/sqlite/journal.hpp>
#include <aura/sqlite/vfs.hpp>

#include <memory>
#include <string>

namespace aura::test {

struct SqliteHost {
  static constexpr bool cancels_waiting = true;
  sim::Runtime world;
  sim::Disk disk;
  sqlite::Vfs<sim::Disk> vfs{disk};
  std::unique_ptr<sqlite::SqliteJournal> log;

  explicit SqliteHost(std::uint64_t seed = 1, sim::DiskOptions options = {})
      : world({.seed = seed}), disk(Random(seed), options) {
    open().value();
  }
  ~SqliteHost() { close(); }

  Result<void> open(sqlite::SqliteJournalOptions options = {}) {
    options.path = "app.db";
    options.vfs = vfs.name();
    auto opened = sqlite::SqliteJournal::open(world, options);
    if (!opened) return opened.error();
    log = std::move(*opened);
    return {};
  }
  /// Without a drain; what was on its way still runs.
  void close() {
    log.reset();
    world.run();
  }
  sqlite::SqliteJournal& journal() { return *log; }
};

}  // namespace aura::test
