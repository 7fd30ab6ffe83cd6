// Power goes at every operation of the disk under a saga's SQLite journal, in the middle of writes too.
#include "support/saga_participants.hpp"
#include "support/seeds.hpp"

#include <aura/durable/saga_runner.hpp>
#include <aura/sim/disk.hpp>
#include <aura/sim/runtime.hpp>
#include <aura/sqlite/journal.hpp>
#include <aura/sqlite/vfs.hpp>

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace {

using namespace std::chrono_literals;
using aura::Random;
using aura::Result;
using aura::SagaDefinition;
using aura::sim::DiskFault;
using aura::sqlite::SqliteJournal;

/// One small saga over a database that loses power once, wherever it is told to.
struct PowerRig {
  using Runner = aura::SagaRunner<SqliteJournal>;

  explicit PowerRig(std::uint64_t seed)
      : world({.seed = seed}),
        disk(Random(seed)),
        vfs(disk),
        services(std::make_shared<Participants>()),
        saga(std::make_shared<const SagaDefinition>(saga_participants::make(Random(seed), services, 4))) {
    aura::sqlite::seed_randomness(static_cast<int>(seed));
  }
  ~PowerRig() { kill(); }

  void kill() {
    runner.reset();
    journal.reset();
    world.run_until(world.steady_now());
  }

  /// False where power went while the journal was opened.
  bool new_process() {
    kill();
    if (!disk.powered()) disk.restart();
    Result<std::unique_ptr<SqliteJournal>> opened =
        SqliteJournal::open(world, {.path = "saga.db", .vfs = vfs.name()});
    if (!opened) {
      if (disk.powered()) FAIL(to_string(opened.error()));
      return false;
    }
    journal = std::move(*opened);
    aura::SagaRunnerOptions options;
    options.holder = aura::HolderId{"p"};
    options.command_poll = {};
    runner = std::make_unique<Runner>(world, *journal, options);
    runner->add(saga).value();
    runner->recover([this](Result<aura::SagaRecovery> found) {
      if (!found || !runner) return;
      runner->start(saga, aura::RunId{"r"}, std::string("in"), [this](Result<void> begun) {
        if (begun) told_begun = true;
      });
    });
    return true;
  }

  std::string carry_to_end() {
    for (int turn = 0; turn < 500; ++turn) {
      if (!runner || !disk.powered())
        if (!new_process()) continue;
      const aura::SteadyTime until = world.steady_now() + 1s;
      while (disk.powered() && world.steady_now() < until && world.run_one()) {
      }
      if (!disk.powered()) continue;
      const auto head = ask_head();
      if (!disk.powered()) continue;
      if (!head && told_begun) return "lost, although its start was acknowledged";
      if (!letters_agree(head)) return "without its letter, or has one too many";
      if (head && !head->open) return head->state;
      if (head && head->state == "stuck")
        for (const auto& step : saga->steps)
          runner->retry(aura::RunId{"r"}, step.name, "go on", [](Result<void>) {});
    }
    return "not ended";
  }

  std::optional<aura::StreamHead> ask_head() {
    std::optional<aura::StreamHead> head;
    journal->head("saga/r", [&](Result<std::optional<aura::StreamHead>> found) {
      if (found) head = *found;
    });
    world.run_until(world.steady_now());
    return head;
  }

  /// A letter is open while a step is stuck, and only then: they are of one commit.
  bool letters_agree(const std::optional<aura::StreamHead>& head) {
    std::size_t letters = 0;
    journal->find({.kind = std::string(aura::dead_letter_kind), .open = true},
                 [&](Result<aura::StreamPage> page) { letters = page ? page->streams.size() : 0; });
    world.run_until(world.steady_now());
    if (!disk.powered()) return true;
    return (letters > 0) == (head && head->state == "stuck");
  }

  std::string verdict() {
    const std::string outcome = carry_to_end();
    while (!disk.powered()) new_process();  // it went while the end was looked at
    runner.reset();
    world.run_for(1min);  // whatever arrives late
    std::vector<aura::Record> records;
    journal->read("saga/r", 0, 10'000, [&](Result<std::vector<aura::Record>> found) { records = found.value(); });
    world.run_until(world.steady_now());
    return saga_participants::audit(*saga, *services, outcome, records);
  }

  aura::sim::Runtime world;
  aura::sim::Disk disk;
  aura::sqlite::Vfs<aura::sim::Disk> vfs;
  std::shared_ptr<Participants> services;
  std::shared_ptr<const SagaDefinition> saga;
  std::unique_ptr<SqliteJournal> journal{};
  std::unique_ptr<Runner> runner{};
  bool told_begun = false;
};

}  // namespace

TEST_CASE("power that goes at any disk operation leaves every saga with all of its effects or none") {
  for_each_seed("sqlite", "power that goes at any disk operation*", 8, [](std::uint64_t seed) {
    std::uint64_t operations = 0;
    {
      PowerRig rig(seed);
      REQUIRE(rig.verdict() == "");
      operations = rig.disk.operations();
    }
    REQUIRE(operations > 20);
    for (std::uint64_t at = 1; at <= operations; ++at) {
      PowerRig rig(seed);
      INFO(random_saga::describe(*rig.saga));
      INFO("power goes at disk operation " << at << " of " << operations);
      rig.disk.inject(at, DiskFault::power_loss);
      const std::string fault = rig.verdict();
      if (!fault.empty()) FAIL(fault);
    }
  });
}
