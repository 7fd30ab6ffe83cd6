// The CUSUM's promises against three oracles: a dense linear system, the gambler's ruin, and simulation.
#include "support/catch.hpp"

#include <aura/core/random.hpp>
#include <aura/stats/bernoulli_cusum.hpp>

#include <cmath>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

namespace {

using aura::BernoulliCusum;
using aura::CusumPlan;
using aura::Random;

/// Successes before the next failure.
std::uint64_t gap(Random& dice, double p) {
  return static_cast<std::uint64_t>(std::log1p(-dice.uniform()) / std::log1p(-p));
}

/// Brook and Evans 1972: the average run lengths of all states from one dense system, by elimination with pivots.
double dense_run_length(std::uint32_t rise, std::uint32_t threshold, double p, std::uint32_t start) {
  const std::size_t n = threshold;
  std::vector<std::vector<double>> rows(n, std::vector<double>(n + 1, 0.0));
  for (std::size_t s = 0; s < n; ++s) {
    rows[s][s] += 1;
    rows[s][s == 0 ? 0 : s - 1] -= 1 - p;
    if (s + rise < n) rows[s][s + rise] -= p;
    rows[s][n] = 1;
  }
  for (std::size_t column = 0; column < n; ++column) {
    std::size_t pivot = column;
    for (std::size_t row = column; row < n; ++row) {
      if (std::fabs(rows[row][column]) > std::fabs(rows[pivot][column])) pivot = row;
    }
    std::swap(rows[column], rows[pivot]);
    for (std::size_t row = 0; row < n; ++row) {
      if (row == column || rows[row][column] == 0) continue;
      const double factor = rows[row][column] / rows[column][column];
      for (std::size_t i = column; i <= n; ++i) rows[row][i] -= factor * rows[column][i];
    }
  }
  return rows[start][n] / rows[start][start];
}

/// The average length of `alarms` runs at the failure rate p.
double simulated_run_length(const CusumPlan& plan, double p, int alarms, std::uint64_t seed, bool use_early = true) {
  Random dice(seed);
  BernoulliCusum cusum(plan);
  double calls = 0;
  for (int i = 0; i < alarms; ++i) {
    cusum.restart(use_early ? dice.uniform() : 0);
    for (bool alarm = false; !alarm;) {
      const std::uint64_t successes = gap(dice, p);
      calls += static_cast<double>(successes) + 1;
      alarm = cusum.on_failure(successes);
    }
  }
  return calls / alarms;
}

/// The same for runs too long to simulate: whether an excursion from 0 ends in the alarm is drawn at the failure rate
/// `tilt`, where that is common, and weighed by its likelihood ratio. The rest of a cycle is drawn at p itself.
double tilted_run_length(const CusumPlan& plan, std::uint32_t threshold, double p, double tilt, int cycles,
                         std::uint64_t seed) {
  Random dice(seed);
  double alarms = 0;
  double calls = 0;
  for (int i = 0; i < cycles; ++i) {
    std::uint64_t score = plan.rise;
    double log_ratio = 0;
    while (score < threshold && score > 0) {
      const std::uint64_t successes = gap(dice, tilt);
      const bool ends = successes >= score;
      log_ratio += static_cast<double>(ends ? score : successes) * (std::log1p(-p) - std::log1p(-tilt));
      if (ends) {
        score = 0;
        break;
      }
      score = score - successes + plan.rise;
      log_ratio += std::log(p) - std::log(tilt);
    }
    if (score >= threshold) alarms += std::exp(log_ratio);

    calls += static_cast<double>(gap(dice, p)) + 1;
    score = plan.rise;
    while (score < threshold && score > 0) {
      const std::uint64_t successes = gap(dice, p);
      const bool ends = successes >= score;
      calls += static_cast<double>(ends ? score : successes + 1);
      score = ends ? 0 : score - successes + plan.rise;
    }
  }
  return calls / alarms;
}

}  // namespace

TEST_CASE("a run length is what the dense Markov chain says, at any rate and from any start") {
  for (const std::uint32_t rise : {1u, 2u, 3u, 7u, 20u, 33u}) {
    for (const std::uint32_t threshold : {1u, 2u, 3u, 7u, 19u, 20u, 21u, 40u, 61u, 90u}) {
      for (const double p : {0.001, 0.01, 0.05, 0.3, 0.8}) {
        for (const std::uint32_t start : {0u, 1u, threshold / 2, threshold - 1}) {
          if (start >= threshold) continue;
          const double oracle = dense_run_length(rise, threshold, p, start);
          if (oracle > 1e11) continue;  // elimination in doubles has lost it
          CAPTURE(rise, threshold, p, start);
          CusumPlan plan;
          plan.rise = rise;
          plan.threshold = threshold;
          REQUIRE(aura::cusum_run_length(plan, p, start) == Approx(oracle).epsilon(1e-5));
        }
      }
    }
  }
}

