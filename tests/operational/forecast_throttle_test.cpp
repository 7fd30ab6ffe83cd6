// A forecast as a policy.
#include "support/catch.hpp"

#include <aura/operational/breaker/core.hpp>
#include <aura/operational/breaker/forecast_throttle.hpp>

#include <chrono>
#include <vector>

namespace {

using namespace std::chrono_literals;
using aura::SteadyTime;

/// Foresees what the test tells it to, and keeps what it was shown.
struct Told {
  static inline double share = 0;
  static inline std::vector<aura::ForecastWindow> shown;
  static inline int interrupted = 0;
  explicit Told(const aura::ForecastOptions&) {}
  aura::Forecast observe(const aura::ForecastWindow& window) {
    shown.push_back(window);
    return {.probability = 1, .throttle_share = share};
  }
  void interrupt() { ++interrupted; }
};

using Core = aura::BreakerCore<aura::ForecastThrottle<Told>>;

}  // namespace

TEST_CASE("a forecast turns away its share, says so, and never opens") {
  Told::share = 0;
  Told::shown.clear();
  Core core({}, aura::ForecastThrottle<Told>({.forecast = {}, .tick = 100ms, .limit = 50}), 3);
  SteadyTime now{1s};
  const auto second = [&] {
    int rejected = 0;
    for (int i = 0; i < 1000; ++i, now += 1ms) {
      const auto admission = core.admit(now);
      if (!admission.passes()) {
        ++rejected;
        REQUIRE(admission.code == aura::rejection_errc::breaker_throttled);
        REQUIRE(admission.retry_after == 100ms);
        continue;
      }
      const bool fails = i % 10 == 0;
      core.record(admission.ticket,
                  {.failure = fails ? std::optional(aura::ErrorClass::timeout) : std::nullopt,
                   .latency = aura::Duration(1ms) * (i % 100)},
                  [&] { return now; });
    }
    return rejected;
  };
  REQUIRE(second() == 0);
  REQUIRE(core.state() == aura::BreakerState::closed);
  REQUIRE(Told::shown.size() == 9);
  for (const auto& window : Told::shown) {
    REQUIRE(window.calls == 100);
    REQUIRE(window.errors == 10);
    REQUIRE(window.p50 == 50ms);
    REQUIRE(window.p99 == 99ms);
    REQUIRE(window.limit == 50);
  }
  Told::share = 0.25;
  second();
  REQUIRE(core.state() == aura::BreakerState::throttling);
  const int rejected = second();
  REQUIRE((rejected > 180 && rejected < 320));
  Told::share = 1;
  second();
  REQUIRE(second() == 1000);
  REQUIRE(core.state() == aura::BreakerState::throttling);
  REQUIRE(core.snapshot().openings == 0);
  Told::share = 0;
  second();
  REQUIRE(second() == 0);
  REQUIRE(core.state() == aura::BreakerState::closed);
}

TEST_CASE("what a model learned is told of a break in time") {
  Told::interrupted = 0;
  aura::ForecastThrottle<Told> policy;
  policy.reset(SteadyTime(1s));
  REQUIRE(Told::interrupted == 1);
}
