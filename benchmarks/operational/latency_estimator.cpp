// Whether the estimator's bound holds what it says, and what it costs. Coverage: 400,000 lognormal latencies whose
// scale jumps by the factor 3 up and down every 50,000; in the worst of all windows of 2,000, the first included, the
// share that was at or below the bound as it stood before. A run is a seed. Steady state is the second half of each
// 50,000, and the ratio there is the mean over all its samples, so that the tracker's own unrest counts.
#include "support/bench.hpp"

#include <aura/core/random.hpp>
#include <aura/operational/latency_estimator.hpp>
#include <aura/stats/latency_histogram.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numbers>
#include <string>
#include <utility>
#include <vector>

namespace {

using aura::Duration;

constexpr std::size_t samples = 400'000;
constexpr std::size_t regime = 50'000;
constexpr std::size_t window = 2'000;
constexpr double z99 = 2.3263478740408408;
constexpr double median_ns = 1e7;

/// Standard normal numbers (Box and Muller).
class Normal {
 public:
  explicit Normal(std::uint64_t seed) : dice_(seed) {}
  double operator()() {
    const double radius = std::sqrt(-2 * std::log1p(-dice_.uniform()));
    return radius * std::cos(2 * std::numbers::pi * dice_.uniform());
  }

 private:
  aura::Random dice_;
};

double scale_at(std::size_t i) { return median_ns * (i / regime % 2 == 1 ? 3 : 1); }

struct Quality {
  double worst_window = 1;  // share
  double ratio = 0;  // bound over true p99 in steady state, mean
  double median_ratio = 0;
};

/// `bound()` is asked before each sample, which `observe` then gets.
template <class Bound, class Observe>
Quality judge(std::uint64_t seed, double sigma, Bound bound, Observe observe) {
  Normal normal(seed);
  std::vector<bool> missed(samples);
  std::vector<double> ratios;
  std::size_t in_window = 0, worst = 0;
  for (std::size_t i = 0; i < samples; ++i) {
    const Duration latency(static_cast<std::int64_t>(scale_at(i) * std::exp(sigma * normal())));
    const Duration stated = bound();
    missed[i] = latency > stated;
    in_window += missed[i] ? 1u : 0u;
    if (i >= window) in_window -= missed[i - window] ? 1u : 0u;
    worst = std::max(worst, in_window);
    if (i % regime >= regime / 2)
      ratios.push_back(static_cast<double>(stated.count()) / (scale_at(i) * std::exp(sigma * z99)));
    observe(latency);
  }
  Quality quality{.worst_window = 1 - static_cast<double>(worst) / window};
  for (const double ratio : ratios) quality.ratio += ratio / static_cast<double>(ratios.size());
  quality.median_ratio = aura::bench::median_of(std::move(ratios));
  return quality;
}

aura::LatencyEstimator estimator_of(std::vector<double> coverages, std::uint32_t nodes) {
  auto estimator = *aura::LatencyEstimator::make({.coverages = std::move(coverages)});
  (void)estimator.class_index("class");
  for (std::uint32_t n = 0; n < nodes; ++n) (void)estimator.node_index(fmt::format("node {}", n));
  return estimator;
}

Quality judge_estimator(std::uint64_t seed, double sigma) {
  auto estimator = estimator_of({0.99}, 1);
  return judge(
      seed, sigma, [&] { return estimator.bound(0, 0); },
      [&](Duration latency) { estimator.observe(0, 0, latency); });
}

/// The same sketch with the same memory, its 99% quantile as the bound.
Quality judge_plain(std::uint64_t seed, double sigma) {
  auto sketch = *aura::QuantileSketch::make({.kept = {0.99}});
  return judge(
      seed, sigma, [&] { return Duration(static_cast<std::int64_t>(sketch.kept(0))); },
      [&](Duration latency) { sketch.observe(static_cast<double>(latency.count())); });
}

void coverage(aura::bench::Suite& suite, double sigma, std::uint64_t seeds) {
  const std::string suffix = sigma == 1 ? "" : fmt::format("/sigma_{}", sigma);
  const std::string covered = "scheduler/estimator_coverage/worst_window" + suffix;
  const std::string mean = "scheduler/estimator_steady_ratio/mean" + suffix;
  const std::string median = "scheduler/estimator_steady_ratio/median" + suffix;
  if (!suite.wants(covered) && !suite.wants(mean) && !suite.wants(median)) return;
  std::array<std::vector<double>, 3> ours, plain;
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    for (auto& [figures, quality] :
         {std::pair(&ours, judge_estimator(seed, sigma)), std::pair(&plain, judge_plain(seed, sigma))}) {
      (*figures)[0].push_back(quality.worst_window);
      (*figures)[1].push_back(quality.ratio);
      (*figures)[2].push_back(quality.median_ratio);
    }
  }
  const auto beside = [&](std::size_t i) {
    return std::pair(std::string("plain sketch"), aura::bench::median_of(plain[i]));
  };
  suite.add({.name = covered, .unit = "share", .better = aura::bench::Better::higher}, ours[0], beside(0));
  suite.add({.name = mean, .unit = "x"}, ours[1], beside(1));
  suite.add({.name = median, .unit = "x"}, ours[2], beside(2));
}

