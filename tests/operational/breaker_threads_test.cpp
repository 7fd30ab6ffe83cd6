// The breaker under threads that contend for it.
#include "support/catch.hpp"

#include <aura/operational/breaker/adaptive_policy.hpp>
#include <aura/operational/breaker/consecutive_failures.hpp>
#include <aura/operational/breaker/gradient_limit.hpp>
#include <aura/operational/breaker_group.hpp>
#include <aura/sim/runtime.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using aura::BreakerState;
using aura::SteadyTime;

constexpr int threads = 4;

template <class F>
void on_threads(F work) {
  std::vector<std::jthread> all;
  for (int i = 0; i < threads; ++i) all.emplace_back([i, work] { work(i); });
}

struct SharedLog {
  std::mutex* mutex;
  std::vector<aura::BreakerChanged>* changes;
  void operator()(const aura::BreakerChanged& change) const {
    const std::lock_guard lock(*mutex);
    changes->push_back(change);
  }
};

}  // namespace

TEST_CASE("transitions under contention are one chain: each begins where the one before ended", "[threads]") {
  std::mutex mutex;
  std::vector<aura::BreakerChanged> changes;
  aura::RecoveryOptions recovery = aura::RecoveryOptions::single(3);
  recovery.open_for = 1us;
  recovery.open_max = 1us;
  aura::BreakerCore<aura::ConsecutiveFailures, SharedLog> core(
      {.recovery = recovery}, aura::ConsecutiveFailures({.failures = 3}), 1, SharedLog{&mutex, &changes});
  std::atomic<std::int64_t> clock{1};
  std::atomic<int> probes{0}, probes_most{0};
  std::atomic<std::uint64_t> rejected{0};
  on_threads([&](int id) {
    aura::Random dice(static_cast<std::uint64_t>(id));
    for (int i = 0; i < 30'000; ++i) {
      const SteadyTime now{aura::Duration(clock.fetch_add(50, std::memory_order_relaxed))};
      const aura::BreakerAdmission admission = core.admit(now);
      if (!admission.passes()) {
        ++rejected;
        continue;
      }
      const bool probe = (admission.ticket.word & 7u) == static_cast<std::uint64_t>(BreakerState::half_open);
      if (probe) {
        const int most = ++probes;
        int seen = probes_most.load();
        while (most > seen && !probes_most.compare_exchange_weak(seen, most)) {
        }
        --probes;  // before the breaker hears of it: so what is counted here is never more than what it counts
      }
      if (dice.chance(0.1))
        core.cancel(admission.ticket);
      else
        core.record(admission.ticket,
                    {.failure = dice.chance(0.4) ? std::optional(aura::ErrorClass::timeout) : std::nullopt},
                    [now] { return now; });
    }
  });
  REQUIRE(probes_most <= 3);
  std::sort(changes.begin(), changes.end(), [](const auto& a, const auto& b) { return a.epoch < b.epoch; });
  BreakerState state = BreakerState::closed;
  std::uint64_t epoch = 0;
  for (const auto& change : changes) {
    REQUIRE(change.epoch == ++epoch);
    REQUIRE(change.from == state);
    state = change.to;
  }
  REQUIRE(core.state() == state);
  REQUIRE(changes.size() > 100);
  REQUIRE(rejected > 0);
}

TEST_CASE("a limit of calls in flight holds whoever comes at once", "[threads]") {
  aura::BreakerCore<aura::GradientLimit> core({}, aura::GradientLimit({.initial = 3, .min = 3, .max = 3}), 1);
  std::atomic<int> inside{0};
  std::atomic<bool> over{false};
  std::atomic<std::uint64_t> passed{0};
  on_threads([&](int) {
    for (int i = 0; i < 50'000; ++i) {
      const auto admission = core.admit(SteadyTime(1s));
      if (!admission.passes()) continue;
      if (++inside > 3) over = true;
      ++passed;
      --inside;
      core.cancel(admission.ticket);
    }
  });
  REQUIRE_FALSE(over);
  REQUIRE(core.in_flight() == 0);
  REQUIRE(passed > 0);
}

TEST_CASE("no outcome of the adaptive policy is lost or counted twice, whoever records", "[threads]") {
  aura::AdaptivePolicy policy({.failing_rate = 0.5, .healthy_rate = 0.3, .slow_rate = 0.5, .healthy_slow_rate = 0.3});
  on_threads([&](int) {
    for (int i = 0; i < 40'000; ++i)
      policy.record({.failed = i % 10 == 0, .slow = i % 10 == 5}, [] { return SteadyTime(1s); });
  });
  const aura::PolicyView seen = policy.view();
  REQUIRE(seen.calls == threads * 40'000);
  REQUIRE(seen.failures == threads * 4'000);
  REQUIRE(seen.slow == threads * 4'000);
}

TEST_CASE("a group gives every thread the same breaker for a key, while others come and go", "[threads]") {
  aura::sim::Runtime world;
  aura::BreakerGroup<aura::ConsecutiveFailures> group(world, {.keys_max = 8, .idle_after = 10us});
  std::atomic<std::int64_t> clock{1};
  std::atomic<bool> wrong{false};
  on_threads([&](int id) {
    aura::Random dice(static_cast<std::uint64_t>(id));
    for (int i = 0; i < 20'000; ++i) {
      const SteadyTime now{aura::Duration(clock.fetch_add(100, std::memory_order_relaxed))};
      const std::string key = "endpoint-" + std::to_string(dice.below(24));
      auto pin = group.find(key, now);
      const std::string name(pin->core().name());
      if (name != "dependency/" + key && name != "dependency/overflow") wrong = true;
      if (auto permit = pin->try_acquire(now)) permit->success();
      if (dice.below(1000) == 0) group.retire_idle(now);
      if (std::string(pin->core().name()) != name) wrong = true;  // it is not given to another key meanwhile
    }
  });
  REQUIRE_FALSE(wrong);
  REQUIRE(group.size() <= 8);
}
