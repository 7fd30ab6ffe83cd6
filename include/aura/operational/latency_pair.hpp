// What is learned of the latencies of one class of tasks on one node.
#pragma once

#include <aura/core/result.hpp>
#include <aura/stats/coverage_tracker.hpp>
#include <aura/stats/quantile_sketch.hpp>
#include <aura/stats/shift_watch.hpp>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace aura {

/// The state of a pair in the open: what is merged, written and read back.
struct LatencyPair {
  QuantileSketch sketch;
  std::vector<CoverageTracker> trackers;  ///< one for each coverage
  double level = 0;  ///< a fading mean of the logarithm of the latency, in buckets of the sketch
  std::uint64_t observations = 0;  ///< of its own
  ShiftWatch watch{};              ///< begins anew after a merge or a restart

  /// As `QuantileSketch::merge`; the rest is weighed by observations.
  Result<void> merge(const LatencyPair& other) {
    if (auto merged = sketch.merge(other.sketch); !merged) return merged;
    const auto all = static_cast<double>(observations + other.observations);
    const double share = all > 0 ? static_cast<double>(other.observations) / all : 0;
    level += share * (other.level - level);
    for (std::size_t k = 0; k < trackers.size(); ++k)
      trackers[k].set_theta(trackers[k].theta() + share * (other.trackers[k].theta() - trackers[k].theta()));
    observations += other.observations;
    watch = {};
    return {};
  }
};

}  // namespace aura