constexpr std::size_t latencies_count = 1
                                        << 16;  // a power of two, as all that is taken in turn: no division is timed

std::vector<Duration> latencies(double sigma) {
  Normal normal(1);
  std::vector<Duration> all(latencies_count);
  for (Duration& latency : all) latency = Duration(static_cast<std::int64_t>(median_ns * std::exp(sigma * normal())));
  return all;
}

constexpr std::size_t times = 2'000'000;

/// Over `nodes` pairs in turn, a power of two, all of them warm.
double observe_ns(const std::vector<Duration>& all, std::vector<double> coverages, std::uint32_t nodes) {
  auto estimator = estimator_of(std::move(coverages), nodes);
  const auto feed = [&](std::size_t count) {
    for (std::size_t i = 0; i < count; ++i)
      estimator.observe(0, static_cast<std::uint32_t>(i & (nodes - 1)), all[i % latencies_count]);
  };
  feed(nodes * 1000);
  const double seconds = aura::bench::seconds_of([&] { feed(times); });
  aura::bench::keep(estimator.bound(0, 0));
  return 1e9 / times * seconds;
}

double histogram_ns(const std::vector<Duration>& all) {
  aura::LatencyHistogram histogram;
  const double seconds = aura::bench::seconds_of([&] {
    for (std::size_t i = 0; i < times; ++i) histogram.observe(all[i % latencies_count]);
  });
  aura::bench::keep(histogram.count());
  return 1e9 / times * seconds;
}

double scan_ns(const std::vector<Duration>& all, bool warm) {
  auto estimator = estimator_of({0.99}, 64);
  for (std::size_t i = 0; i < all.size(); ++i)
    estimator.observe(0, static_cast<std::uint32_t>(warm ? i % 64 : 0), all[i]);
  constexpr std::size_t scans = 100'000;
  const double seconds = aura::bench::seconds_of([&] {
    for (std::size_t i = 0; i < scans; ++i) {
      Duration least = Duration::max();
      for (std::uint32_t n = 0; n < 64; ++n) least = std::min(least, estimator.bound(0, n));
      aura::bench::keep(least);
    }
  });
  return 1e9 / scans * seconds;
}

}  // namespace

int main(int argc, char** argv) {
  aura::bench::Suite suite(argc, argv);
  for (const double sigma : {1.0, 0.5, 1.5}) coverage(suite, sigma, suite.quick() ? 5 : 50);
  const std::vector<Duration> all = latencies(1);
  const auto histogram = [&] { return histogram_ns(all); };
  suite.compare(
      {.name = "scheduler/estimator_observe/1", .unit = "ns"}, [&] { return observe_ns(all, {0.99}, 1); },
      "LatencyHistogram observe", histogram);
  suite.compare(
      {.name = "scheduler/estimator_observe/64_nodes", .unit = "ns"}, [&] { return observe_ns(all, {0.99}, 64); },
      "LatencyHistogram observe", histogram);
  suite.compare(
      {.name = "scheduler/estimator_observe/3_coverages", .unit = "ns"},
      [&] {
        return observe_ns(all, {0.5, 0.95, 0.99}, 1);
      },
      "LatencyHistogram observe", histogram);
  suite.measure({.name = "scheduler/estimator_scan/64_warm", .unit = "ns"}, [&] { return scan_ns(all, true); });
  suite.measure({.name = "scheduler/estimator_scan/64_cold", .unit = "ns"}, [&] { return scan_ns(all, false); });
  return suite.finish();
}
