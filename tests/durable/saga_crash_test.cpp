// A crash at every journal operation of every saga of a generated set: before the operation, and after it.
#include "support/fallible_journal.hpp"
#include "support/saga_participants.hpp"
#include "support/seeds.hpp"

#include <aura/durable/memory_journal.hpp>
#include <aura/durable/saga_runner.hpp>
#include <aura/sim/runtime.hpp>

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace {

using namespace std::chrono_literals;
using aura::Random;
using aura::Result;
using aura::SagaDefinition;

/// One saga, carried to its end by one runner after another over the same journal.
struct CrashRig {
  using Journal = FallibleJournal<aura::MemoryJournal>;
  using Runner = aura::SagaRunner<Journal>;

  explicit CrashRig(std::uint64_t seed)
      : dice(seed ^ 0xC4A5),
        world({.seed = seed}),
        memory(world),
        services(std::make_shared<Participants>()),
        saga(std::make_shared<const SagaDefinition>(saga_participants::make(Random(seed), services, 6))) {}

  ~CrashRig() {
    runner.reset();
    world.run_for(1min);
  }

  /// Dies at operation `at` of all journal operations, before it or after; afterwards, where asked, at others too.
  void crash_at(std::uint64_t at, Fate how, double again = 0) {
    dies_at = at;
    dies_how = how;
    dies_again = again;
  }

  void new_process() {
    runner.reset();
    world.run_until(world.steady_now());
    const auto dead = std::make_shared<bool>(false);
    auto journal = std::make_unique<Journal>(memory, world.executor());
    journal->judge = [this, dead](std::string_view, const aura::Batch*) {
      if (*dead) return Fate::vanish;
      const std::uint64_t operation = operations++;
      const bool dies = operation == dies_at || (operation > dies_at && dice.chance(dies_again));
      if (!dies) return Fate::pass;
      if (operation > dies_at) dies_again /= 2;
      *dead = crashed = true;
      return operation == dies_at ? dies_how : dice.chance(0.5) ? Fate::vanish : Fate::vanish_after;
    };
    journals.push_back(std::move(journal));  // a process that is dead may still call
    aura::SagaRunnerOptions options;
    options.holder = aura::HolderId{"p"};
    options.command_poll = {};
    runner = std::make_unique<Runner>(world, *journals.back(), options);
    runner->add(saga).value();
    crashed = false;
    runner->recover([this](Result<aura::SagaRecovery> found) {
      if (found && !crashed) runner->start(saga, aura::RunId{"r"}, std::string("in"), [](Result<void>) {});
    });
  }

  /// The run's state once it is closed; what is stuck is retried meanwhile, as an operator would.
  std::string carry_to_end() {
    new_process();
    for (int turn = 0; turn < 2000; ++turn) {
      const aura::SteadyTime until = world.steady_now() + 1s;
      while (!crashed && world.steady_now() < until && world.run_one()) {
      }
      if (crashed) {
        world.run_for(std::chrono::milliseconds(dice.below(30)));  // the supervisor takes a while
        new_process();
        continue;
      }
      const auto head = ask_head();
      if (!letters_agree(head)) return "without its letter, or has one too many";
      if (head && !head->open) return head->state;
      if (head && head->state == "stuck")
        for (const auto& step : saga->steps)
          runner->retry(aura::RunId{"r"}, step.name, "go on", [](Result<void>) {});
    }
    const auto head = ask_head();
    return "not ended but " + (head ? head->state : std::string("not begun"));
  }

  std::optional<aura::StreamHead> ask_head() {
    std::optional<aura::StreamHead> head;
    memory.head("saga/r", [&](Result<std::optional<aura::StreamHead>> found) { head = found.value(); });
    world.run_until(world.steady_now());
    return head;
  }
  /// A letter is open while a step is stuck, and only then: they are of one commit.
  bool letters_agree(const std::optional<aura::StreamHead>& head) {
    std::size_t letters = 0;
    memory.find({.kind = std::string(aura::dead_letter_kind), .open = true},
                 [&](Result<aura::StreamPage> page) { letters = page.value().streams.size(); });
    world.run_until(world.steady_now());
    return (letters > 0) == (head && head->state == "stuck");
  }

  std::vector<aura::Record> history() {
    std::vector<aura::Record> records;
    memory.read("saga/r", 0, 10'000, [&](Result<std::vector<aura::Record>> found) { records = found.value(); });
    world.run_until(world.steady_now());
    return records;
  }

  /// Empty where everything is as promised.
  std::string verdict() {
    const std::string outcome = carry_to_end();
    runner.reset();
    world.run_for(1min);  // whatever arrives late
    return saga_participants::audit(*saga, *services, outcome, history());
  }

  Random dice;
  aura::sim::Runtime world;
  aura::MemoryJournal memory;
  std::shared_ptr<Participants> services;
  std::shared_ptr<const SagaDefinition> saga;
  std::vector<std::unique_ptr<Journal>> journals{};
  std::unique_ptr<Runner> runner{};
  std::uint64_t operations = 0, dies_at = ~std::uint64_t{0};
  Fate dies_how = Fate::pass;
  double dies_again = 0;
  bool crashed = false;
};

std::uint64_t operations_of(std::uint64_t seed) {
  CrashRig rig(seed);
  REQUIRE(rig.verdict() == "");
  return rig.operations;
}

}  // namespace

TEST_CASE("a crash at any journal operation, before it or after, leaves every saga with all of its effects or none") {
  std::uint64_t crashes = 0;
  for_each_seed("durable", "a crash at any journal operation*", 60, [&](std::uint64_t seed) {
    const std::uint64_t operations = operations_of(seed);
    for (std::uint64_t at = 0; at < operations; ++at)
      for (const Fate how : {Fate::vanish, Fate::vanish_after}) {
        CrashRig rig(seed);
        INFO(random_saga::describe(*rig.saga));
        INFO("the process dies " << (how == Fate::vanish ? "before" : "after") << " operation " << at);
        rig.crash_at(at, how);
        const std::string fault = rig.verdict();
        if (!fault.empty()) FAIL(fault);
        ++crashes;
      }
    REQUIRE(operations >= 5);
  });
  REQUIRE(crashes > 0);
}

TEST_CASE("crash after crash, also while the last one is recovered from") {
  for_each_seed("durable", "crash after crash*", 300, [](std::uint64_t seed) {
    CrashRig rig(seed);
    INFO(random_saga::describe(*rig.saga));
    rig.crash_at(rig.dice.below(8), Fate::vanish_after, 0.4);
    const std::string fault = rig.verdict();
    if (!fault.empty()) FAIL(fault);
  });
}
