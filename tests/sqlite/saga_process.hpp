// A process that drives sagas over a SQLite journal, on a disk that may lose its power.
#pragma once

#include "support/catch.hpp"

#include <aura/durable/saga_runner.hpp>
#include <aura/sim/disk.hpp>
#include <aura/sim/runtime.hpp>
#include <aura/sqlite/journal.hpp>
#include <aura/sqlite/vfs.hpp>

#include <memory>
#include <utility>

namespace aura::test {

/// Who derives from it calls `kill` in its destructor: what is left on the runtime may still write to it.
struct SagaProcess {
  using Journal = sqlite::SqliteJournal;
  using Runner = SagaRunner<Journal>;

  explicit SagaProcess(std::uint64_t seed) : world({.seed = seed}), disk(Random(seed)), vfs(disk) {
    sqlite::seed_randomness(static_cast<int>(seed));
  }

  void kill() {
    runner.reset();
    journal.reset();
    world.run_until(world.steady_now());
  }

  /// A new process with a runner that knows the saga. False where power went while the journal was opened.
  template <class SagaType>
  bool restart(const SagaType& saga) {
    kill();
    if (!disk.powered()) disk.restart();
    Result<std::unique_ptr<Journal>> opened = Journal::open(world, {.path = "saga.db", .vfs = vfs.name()});
    if (!opened) {
      if (disk.powered()) FAIL(to_string(opened.error()));
      return false;
    }
    journal = std::move(*opened);
    SagaRunnerOptions options;
    options.holder = HolderId{"p"};
    options.command_poll = {};
    runner = std::make_unique<Runner>(world, *journal, options);
    runner->add(saga).value();
    return true;
  }

  sim::Runtime world;
  sim::Disk disk;
  sqlite::Vfs<sim::Disk> vfs;
  std::unique_ptr<Journal> journal{};
  std::unique_ptr<Runner> runner{};
};

}  // namespace aura::test