TEST_CASE("the threshold is found by another recursion, and both agree to twelve digits up to 1e10 calls") {
  for (const double p0 : {0.0001, 0.001, 0.01, 0.05}) {
    for (const double factor : {1.5, 2.0, 3.0, 5.0, 10.0}) {
      for (const double asked : {1e6, 8.64e7, 6.048e8, 1e10}) {
        CAPTURE(p0, factor, asked);
        const auto plan = aura::plan_cusum(p0, p0 * factor, asked);
        REQUIRE(plan.has_value());
        REQUIRE(plan->calls_between_alarms == asked);
        REQUIRE(aura::cusum_run_length(*plan, p0) == Approx(asked).epsilon(1e-11));
        // The weights are those of the stated p1, which is near the one asked for.
        REQUIRE(std::log(plan->p1 / p0) / std::log((1 - p0) / (1 - plan->p1)) == Approx(plan->rise));
        REQUIRE(plan->p1 == Approx(p0 * factor).epsilon(0.1));
      }
    }
  }
}

TEST_CASE("where a failure weighs one success it is the gambler's ruin with a floor") {
  const double p = 0.3;
  const double q = 0.7;
  for (const std::uint32_t h : {1u, 2u, 5u, 12u}) {
    CusumPlan plan;
    plan.rise = 1;
    plan.threshold = h;
    // Feller, volume 1, chapter XIV: the time to climb from k to k+1 sums (q/p)^i/p.
    double calls = 0;
    for (std::uint32_t k = 0; k < h; ++k) {
      for (std::uint32_t i = 0; i < k; ++i) calls += std::pow(q / p, i) / p;
      calls += std::pow(q / p, k) / p;
    }
    REQUIRE(aura::cusum_run_length(plan, p) == Approx(calls));
  }
}

TEST_CASE("false alarms are within a fifth of what was asked, once a day and once a week at 1,000 calls a second") {
  for (const double p0 : {0.001, 0.01, 0.05}) {
    for (const double factor : {3.0, 5.0, 10.0}) {
      for (const double asked : {8.64e7, 6.048e8}) {
        CAPTURE(p0, factor, asked);
        const auto plan = aura::plan_cusum(p0, p0 * factor, asked);
        REQUIRE(plan.has_value());
        const int cycles = 20'000;
        const double late = tilted_run_length(*plan, plan->threshold, p0, plan->p1, cycles, 1);
        const double soon = tilted_run_length(*plan, plan->threshold - 1, p0, plan->p1, cycles, 2);
        const double simulated = plan->early * soon + (1 - plan->early) * late;
        REQUIRE(simulated / asked > 1 / 1.2);
        REQUIRE(simulated / asked < 1.2);
      }
    }
  }
}

TEST_CASE("false alarms are as many as asked in a plain simulation of every failure") {
  for (const auto& [p0, p1, asked] :
       {std::tuple{0.001, 0.01, 2e6}, std::tuple{0.01, 0.03, 1e5}, std::tuple{0.05, 0.15, 3e4},
        std::tuple{0.05, 0.5, 2.5e4}, std::tuple{0.2, 0.4, 1e4}}) {
    CAPTURE(p0, p1);
    const auto plan = aura::plan_cusum(p0, p1, asked);
    REQUIRE(plan.has_value());
    const int alarms = 600;  // standard error 4%
    REQUIRE(simulated_run_length(*plan, p0, alarms, 3) == Approx(asked).epsilon(0.16));
    // Without the draw at a restart they are fewer, never more.
    const double longer = simulated_run_length(*plan, p0, alarms, 4, false);
    REQUIRE(longer > asked * 0.84);
    REQUIRE(longer < asked * (1 - p0) / (1 - plan->p1) * 1.16);
  }
}

TEST_CASE("a rate of p1 is found within the predicted delay") {
  for (const double p0 : {0.001, 0.01, 0.05}) {
    for (const double factor : {3.0, 10.0}) {
      CAPTURE(p0, factor);
      const auto plan = aura::plan_cusum(p0, p0 * factor, 8.64e7);
      REQUIRE(plan.has_value());
      const double predicted = aura::cusum_detection_delay(*plan);
      REQUIRE(simulated_run_length(*plan, plan->p1, 4000, 5, true) == Approx(predicted).epsilon(0.05));
      REQUIRE(aura::cusum_run_length(*plan, plan->p1, plan->threshold / 2) < predicted);
      REQUIRE(aura::cusum_run_length(*plan, 2 * plan->p1) < predicted);
      // No test with so few false alarms is much quicker: Lorden's bound, ln(calls between)/KL(p1, p0).
      const double p1 = plan->p1;
      const double information = p1 * std::log(p1 / p0) + (1 - p1) * std::log((1 - p1) / (1 - p0));
      REQUIRE(predicted < 1.1 * std::log(8.64e7) / information);
    }
  }
}

