// The words of the latency estimator: its options, its errors, and how a task can end.
#pragma once

#include <aura/core/time.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace aura {

/// Codes of the domain "estimator".
enum class estimator_errc : std::int32_t {
  bad_options = 1,  ///< (permanent)
  too_many_classes = 2,  ///< over classes_max (permanent)
  too_many_nodes = 3,  ///< over nodes_max (permanent)
  unknown_coverage = 4,  ///< none of those declared at construction (permanent)
  differs = 5,  ///< estimators of other coverages, ranges or half-lives do not merge (permanent)
};
constexpr std::string_view error_domain(estimator_errc) noexcept { return "estimator"; }

struct LatencyEstimatorOptions {
  std::vector<double> coverages{0.99};  ///< for which there are bounds: one to four of (0, 1), each once
  std::uint32_t classes_max = 16;  ///< at the bound a new name is an error; classes_max·nodes_max is at most 2^20
  std::uint32_t nodes_max = 64;
  double half_life = 5000;  ///< of the memory of a pair, in observations of it: 1 to 1e6
  double step = 0.04;  ///< see `CoverageTrackerOptions`
  /// For how many observations of its own counts what a new pair takes over from its class: 0 to 1e4.
  double prior = 50;
  Duration least = std::chrono::microseconds(1);  ///< the range: what is outside counts as its end
  Duration greatest = std::chrono::seconds(1000);
  Duration assumed = std::chrono::seconds(1);  ///< the bound while nothing is known of a class

  friend bool operator==(const LatencyEstimatorOptions&, const LatencyEstimatorOptions&) = default;
};

/// How what is observed came to its end.
enum class LatencyEnd : std::uint8_t {
  completed,
  at_least,  ///< timed out, or given up: it would have taken longer
  /// Rejected, moved away, cancelled for another's sake: how long it ran says nothing of how long it takes. Not
  /// counted; if it were, short runs would look frequent, since the long ones are those that are moved.
  interrupted,
};

namespace detail {

/// Null where nothing is; the rest is checked by the parts that are made of them.
inline const char* what_is_wrong(const LatencyEstimatorOptions& options) {
  constexpr std::size_t coverages_max = 4;
  constexpr std::uint64_t pairs_max = std::uint64_t{1} << 20;
  auto coverages = options.coverages;
  std::sort(coverages.begin(), coverages.end());
  if (coverages.empty() || coverages.size() > coverages_max) return "one to four coverages are kept";
  if (std::adjacent_find(coverages.begin(), coverages.end()) != coverages.end()) return "a coverage is there twice";
  if (options.classes_max == 0 || options.nodes_max == 0 ||
      std::uint64_t{options.classes_max} * options.nodes_max > pairs_max)
    return "classes_max times nodes_max is not from 1 to 2^20";
  if (!(options.prior >= 0 && options.prior <= 1e4)) return "the prior is not from 0 to 1e4 observations";
  if (options.assumed <= Duration::zero()) return "the latency assumed is not above zero";
  return nullptr;
}

}  // namespace detail

}  // namespace aura
