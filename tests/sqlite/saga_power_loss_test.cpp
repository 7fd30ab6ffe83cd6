// Power goes at every operation of the disk under a saga's SQLite journal, in the middle of writes too.
#include "saga_process.hpp"
#include "support/saga_participants.hpp"
#include "support/seeds.hpp"

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

/// One small saga over a database that loses power once, wherever it is told to.
struct PowerRig : aura::test::SagaProcess {
  explicit PowerRig(std::uint64_t seed)
      : SagaProcess(seed),
        services(std::make_shared<Participants>()),
        saga(std::make_shared<const SagaDefinition>(saga_participants::make(Random(seed), services, 4))) {}
  ~PowerRig() { kill(); }

  /// False where power went while the journal was opened.
  bool new_process() {
    if (!restart(saga)) return false;
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
        for (const auto& step : saga->steps) runner->retry(aura::RunId{"r"}, step.name, "go on", [](Result<void>) {});
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

  std::shared_ptr<Participants> services;
  std::shared_ptr<const SagaDefinition> saga;
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