TEST_CASE("successes that are only counted weigh as much as successes that are reported") {
  const auto plan = aura::plan_cusum(0.01, 0.05, 1e5);
  REQUIRE(plan.has_value());
  BernoulliCusum cusum(*plan);
  std::int64_t score = 0;
  std::uint64_t successes = 0;
  Random dice(7);
  int alarms = 0;
  for (int call = 0; call < 1'000'000; ++call) {
    if (!dice.chance(0.03)) {
      score = score > 0 ? score - 1 : 0;
      ++successes;
      REQUIRE(cusum.score(successes) == static_cast<std::uint64_t>(score));
      continue;
    }
    score += plan->rise;
    const bool alarm = cusum.on_failure(std::exchange(successes, 0));
    REQUIRE(alarm == (score >= plan->threshold));
    REQUIRE(cusum.score(0) == static_cast<std::uint64_t>(score));
    if (!alarm) continue;
    ++alarms;
    score = 0;
    cusum.restart();
  }
  REQUIRE(alarms > 10);
}

TEST_CASE("the numbers of failures and successes have no end at which the score breaks") {
  const auto plan = aura::plan_cusum(0.01, 0.05, 1e5);
  REQUIRE(plan.has_value());
  BernoulliCusum cusum(*plan);
  REQUIRE_FALSE(cusum.on_failure(std::numeric_limits<std::uint64_t>::max()));
  REQUIRE(cusum.score(0) == plan->rise);
  REQUIRE(cusum.score(std::numeric_limits<std::uint64_t>::max()) == 0);
  for (int i = 0; i < 1000; ++i) (void)cusum.on_failure(0);
  REQUIRE(cusum.score(0) == 1001u * plan->rise);
  REQUIRE(cusum.level(0) > 1);
  cusum.adopt(*plan);
  REQUIRE(cusum.level(0) == 0);
}

TEST_CASE("an impossible order is refused and says what is wrong with it") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const double inf = std::numeric_limits<double>::infinity();
  for (const double bad : {0.0, 1.0, -0.1, 1.5, nan, inf}) {
    const auto p0 = aura::plan_cusum(bad, 0.5, 1e6);
    REQUIRE(p0.has_error());
    REQUIRE(p0.error().is(aura::cusum_errc::bad_rate));
    REQUIRE(p0.error().message().find("p0") != std::string_view::npos);
    const auto p1 = aura::plan_cusum(0.01, bad, 1e6);
    REQUIRE(p1.has_error());
    REQUIRE(p1.error().is(aura::cusum_errc::bad_rate));
    REQUIRE(p1.error().message().find("p1") != std::string_view::npos);
  }
  REQUIRE(aura::plan_cusum(0.05, 0.05, 1e6).error().is(aura::cusum_errc::bad_rate));
  REQUIRE(aura::plan_cusum(0.05, 0.01, 1e6).error().is(aura::cusum_errc::bad_rate));
  for (const double bad : {0.0, -1.0, 1e13, nan, inf}) {
    REQUIRE(aura::plan_cusum(0.01, 0.05, bad).error().is(aura::cusum_errc::bad_interval));
  }
  REQUIRE(aura::plan_cusum(0.2, 0.21, 1e6).error().is(aura::cusum_errc::no_lattice));
  REQUIRE(aura::plan_cusum(0.6, 0.9, 1e6).error().is(aura::cusum_errc::no_lattice));
  REQUIRE(aura::plan_cusum(0.333, 0.499, 1e6).error().is(aura::cusum_errc::no_lattice));
  REQUIRE(aura::plan_cusum(1e-9, 1e-8, 1e12).error().is(aura::cusum_errc::too_long));
  REQUIRE(aura::plan_cusum(0.00001, 0.000011, 1e12).error().is(aura::cusum_errc::too_long));
}

TEST_CASE("fewer calls than a failure takes alarm at the first failure") {
  const auto plan = aura::plan_cusum(0.01, 0.05, 10);
  REQUIRE(plan.has_value());
  REQUIRE(plan->calls_between_alarms == Approx(100));
  BernoulliCusum cusum(*plan);
  REQUIRE(cusum.on_failure(1'000'000));
}
