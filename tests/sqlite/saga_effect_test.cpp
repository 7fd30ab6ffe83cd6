// A step whose effect joins its record's commit: exactly once, without a fence, wherever the power goes.
#include "saga_process.hpp"

#include <aura/sqlite/database.hpp>
#include <aura/sqlite/transaction.hpp>

#include <algorithm>
#include <string>
#include <vector>

namespace {

using namespace std::chrono_literals;
using aura::Result;
using aura::step;
using aura::StepContext;
using aura::WithEffect;

/// Adds a row each time it is carried out: nothing but the commit keeps it from being there twice.
WithEffect<void> pay(const StepContext& context) {
  const std::string sql = "CREATE TABLE IF NOT EXISTS ledger(entry TEXT); INSERT INTO ledger VALUES('" +
                          std::string(context.compensating() ? "undo " : "act ") + std::string(context.step()) + "')";
  return {aura::sqlite::effect([sql](sqlite3* db) -> Result<void> {
    if (const int code = sqlite3_exec(db, sql.c_str(), nullptr, nullptr, nullptr); code != SQLITE_OK)
      return aura::sqlite::error_of(db, code, "saga.db", "paying");
    return {};
  })};
}

Result<void> check(const int& allowed) {
  if (allowed == 0) return aura::Error{"bank", 1, aura::ErrorClass::permanent, "no"};
  return {};
}

const auto act = [](const int&, StepContext& context) { return pay(context); };
const aura::Saga payments{"payments",
                          aura::version{1},
                          step<"a">(act).undo(act),
                          step<"b">(act).undo(act),
                          step<"c">(act).undo(act).after<"a", "b">(),
                          step<"check">(check).pure().after<"c">(),
                          step<"pivot">(act).after<"check">().pivot(),
                          step<"last">(act).after<"pivot">().retriable()};

struct EffectRig : aura::test::SagaProcess {
  explicit EffectRig(int given) : SagaProcess(1), input(given) {}
  ~EffectRig() { kill(); }

  void new_process() {
    if (!restart(payments)) return;
    runner->recover([this](Result<aura::SagaRecovery>) {
      if (runner)
        runner->run(payments, aura::RunId{"r"}, input, [this](Result<aura::SagaReport> report) {
          if (report) outcome = report->outcome;
        });
    });
  }

  /// What the ledger holds once the run has ended, sorted.
  std::vector<std::string> carry_to_end() {
    for (int life = 0; life < 20 && outcome == aura::RunOutcome{}; ++life) {
      new_process();
      const aura::SteadyTime until = world.steady_now() + 1min;
      while (disk.powered() && outcome == aura::RunOutcome{} && world.steady_now() < until && world.run_one()) {
      }
    }
    kill();
    operations = disk.operations();
    if (!disk.powered()) disk.restart();
    return entries();
  }

  std::vector<std::string> entries() {
    std::vector<std::string> found;
    auto database = aura::sqlite::Database::open({.path = "saga.db", .vfs = vfs.name()}).value();
    sqlite3_exec(
        database.handle(), "SELECT entry FROM ledger",
        [](void* into, int, char** values, char**) {
          static_cast<std::vector<std::string>*>(into)->emplace_back(values[0]);
          return 0;
        },
        &found, nullptr);
    std::sort(found.begin(), found.end());
    return found;
  }

  const int input;
  aura::RunOutcome outcome{};
  std::uint64_t operations = 0;  ///< of the disk, until the run had ended
};

void check_power_loss_everywhere(int input, aura::RunOutcome outcome, const std::vector<std::string>& entries) {
  std::uint64_t operations = 0;
  {
    EffectRig rig(input);
    REQUIRE(rig.carry_to_end() == entries);
    REQUIRE(rig.outcome == outcome);
    operations = rig.operations;
  }
  REQUIRE(operations > 20);
  for (std::uint64_t at = 1; at <= operations; ++at) {
    INFO("power goes at disk operation " << at << " of " << operations);
    EffectRig rig(input);
    rig.disk.inject(at, aura::sim::DiskFault::power_loss);
    REQUIRE(rig.carry_to_end() == entries);
    REQUIRE(rig.outcome == outcome);
  }
}

}  // namespace

TEST_CASE("power that goes at any disk operation leaves each effect of a completed saga in the ledger once") {
  check_power_loss_everywhere(1, aura::RunOutcome::completed, {"act a", "act b", "act c", "act last", "act pivot"});
}

TEST_CASE("power that goes at any disk operation leaves each effect of a compensated saga undone once") {
  check_power_loss_everywhere(0, aura::RunOutcome::compensated,
                              {"act a", "act b", "act c", "undo a", "undo b", "undo c"});
}
