// The parts of the signal router's core, each against a slow and obvious model of it.
#include "support/catch.hpp"

#include <aura/core/random.hpp>
#include <aura/operational/codel.hpp>
#include <aura/operational/detail/bounded_map.hpp>
#include <aura/operational/detail/deadline_counts.hpp>
#include <aura/operational/detail/dedup_window.hpp>
#include <aura/operational/detail/handling_estimate.hpp>
#include <aura/operational/detail/slot_heap.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <deque>
#include <map>
#include <string>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using aura::Duration;
using aura::Random;
using aura::SteadyTime;

TEST_CASE("deadline counts are those of a list of deadlines, at any time and beyond the horizon") {
  using aura::detail::DeadlineCounts;
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    Random dice(seed);
    DeadlineCounts counts;
    std::vector<std::pair<SteadyTime, std::int64_t>> held;
    SteadyTime now(Duration(static_cast<std::int64_t>(dice.below(1'000'000'000'000))));
    const auto bucket = [](SteadyTime at) { return at.time_since_epoch() / DeadlineCounts::width; };
    for (int i = 0; i < 3000; ++i) {
      now += Duration(static_cast<std::int64_t>(dice.below(dice.chance(0.01) ? 6'000'000'000 : 3'000'000)));
      const auto deadline = now + Duration(static_cast<std::int64_t>(dice.below(5'000'000'000))) - 100ms;
      if (held.empty() || dice.chance(0.55)) {
        held.emplace_back(deadline, counts.add(deadline, now));
      } else {
        const std::size_t at = static_cast<std::size_t>(dice.below(held.size()));
        counts.remove(held[at].second);
        held.erase(held.begin() + static_cast<std::ptrdiff_t>(at));
      }
      const auto horizon = bucket(now) + static_cast<std::int64_t>(DeadlineCounts::buckets);
      REQUIRE(counts.all() == static_cast<std::int64_t>(held.size()));
      if (bucket(deadline) >= horizon || bucket(deadline) < bucket(now)) continue;
      // What was beyond the horizon when it came stays in that lump: it may count as later than it is, never as earlier.
      std::int64_t all = 0, near = 0;
      for (const auto& [due, where] : held) {
        if (bucket(due) > bucket(deadline)) continue;
        ++all;
        near += where != INT64_MAX;
      }
      const std::int64_t said = counts.up_to(deadline, now);
      REQUIRE(said == near);
      REQUIRE(said <= all);
    }
  }
}

TEST_CASE("the window of ids remembers the last of them for as long as it says, and forgets what it is told to") {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    Random dice(seed);
    aura::detail::DedupWindow window(32, 1s, seed);
    std::deque<std::pair<std::uint64_t, SteadyTime>> model;  // a forgotten one keeps its place, as id 0
    SteadyTime now{};
    for (int i = 0; i < 20'000; ++i) {
      now += Duration(static_cast<std::int64_t>(dice.below(80'000'000)));
      while (!model.empty() && now - model.front().second >= 1s) model.pop_front();
      const std::uint64_t id = 1 + dice.below(60);
      const auto is_it = [id](const auto& each) { return each.first == id; };
      const auto found = std::find_if(model.begin(), model.end(), is_it);
      REQUIRE(window.contains(id, now) == (found != model.end()));
      if (found == model.end()) {
        window.add(id, now);
        if (model.size() == 32) model.pop_front();
        model.emplace_back(id, now);
      } else if (dice.chance(0.3)) {
        window.forget(id);
        found->first = 0;
      }
    }
  }
}

TEST_CASE("a window of no ids remembers nothing") {
  aura::detail::DedupWindow window(0, 1s, 1);
  window.add(7, SteadyTime{});
  REQUIRE(!window.contains(7, SteadyTime{}));
}

TEST_CASE("a heap of slots gives them in order") {
  Random dice(3);
  std::vector<aura::detail::HeapLinks> links(500);
  std::vector<std::uint64_t> value(500);
  const auto link = [&](std::uint32_t i) -> aura::detail::HeapLinks& { return links[i]; };
  const auto less = [&](std::uint32_t a, std::uint32_t b) {
    return value[a] != value[b] ? value[a] < value[b] : a < b;
  };
  aura::detail::SlotHeap heap;
  std::vector<std::uint32_t> unused(500), model;
  for (std::uint32_t i = 0; i < 500; ++i) unused[i] = i;
  for (int i = 0; i < 50'000; ++i) {
    if (!unused.empty() && dice.chance(0.5)) {
      const std::uint32_t node = unused.back();
      unused.pop_back();
      value[node] = dice.below(100);
      heap.push(node, link, less);
      model.push_back(node);
    } else if (!model.empty()) {
      const auto least = std::min_element(model.begin(), model.end(), less);
      REQUIRE(heap.top() == *least);
      REQUIRE(heap.pop(link, less) == *least);
      unused.push_back(*least);
      model.erase(least);
    }
    REQUIRE(heap.empty() == model.empty());
  }
}

TEST_CASE("a bounded map finds what it holds and refuses what is too much") {
  Random dice(4);
  aura::detail::BoundedMap<std::string, int> map(64, 9);
  std::map<std::string, std::uint32_t> model;
  for (int i = 0; i < 50'000; ++i) {
    const std::string key = "key " + std::to_string(dice.below(100));
    const auto found = model.find(key);
    REQUIRE(map.find(key) == (found == model.end() ? aura::detail::no_index : found->second));
    if (found != model.end() && dice.chance(0.5)) {
      map.erase(found->second);
      model.erase(found);
    } else {
      const std::uint32_t at = map.find_or_add(key);
      if (found != model.end()) {
        REQUIRE(at == found->second);
      } else if (model.size() == 64) {
        REQUIRE(at == aura::detail::no_index);
      } else {
        REQUIRE(map[at] == 0);
        REQUIRE(map.key(at) == key);
        map[at] = 1;
        model[key] = at;
      }
    }
  }
}

TEST_CASE("the estimate of a call's cost and of a signal's come out of calls of different sizes") {
  aura::detail::HandlingEstimate estimate(0ns, 500us);
  REQUIRE(estimate.signal_ns() == 0);
  REQUIRE(estimate.call_ns() == 500'000);
  Random dice(5);
  for (int i = 0; i < 2000; ++i) {
    const std::uint64_t n = 1 + dice.below(16);
    const double noise = 1 + 0.1 * (dice.uniform() - 0.5);
    estimate.observe(n, Duration(static_cast<std::int64_t>((2e6 + 3e5 * static_cast<double>(n)) * noise)));
  }
  REQUIRE(std::abs(estimate.call_ns() - 2e6) < 2e5);
  REQUIRE(std::abs(estimate.batch_ns(10) - 5e6) < 2e5);
}

TEST_CASE("the estimate follows a service that has become ten times slower within a few hundred calls") {
  aura::detail::HandlingEstimate estimate(0ns, 0ns);
  for (int i = 0; i < 1000; ++i) estimate.observe(1, 1ms);
  for (int i = 0; i < 400; ++i) estimate.observe(1, 10ms);
  REQUIRE(std::abs(estimate.signal_ns() - 1e7) < 1e6);
}

TEST_CASE("controlled delay leaves a queue alone that is short or that empties once an interval") {
  aura::CoDel codel({.on = true});
  SteadyTime now{};
  for (int i = 0; i < 10'000; ++i, now += 1ms) REQUIRE(!codel.drop(now, 4ms, false));
  for (int i = 0; i < 10'000; ++i, now += 1ms) REQUIRE(!codel.drop(now, i % 90 == 0 ? 1ms : 80ms, false));
  codel.emptied();
  for (int i = 0; i < 10'000; ++i, now += 1ms) REQUIRE(!codel.drop(now, 1s, true));  // the last one of the queue
}

TEST_CASE("controlled delay drops from a standing queue after an interval, then at interval / sqrt(n)") {
  // The published control law: the first drop one interval after the wait went above target, the n-th gap interval/sqrt(n).
  aura::CoDel codel({.on = true});
  std::vector<Duration> drops;
  SteadyTime now{};
  for (; drops.size() < 50; now += 100us)
    if (codel.drop(now, 20ms, false)) drops.push_back(now.time_since_epoch());
  REQUIRE(drops[0] == 100ms);
  double due = 100e6;
  for (std::size_t n = 1; n < drops.size(); ++n) {
    due += 100e6 / std::sqrt(static_cast<double>(n));
    REQUIRE(std::abs(static_cast<double>(drops[n].count()) - due) <= 100e3 + 1e3);
  }
  REQUIRE(!codel.drop(now, 4ms, false));  // the wait is below the target: it stops at once
  REQUIRE(!codel.drop(now + 50ms, 20ms, false));
}
