// The learned healthy rate in a closed loop with its CUSUM, at rates that the loop does not know.
#include "support/catch.hpp"

#include <aura/core/random.hpp>
#include <aura/stats/bernoulli_cusum.hpp>
#include <aura/stats/healthy_rate.hpp>

#include <cmath>
#include <cstdint>
#include <limits>
#include <map>

namespace {

using aura::BernoulliCusum;
using aura::CallWindow;
using aura::HealthyRate;
using aura::HealthyRateOptions;
using aura::Random;

HealthyRate learner(const HealthyRateOptions& options) {
  auto made = HealthyRate::make(options);
  REQUIRE(made.has_value());
  return *made;
}

/// One dependency, its detector and what that learns, as a breaker would run them.
struct Loop {
  Loop(const HealthyRateOptions& options, std::uint64_t window_calls, std::uint64_t seed)
      : dice(seed), health(learner(options)), cusum(*health.plan()), window(window_calls) {}

  /// One window of calls at the failure rate p; its number of alarms.
  int run(double p) {
    // What the plan in force promises at p, exactly: far more precise than counting rare alarms.
    auto [known, is_new] = length_of.try_emplace(cusum.plan().p0, 0.0);
    if (is_new || p != length_p) known->second = aura::cusum_run_length(cusum.plan(), length_p = p);
    expected_alarms += static_cast<double>(window) / known->second;

    int alarms = 0;
    std::uint64_t failures = 0;
    for (std::uint64_t call = 0;;) {
      const auto next = static_cast<std::uint64_t>(std::log1p(-dice.uniform()) / std::log1p(-p));
      if (call + next >= window) {  // a geometric gap has no memory: what is cut off is drawn anew
        successes += window - call;
        break;
      }
      call += next + 1;
      ++failures;
      successes += next;
      const bool alarm = cusum.on_failure(successes);
      successes = 0;
      if (!alarm) continue;
      ++alarms;
      cusum.restart(dice.uniform());
    }
    const bool quiet = cusum.score(successes) == 0;
    const CallWindow verdict = alarms > 0 ? CallWindow::alarm : quiet ? CallWindow::quiet : CallWindow::unclear;
    health.observe(window, failures, verdict);
    if (quiet && health.rate() != cusum.plan().p0) cusum.adopt(*health.plan(), dice.uniform());
    return alarms;
  }

  Random dice;
  HealthyRate health;
  BernoulliCusum cusum;
  std::uint64_t window;
  std::uint64_t successes = 0;
  double expected_alarms = 0;
  double length_p = 0;
  std::map<double, double> length_of{};
};

}  // namespace

