// The histogram against the sorted samples themselves.
#include "support/catch.hpp"

#include <aura/core/random.hpp>
#include <aura/stats/latency_histogram.hpp>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <vector>

namespace {

using aura::Duration;

}  // namespace

TEST_CASE("a quantile is within a sixteenth of the sample of that rank") {
  aura::Random dice(1);
  for (int round = 0; round < 200; ++round) {
    aura::LatencyHistogram histogram;
    std::vector<std::int64_t> samples(1 + dice.below(300));
    for (auto& sample : samples) {
      sample = static_cast<std::int64_t>(std::pow(2.0, dice.uniform() * (round % 2 ? 40 : 6)));
      histogram.observe(Duration(sample));
    }
    std::sort(samples.begin(), samples.end());
    REQUIRE(histogram.count() == samples.size());
    for (const double q : {0.0, 0.01, 0.25, 0.5, 0.9, 0.95, 0.99, 0.999, 1.0}) {
      const auto rank = static_cast<std::size_t>(std::ceil(q * static_cast<double>(samples.size())));  // nearest rank
      const std::int64_t exact = samples[rank == 0 ? 0 : rank - 1];
      REQUIRE(std::llabs(histogram.quantile(q).count() - exact) * 16 <= exact);
    }
  }
}

TEST_CASE("the ends of the scale: nothing, zero, what is negative, and the largest") {
  aura::LatencyHistogram histogram;
  REQUIRE(histogram.quantile(0.5) == Duration::zero());
  histogram.observe(Duration(-5));
  REQUIRE(histogram.quantile(0.5) == Duration::zero());
  histogram.observe(Duration::max());
  const double most = static_cast<double>(Duration::max().count());
  REQUIRE(static_cast<double>(histogram.quantile(1).count()) > most * 15 / 16);
  REQUIRE(histogram.quantile(-3) == Duration::zero());
  REQUIRE(histogram.quantile(7) == histogram.quantile(1));
}
