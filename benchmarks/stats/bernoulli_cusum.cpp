// What the CUSUM costs and whether it keeps its promise: false alarms over simulated weeks of healthy traffic at 1,000
// calls a second, one a day asked for, with the healthy rate known and learned.
#include "support/bench.hpp"

#include <aura/core/random.hpp>
#include <aura/stats/bernoulli_cusum.hpp>
#include <aura/stats/healthy_rate.hpp>

#include <fmt/format.h>

#include <cmath>
#include <cstdint>
#include <vector>

namespace {

constexpr double day = 8.64e7;
constexpr std::uint64_t week = 604'800'000;

/// Successes before the next failure: a log a failure, which is nearly all that the simulation costs.
class Gaps {
 public:
  Gaps(std::uint64_t seed, double p) : dice(seed), scale_(1 / std::log1p(-p)) {}
  std::uint64_t operator()() { return static_cast<std::uint64_t>(std::log1p(-dice.uniform()) * scale_); }
  aura::Random dice;

 private:
  double scale_;
};

double alarms_known(double p0, double p1, std::uint64_t seed) {
  Gaps gaps(seed, p0);
  aura::BernoulliCusum cusum(*aura::plan_cusum(p0, p1, day));
  cusum.restart(gaps.dice.uniform());
  double alarms = 0;
  for (std::uint64_t call = 0; call < week;) {
    const std::uint64_t successes = gaps();
    call += successes + 1;
    if (!cusum.on_failure(successes)) continue;
    ++alarms;
    cusum.restart(gaps.dice.uniform());
  }
  return alarms;
}

/// Windows of ten seconds; nothing is known at the beginning of the week but that p0 is at most p1/2.
double alarms_learned(double p0, double p1, std::uint64_t seed) {
  constexpr std::uint64_t window = 10'000;
  Gaps gaps(seed, p0);
  auto health = *aura::HealthyRate::make({.p1 = p1, .calls_between_alarms = day});
  aura::BernoulliCusum cusum(*health.plan());
  std::uint64_t successes = 0;
  double alarms = 0;
  for (std::uint64_t begin = 0; begin < week; begin += window) {
    std::uint64_t failures = 0;
    bool alarmed = false;
    for (std::uint64_t call = 0;;) {
      const std::uint64_t next = gaps();
      if (call + next >= window) {  // a geometric gap has no memory: what is cut off is drawn anew
        successes += window - call;
        break;
      }
      call += next + 1;
      ++failures;
      const bool alarm = cusum.on_failure(successes + next);
      successes = 0;
      if (!alarm) continue;
      alarmed = true;
      ++alarms;
      cusum.restart(gaps.dice.uniform());
    }
    const bool quiet = cusum.score(successes) == 0;
    health.observe(window, failures,
                   alarmed ? aura::CallWindow::alarm
                   : quiet ? aura::CallWindow::quiet
                           : aura::CallWindow::unclear);
    if (quiet && health.rate() != cusum.plan().p0) cusum.adopt(*health.plan(), gaps.dice.uniform());
  }
  return alarms;
}

/// The mean over the weeks, since a week's seven alarms vary by 2.6. `learned` in the row's name: p0 is not told.
void false_alarms(aura::bench::Suite& suite, double p0, int weeks) {
  const double p1 = 3 * p0;
  for (const bool learned : {false, true}) {
    const std::string name =
        fmt::format("stats/cusum_false_alarms_per_week/{}/{}%", learned ? "learned" : "known", p0 * 100);
    if (!suite.wants(name)) continue;
    double alarms = 0;
    for (int i = 1; i <= weeks; ++i) {
      const auto seed = static_cast<std::uint64_t>(i);
      alarms += learned ? alarms_learned(p0, p1, seed) : alarms_known(p0, p1, seed);
    }
    suite.add({.name = name, .unit = "alarms"}, {alarms / weeks}, std::pair{std::string("asked for"), 7.0});
  }
}

double plan_us(double p0, double p1) {
  constexpr int times = 200;
  return 1e6 / times * aura::bench::seconds_of([&] {
           for (int i = 0; i < times; ++i) aura::bench::keep(aura::plan_cusum(p0, p1, day)->threshold);
         });
}

double failure_ns() {
  constexpr int times = 10'000'000;
  aura::BernoulliCusum cusum(*aura::plan_cusum(0.01, 0.03, day));
  return 1e9 / times * aura::bench::seconds_of([&] {
           for (std::uint64_t i = 0; i < times; ++i) aura::bench::keep(cusum.on_failure(60 + (i & 63)));
         });
}

}  // namespace

int main(int argc, char** argv) {
  aura::bench::Suite suite(argc, argv);
  suite.measure({.name = "stats/cusum_failure", .unit = "ns"}, failure_ns);
  for (const double p0 : {0.001, 0.01, 0.05}) {
    suite.measure({.name = fmt::format("stats/cusum_plan/{}%", p0 * 100), .unit = "us"},
                  [=] { return plan_us(p0, 3 * p0); });
  }
  const int weeks = suite.quick() ? 4 : 40;
  false_alarms(suite, 0.001, weeks);
  false_alarms(suite, 0.01, weeks);
  false_alarms(suite, 0.05, suite.quick() ? 1 : weeks / 2);
  return suite.finish();
}