TEST_CASE("with a healthy rate that is learned, false alarms are at most what was asked, from the first call on") {
  struct Case {
    double asked;
    std::uint64_t window;
    double memory;
    int windows, runs;
  };
  for (const double p0 : {0.001, 0.01, 0.05}) {
    for (const double factor : {2.5, 5.0, 10.0}) {
      for (const Case& c :
           {Case{1e5, 1000, 1e5, 500, 16}, Case{1e6, 1000, 1e6, 3000, 3}, Case{8.64e7, 10'000, 1e6, 400, 2}}) {
        CAPTURE(p0, factor, c.asked);
        double alarms = 0;
        double expected = 0;
        for (int run = 0; run < c.runs; ++run) {
          Loop loop({.p1 = p0 * factor, .calls_between_alarms = c.asked, .memory_calls = c.memory}, c.window,
                    static_cast<std::uint64_t>(run) + 1);
          for (int i = 0; i < c.windows; ++i) alarms += loop.run(p0);
          expected += loop.expected_alarms;
        }
        const double allowed = static_cast<double>(c.window) * c.windows * c.runs / c.asked;
        REQUIRE(expected <= allowed);
        REQUIRE(alarms <= allowed + 3 * std::sqrt(allowed) + 1);
      }
    }
  }
}

TEST_CASE("what is learned is near the truth, so that a rate of p1 is found almost as soon as with the rate known") {
  for (const double p0 : {0.001, 0.01, 0.05}) {
    CAPTURE(p0);
    Loop loop({.p1 = p0 * 5, .p0_max = p0 * 3}, 10'000, 1);
    REQUIRE(loop.health.rate() == p0 * 3);
    for (int i = 0; i < 150; ++i) loop.run(p0);
    REQUIRE(loop.health.rate() > p0);
    REQUIRE(loop.health.rate() < p0 * 1.3);
    const auto known = aura::plan_cusum(p0, p0 * 5, 8.64e7);
    REQUIRE(aura::cusum_run_length(loop.cusum.plan(), p0 * 5) < 1.3 * aura::cusum_run_length(*known, p0 * 5));
  }
}

TEST_CASE("the bound lies above the true rate in as many samples as the confidence says") {
  Random dice(11);
  for (const double p : {0.002, 0.02, 0.3}) {
    for (const double confidence : {0.9, 0.99}) {
      int below = 0;
      const int samples = 2000;
      for (int i = 0; i < samples; ++i) {
        auto health = learner({.p1 = 0.8, .p0_max = 0.4, .p0_min = 1e-4, .confidence = confidence});
        std::uint64_t failures = 0;
        for (int call = 0; call < 1000; ++call) failures += dice.chance(p);
        health.observe(1000, failures, CallWindow::quiet);
        below += health.rate() < p;
      }
      const double allowed = (1 - confidence) * samples;
      CAPTURE(p, confidence, below);
      REQUIRE(below <= allowed + 3 * std::sqrt(allowed));
    }
  }
  // Without a failure the bound has a closed form: 1 - (1 - confidence)^(1/n). It is rounded up by at most 5%.
  auto health = learner({.p1 = 0.1, .p0_min = 1e-6, .confidence = 0.95});
  health.observe(1000, 0, CallWindow::quiet);
  const double exact = 1 - std::pow(0.05, 1e-3);
  REQUIRE(health.rate() >= exact);
  REQUIRE(health.rate() <= exact * 1.0501);
}

TEST_CASE("a slow decay is never learned as health, and is told before it reaches p1") {
  const double p1 = 0.1;
  for (const int windows : {200, 2000}) {
    Loop loop({.p1 = p1}, 10'000, 5);
    for (int i = 0; i < 300; ++i) REQUIRE(loop.run(0.01) == 0);
    double told_at = 1;
    for (int i = 0; i < windows; ++i) {
      const double p = 0.01 + (p1 - 0.01) * i / windows;
      if (loop.run(p) > 0 && told_at == 1) told_at = p;
      REQUIRE(loop.health.rate() <= p1 / 2);
    }
    CAPTURE(windows);
    REQUIRE(told_at < p1);
  }
}

TEST_CASE("p1 is told within the delay of the most cautious plan, whatever was learned before") {
  const HealthyRateOptions options{.p1 = 0.1, .calls_between_alarms = 1e6};
  const double slowest = aura::cusum_detection_delay(*aura::plan_cusum(0.05, 0.1, 1e6));
  for (const double before : {0.0005, 0.01, 0.045}) {
    double windows = 0;
    const int runs = 100;
    for (int run = 0; run < runs; ++run) {
      Loop loop(options, 100, static_cast<std::uint64_t>(run) + 1);
      for (int i = 0; i < 100; ++i) loop.run(before);
      for (int i = 0; i < 10'000; ++i) {
        ++windows;
        if (loop.run(0.1) > 0) break;
      }
    }
    CAPTURE(before);
    REQUIRE((windows / runs - 1) * 100 < slowest * 1.1);
  }
}

TEST_CASE("an unclear window counts once a quiet one follows, and is forgotten with an alarm") {
  auto health = learner({});
  REQUIRE_FALSE(health.observe(1000, 50, CallWindow::unclear));
  REQUIRE(health.calls() == 0);
  health.observe(1000, 0, CallWindow::quiet);
  REQUIRE(health.calls() == 2000);
  REQUIRE(health.failures() == 50);
  health.observe(1000, 200, CallWindow::unclear);
  health.observe(500, 400, CallWindow::alarm);
  health.observe(1000, 10, CallWindow::quiet);
  REQUIRE(health.calls() == 3000);
  REQUIRE(health.failures() == 60);
  health.forget();
  REQUIRE(health.calls() == 0);
  REQUIRE(health.rate() == health.options().p0_max);
}

TEST_CASE("what is remembered is bounded, and the old fades") {
  auto health = learner({.p1 = 0.2, .memory_calls = 10'000});
  for (int i = 0; i < 100; ++i) health.observe(1000, 50, CallWindow::quiet);
  REQUIRE(health.calls() == Approx(10'000));
  REQUIRE(health.failures() == Approx(500));
  for (int i = 0; i < 100; ++i) health.observe(1000, 5, CallWindow::quiet);
  REQUIRE(health.calls() == Approx(10'000));
  REQUIRE(health.failures() < 51);
  health.observe(std::numeric_limits<std::uint64_t>::max(), 0, CallWindow::quiet);
  REQUIRE(health.calls() == Approx(10'000));
  REQUIRE(health.rate() >= health.options().p0_min);
}

TEST_CASE("no calls, only failures, and more failures than calls change nothing for the worse") {
  auto health = learner({.p1 = 0.2});
  health.observe(0, 0, CallWindow::quiet);
  REQUIRE(health.rate() == 0.1);
  health.observe(10, 10, CallWindow::quiet);
  REQUIRE(health.rate() == 0.1);
  health.observe(10, 1000, CallWindow::quiet);
  REQUIRE(health.failures() == 20);
  REQUIRE(health.rate() == 0.1);
  REQUIRE(health.plan().has_value());
}

TEST_CASE("options that cannot be kept are refused by name") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  REQUIRE(HealthyRate::make({.p1 = 0}).error().is(aura::cusum_errc::bad_rate));
  REQUIRE(HealthyRate::make({.p1 = nan}).error().is(aura::cusum_errc::bad_rate));
  REQUIRE(HealthyRate::make({.p1 = 0.1, .p0_max = 0.1}).error().is(aura::cusum_errc::bad_rate));
  REQUIRE(HealthyRate::make({.p1 = 0.1, .p0_max = 0.01, .p0_min = 0.02}).error().is(aura::cusum_errc::bad_rate));
  REQUIRE(HealthyRate::make({.confidence = 1}).error().message().find("confidence") != std::string_view::npos);
  REQUIRE(HealthyRate::make({.confidence = nan}).error().is(aura::cusum_errc::bad_rate));
  REQUIRE(HealthyRate::make({.memory_calls = 0}).error().is(aura::cusum_errc::bad_interval));
  REQUIRE(HealthyRate::make({.calls_between_alarms = nan}).error().is(aura::cusum_errc::bad_interval));
}
