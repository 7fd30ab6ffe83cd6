// The tracker on values that obey it, that do not, and that work against it.
#include "support/catch.hpp"

#include <aura/core/random.hpp>
#include <aura/stats/coverage_tracker.hpp>

#include <cmath>
#include <cstdint>

namespace {

using aura::CoverageTracker;

CoverageTracker tracker_of(const aura::CoverageTrackerOptions& options) { return *CoverageTracker::make(options); }

}  // namespace

TEST_CASE("the share of misses is the one stated plus the change of theta, whatever the values do") {
  for (const double coverage : {0.5, 0.9, 0.99, 0.999}) {
    for (const int kind : {0, 1, 2}) {
      aura::Random dice(static_cast<std::uint64_t>(kind) + 1);
      auto tracker = tracker_of({.coverage = coverage, .factor_max = 1e6});
      double walk = 0;
      double misses = 0;
      const int n = 200'000;
      for (int i = 0; i < n; ++i) {
        walk += 0.001 * (dice.uniform() - 0.5);
        // Steady, drifting, and one who knows the bound and exceeds it in each stretch as long as it is low.
        const double value = kind == 0                      ? dice.uniform()
                             : kind == 1                    ? std::exp(walk)
                             : tracker.factor() < 1 + i % 5 ? 1e9
                                                            : 0;
        const bool missed = value > tracker.factor();
        misses += missed ? 1 : 0;
        tracker.observe(missed);
      }
      INFO("coverage " << coverage << " kind " << kind);
      REQUIRE(misses / n == Approx(1 - coverage + tracker.theta() / (0.04 * n)).margin(1e-9));
      REQUIRE(std::fabs(misses / n - (1 - coverage)) < std::log(1e6) / (0.04 * n));
    }
  }
}

TEST_CASE("an estimate that is wrong by any factor within the limits is put right") {
  for (const double wrong : {0.1, 0.5, 2.0, 10.0}) {
    aura::Random dice(7);
    auto tracker = tracker_of({.coverage = 0.9});
    double sum = 0;
    for (int i = 0; i < 100'000; ++i) {
      const double value = dice.uniform();  // its 90% quantile is 0.9
      tracker.observe(value > wrong * 0.9 * tracker.factor());
      if (i >= 50'000) sum += wrong * tracker.factor() / 50'000;
    }
    REQUIRE(sum == Approx(1).epsilon(0.02));
  }
}

TEST_CASE("the factor stays within its limits") {
  auto tracker = tracker_of({.coverage = 0.5, .step = 1, .factor_max = 8});
  for (int i = 0; i < 100; ++i) tracker.observe(true);
  REQUIRE(tracker.factor() == 8);
  for (int i = 0; i < 1000; ++i) tracker.observe(false);
  REQUIRE(tracker.factor() == 0.125);
  tracker.set_theta(1e300);
  REQUIRE(tracker.factor() == 8);
  tracker.set_theta(std::nan(""));
  REQUIRE(tracker.factor() == 1);
}

TEST_CASE("a probable miss moves the bound as far as the two outcomes would on average") {
  for (const double p : {-1.0, 0.0, 0.3, 1.0, 2.0}) {
    auto tracker = tracker_of({.coverage = 0.9, .step = 0.1});
    tracker.observe_probable_miss(p);
    const double held = p < 0 ? 0 : p > 1 ? 1 : p;
    REQUIRE(tracker.theta() == Approx(0.1 * (held - 0.1)).margin(1e-12));
  }
}

TEST_CASE("options that no tracker can have are refused") {
  const double nan = std::nan("");
  for (const aura::CoverageTrackerOptions& options : {aura::CoverageTrackerOptions{.coverage = 0},
                                                      {.coverage = 1},
                                                      {.coverage = nan},
                                                      {.step = 0},
                                                      {.step = 2},
                                                      {.step = nan},
                                                      {.factor_max = 1},
                                                      {.factor_max = nan}})
    REQUIRE(CoverageTracker::make(options).error().is(aura::coverage_errc::bad_options));
}
