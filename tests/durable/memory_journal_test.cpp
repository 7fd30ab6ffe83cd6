#include <aura/durable/memory_journal.hpp>
#include <aura/sim/runtime.hpp>

namespace {

struct MemoryHost {
  static constexpr bool cancels_waiting = false;
  aura::sim::Runtime world;
  aura::MemoryJournal log{world};

  explicit MemoryHost(std::uint64_t seed) : world({.seed = seed}) {}
  aura::MemoryJournal& journal() { return log; }
};

}  // namespace

#define JOURNAL_FOLDER "durable"
#define JOURNAL_HOST MemoryHost
#include "support/journal_contract.hpp"

static_assert(aura::journal<aura::MemoryJournal>);

TEST_CASE("a memory journal at its limits refuses the batch, and takes it once there is room") {
  struct SmallHost : MemoryHost {
    explicit SmallHost(std::uint64_t seed) : MemoryHost(seed) {}
    aura::MemoryJournal small{world, {.streams_max = 2, .records_max = 4}};
    aura::MemoryJournal& journal() { return small; }
  };
  JournalDriver<SmallHost> log;
  Append first = birth("a", {record("1")});
  first.index->open = false;
  REQUIRE(ok(log.commit({first, birth("b", {record("1")})})));
  const Error full = log.commit({birth("c", {record("1")})}).error();
  REQUIRE(full.is(journal_errc::full));
  REQUIRE(full.error_class() == ErrorClass::transient);
  REQUIRE(ok(log.commit({append("b", 1, {record("2"), record("3")})})));
  REQUIRE(refused(log.commit({append("b", 3, {record("4")})}), journal_errc::full));
  REQUIRE(log.prune({.kind = "saga", .closed_kept_max = 0}).value() == 1);
  REQUIRE(ok(log.commit({birth("c", {record("1")})})));
}
