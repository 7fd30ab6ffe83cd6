// Breakers by key.
#include "support/catch.hpp"

#include <aura/operational/breaker/consecutive_failures.hpp>
#include <aura/operational/breaker_group.hpp>
#include <aura/sim/runtime.hpp>

#include <chrono>
#include <optional>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <vector>

namespace {

using namespace std::chrono_literals;
using aura::BreakerState;
using aura::SteadyTime;
using Group = aura::BreakerGroup<aura::ConsecutiveFailures>;

constexpr SteadyTime start{1000s};

Group make_group(aura::sim::Runtime& world, std::size_t keys_max) {
  return Group(world, {.keys_max = keys_max, .idle_after = 60s},
               [](std::string_view) { return aura::ConsecutiveFailures({.failures = 2}); }, {.name = "workers"});
}

void fail(Group& group, std::string_view key, SteadyTime now) {
  auto permit = group.try_acquire(key, now);
  permit->record({.failure = aura::ErrorClass::transient}, now);
}

}  // namespace

TEST_CASE("each key has a breaker of its own, which is named after it") {
  aura::sim::Runtime world;
  Group group = make_group(world, 16);
  for (int i = 0; i < 2; ++i) fail(group, "a", start);
  REQUIRE(group.find("a", start)->state() == BreakerState::open);
  REQUIRE(group.find("b", start)->state() == BreakerState::closed);
  REQUIRE(group.try_acquire("a", start).error().message() == "the circuit breaker of workers/a is open");
  REQUIRE(group.try_acquire("b", start).has_value());
  REQUIRE(group.size() == 2);
}

TEST_CASE("a group is bounded: keys beyond share one breaker, until an idle one makes room") {
  aura::sim::Runtime world;
  Group group = make_group(world, 2);
  group.find("a", start);
  group.find("b", start + 1s);
  REQUIRE(&*group.find("c", start + 2s) == &group.overflow());
  REQUIRE(&*group.find("d", start + 2s) == &group.overflow());
  REQUIRE(group.size() == 2);
  // a has been idle for longest.
  REQUIRE(&*group.find("c", start + 60s) != &group.overflow());
  std::vector<std::string> keys;
  group.for_each([&](std::string_view key, const Group::Breaker&) { keys.emplace_back(key); });
  std::sort(keys.begin(), keys.end());
  REQUIRE(keys == std::vector<std::string>{"b", "c"});
}

TEST_CASE("what is open, pinned or in use is not retired") {
  aura::sim::Runtime world;
  Group group = make_group(world, 3);
  for (int i = 0; i < 2; ++i) fail(group, "open", start);
  std::optional<Group::Pin> pinned(group.find("pinned", start));
  std::optional<aura::Result<Group::Permit>> used(group.try_acquire("used", start));
  REQUIRE(used->has_value());
  REQUIRE(group.retire_idle(start + 1h) == 0);
  REQUIRE(&*group.find("new", start + 1h) == &group.overflow());
  pinned.reset();
  used.reset();
  REQUIRE(group.retire_idle(start + 1h) == 2);
  REQUIRE(group.size() == 1);
  REQUIRE(&*group.find("new", start + 1h) != &group.overflow());
}

TEST_CASE("a key that comes back after it retired starts anew") {
  aura::sim::Runtime world;
  Group group = make_group(world, 4);
  fail(group, "a", start);
  REQUIRE(group.retire_idle(start + 60s) == 1);
  fail(group, "a", start + 61s);
  REQUIRE(group.find("a", start + 61s)->state() == BreakerState::closed);
}

TEST_CASE("hundred thousand random lookups: as a plain map does it") {
  aura::sim::Runtime world;
  Group group = make_group(world, 32);
  aura::Random dice(3);
  std::unordered_map<std::string, SteadyTime> last_used;  // of those that must be there
  SteadyTime now = start;
  for (int i = 0; i < 100'000; ++i) {
    now += aura::Duration(dice.below(2'000'000'000));
    if (dice.below(200) == 0) {
      const std::size_t idle = std::erase_if(last_used, [&](const auto& each) { return now - each.second >= 60s; });
      if (group.retire_idle(now) != idle) FAIL("lookup " << i);
    }
    const std::string key = "k" + std::to_string(dice.below(64));
    const bool was_there = last_used.contains(key);
    if (!was_there && last_used.size() == 32) {
      auto oldest = std::min_element(last_used.begin(), last_used.end(),
                                     [](const auto& a, const auto& b) { return a.second < b.second; });
      if (now - oldest->second >= 60s) last_used.erase(oldest);
    }
    const bool room = was_there || last_used.size() < 32;
    const auto pin = group.find(key, now);
    if ((&*pin == &group.overflow()) == room) FAIL("lookup " << i);
    if (!room) continue;
    if (pin->core().name() != "workers/" + key) FAIL("lookup " << i);
    last_used[key] = now;
  }
  REQUIRE(group.size() == last_used.size());
}

TEST_CASE("a policy that cannot be made leaves the group as it was") {
  aura::sim::Runtime world;
  bool fails = false;
  aura::BreakerGroup<aura::ConsecutiveFailures> group(world, {.keys_max = 1}, [&](std::string_view) {
    if (fails) throw std::runtime_error("no settings for this key");
    return aura::ConsecutiveFailures();
  });
  fails = true;
  REQUIRE_THROWS_AS(group.find("a", start), std::runtime_error);
  REQUIRE(group.size() == 0);
  fails = false;
  REQUIRE(&*group.find("a", start) != &group.overflow());
}
