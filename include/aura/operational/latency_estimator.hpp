// What a task of some class will take on some node: a bound that holds in the stated share of cases.
#pragma once

#include <aura/core/error.hpp>
#include <aura/core/result.hpp>
#include <aura/core/time.hpp>
#include <aura/operational/latency_estimator_options.hpp>
#include <aura/operational/latency_pair.hpp>
#include <aura/stats/coverage_tracker.hpp>
#include <aura/stats/quantile_sketch.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace aura {

/// For each (task class, node) a quantile sketch times a coverage tracker, for each coverage: U = q·e^theta. So "99%"
/// is the share of values at or below their bound in the long run also where the regime changes; see `CoverageTracker`
/// for what precisely is promised. In windows right after a slowdown it is less: the benchmark has figures.
///
/// The sketch remembers thousands of observations, and the tracker takes small steps, so that the bound is not much
/// over what it need be while nothing changes. That would be slow where all changes: a `ShiftWatch` lets the sketch's
/// past count for 32 observations as soon as latencies have moved as a whole.
///
/// Cold start. Each class has a pool: the sketch of all its latencies divided by the speed factor of their node. The
/// factor f(n) = e^b(n) is a fit of the fading means m(c,n) of the logarithms, by turns:
///
///     b(n) = Σ_c w·(m(c,n) − a(c)) / (Σ_c w + 20),   a(c) = Σ_n w·(m(c,n) − b(n)) / Σ_n w,   w = min(observations, 200)
///
/// so a node is known by what it did to other classes, and its factor is drawn to 1 while little is known. A pair
/// without an observation has the bound q_pool(c)·f(n). At its first, its sketch is filled with the pool times f(n),
/// weighing `prior` observations P; after n of its own the estimate is the quantile of (P·2^(−n/h)·F_pool(y/f) + Σ
/// own)/(P·2^(−n/h) + own weight): it moves to its own at the rate at which evidence comes.
///
/// A pair's first 64 observations go to the pool, then each eighth. A pair takes 5 KiB from its first observation on,
/// when it allocates; a class takes the same. Observing is O(1), some 20 ns; a bound is a load. Not shared between
/// threads: the host serialises it, on the strand of the scheduler it serves.
class LatencyEstimator {
 public:
  /// estimator_errc::bad_options.
  static Result<LatencyEstimator> make(LatencyEstimatorOptions options) {
    if (const char* wrong = detail::what_is_wrong(options)) return bad(wrong);
    std::vector<CoverageTracker> trackers;
    for (const double coverage : options.coverages) {
      auto tracker = CoverageTracker::make({.coverage = coverage, .step = options.step});
      if (!tracker) return bad(tracker.error().message());
      trackers.push_back(*tracker);
    }
    auto sketch = QuantileSketch::make({.least = static_cast<double>(options.least.count()),
                                        .greatest = static_cast<double>(options.greatest.count()),
                                        .half_life = options.half_life,
                                        .kept = options.coverages});
    if (!sketch) return bad(sketch.error().message());
    return LatencyEstimator(std::move(options), LatencyPair{std::move(*sketch), std::move(trackers)});
  }

  /// The index of a class or node by name, which is new where it was not known; they count up from 0.
  /// estimator_errc::too_many_classes and too_many_nodes. Off the hot path: it searches and may allocate.
  Result<std::uint32_t> class_index(std::string_view name) {
    if (const auto known = find(classes_, name)) return *known;
    if (classes_.size() == options_.classes_max)
      return full(estimator_errc::too_many_classes, "class", name, options_.classes_max);
    classes_.push_back({.name = std::string(name), .pool = empty_.sketch});
    return static_cast<std::uint32_t>(classes_.size() - 1);
  }
  Result<std::uint32_t> node_index(std::string_view name) {
    if (const auto known = find(nodes_, name)) return *known;
    if (nodes_.size() == options_.nodes_max)
      return full(estimator_errc::too_many_nodes, "node", name, options_.nodes_max);
    nodes_.push_back({.name = std::string(name)});
    return static_cast<std::uint32_t>(nodes_.size() - 1);
  }
  /// estimator_errc::unknown_coverage.
  Result<std::uint32_t> coverage_index(double coverage) const {
    const auto found = std::find(options_.coverages.begin(), options_.coverages.end(), coverage);
    if (found != options_.coverages.end()) return static_cast<std::uint32_t>(found - options_.coverages.begin());
    return Error{estimator_errc::unknown_coverage, ErrorClass::permanent,
                 "no bounds are kept for the coverage " + std::to_string(coverage)};
  }

  /// A value that is at or above the latency in the share `coverage` of cases. Indices that were handed out only. 1 ns,
  /// for a pair without an observation 3 ns.
  Duration bound(std::uint32_t class_index, std::uint32_t node_index, std::uint32_t coverage = 0) const noexcept {
    const Duration learned = bounds_[bound_at(class_index, node_index, coverage)];
    return learned != Duration::zero() ? learned : cold_bound(class_index, node_index, coverage);
  }

  void observe(std::uint32_t class_index, std::uint32_t node_index, Duration latency) {
    LatencyPair& pair = opened(class_index, node_index);
    Duration* const bounds = &bounds_[bound_at(class_index, node_index, 0)];
    for (std::size_t k = 0; k < pair.trackers.size(); ++k)
      pair.trackers[k].observe(latency > bounds[k * options_.nodes_max]);
    const std::size_t bucket = pair.sketch.bucket_of(nanoseconds(latency));
    pair.sketch.observe_bucket(bucket);
    if (const ShiftNews news = pair.watch.observe(bucket); news != ShiftNews::none) heed(news, pair);
    publish(class_index, node_index, pair);
    if (share(pair, bucket)) classes_[class_index].pool.observe_bucket(normal(bucket, node_index));
    fit_in_time();
  }

  /// A task that had run so long when it was given up. Timeouts are rare, so it may cost O(buckets), some µs. Where
  /// `latency` is over the bound it is a miss; below, it is one with the probability that the sketch gives it.
  void observe_at_least(std::uint32_t class_index, std::uint32_t node_index, Duration latency) {
    LatencyPair& pair = opened(class_index, node_index);
    const Duration* const bounds = &bounds_[bound_at(class_index, node_index, 0)];
    const double above = pair.sketch.share_above(nanoseconds(latency));
    for (std::size_t k = 0; k < pair.trackers.size(); ++k) {
      const double tail = 1 - options_.coverages[k];
      const bool missed = latency > bounds[k * options_.nodes_max] || above <= tail;
      pair.trackers[k].observe_probable_miss(missed ? 1 : tail / above);
    }
    const std::size_t bucket = pair.sketch.bucket_of(nanoseconds(latency));
    pair.sketch.observe_above_bucket(bucket);
    publish(class_index, node_index, pair);
    if (share(pair, bucket)) classes_[class_index].pool.observe_above_bucket(normal(bucket, node_index));
    fit_in_time();
  }

  void observe(std::uint32_t class_index, std::uint32_t node_index, Duration latency, LatencyEnd end) {
    if (end == LatencyEnd::completed) observe(class_index, node_index, latency);
    if (end == LatencyEnd::at_least) observe_at_least(class_index, node_index, latency);
  }

  /// Of how many observations of its own a pair's bound is; they fade with the half-life.
  std::uint64_t observations(std::uint32_t class_index, std::uint32_t node_index) const noexcept {
    const auto& pair = pairs_[pair_at(class_index, node_index)];
    return pair ? pair->observations : 0;
  }
  /// How many times as long as usual tasks take on the node: 2 is half the speed.
  double slowness(std::uint32_t node_index) const noexcept { return nodes_[node_index].factor; }

  /// As if what `other` observed had been observed here too: sketches add, the rest is weighed by observations. What
  /// both have in common by an earlier merge counts twice. Classes and nodes go by name. Errors, after which nothing
  /// has changed: too_many_classes, too_many_nodes, differs.
  Result<void> merge(const LatencyEstimator& other) {
    if (!adds_to(other)) return differing();
    if (const auto name = first_over(classes_, other.classes_, options_.classes_max))
      return full(estimator_errc::too_many_classes, "class", *name, options_.classes_max);
    if (const auto name = first_over(nodes_, other.nodes_, options_.nodes_max))
      return full(estimator_errc::too_many_nodes, "node", *name, options_.nodes_max);
    for (std::uint32_t c = 0; c < other.classes(); ++c) {
      const std::uint32_t here = *class_index(other.class_name(c));
      (void)merge_pool(here, other.pool(c));
      for (std::uint32_t n = 0; n < other.nodes(); ++n)
        if (const LatencyPair* pair = other.pair(c, n))
          (void)merge_pair(here, *node_index(other.node_name(n)), *pair);
    }
    refit();
    return {};
  }

  const LatencyEstimatorOptions& options() const noexcept { return options_; }
  std::size_t classes() const noexcept { return classes_.size(); }
  std::size_t nodes() const noexcept { return nodes_.size(); }
  std::string_view class_name(std::uint32_t class_index) const noexcept { return classes_[class_index].name; }
  std::string_view node_name(std::uint32_t node_index) const noexcept { return nodes_[node_index].name; }

  /// For who writes an estimator down, and reads it back with `merge_pool`, `merge_pair` and one `refit` at the end: a
  /// class's pool, and a pair, null where nothing was observed. Error: differs.
  const QuantileSketch& pool(std::uint32_t class_index) const noexcept { return classes_[class_index].pool; }
  const LatencyPair* pair(std::uint32_t class_index, std::uint32_t node_index) const noexcept {
    return pairs_[pair_at(class_index, node_index)].get();
  }
  Result<void> merge_pool(std::uint32_t class_index, const QuantileSketch& pool) {
    if (auto added = classes_[class_index].pool.merge(pool); !added) return differing();
    return {};
  }
  Result<void> merge_pair(std::uint32_t class_index, std::uint32_t node_index, const LatencyPair& from) {
    if (from.trackers.size() != options_.coverages.size()) return differing();
    auto& pair = pairs_[pair_at(class_index, node_index)];
    auto merged = std::make_unique<LatencyPair>(pair ? *pair : empty_);
    if (auto added = merged->merge(from); !added) return differing();
    pair = std::move(merged);
    publish(class_index, node_index, *pair);
    return {};
  }
  void refit() noexcept {
    for (int turn = 0; turn < 16; ++turn) fit();
  }

 private:
  struct Class {
    std::string name;
    QuantileSketch pool;
    double level = 0;  // a(c), in buckets
  };
  struct Node {
    std::string name;
    double offset = 0;  // b(n), in buckets
    double factor = 1;
  };
  static constexpr double full_weight = 200;  // of a pair, in the fit
  static constexpr double ridge = 20;
  static constexpr std::uint64_t level_memory = 128;
  static constexpr double kept_at_shift = 32;  // observations

  LatencyEstimator(LatencyEstimatorOptions options, LatencyPair empty)
      : options_(std::move(options)),
        empty_(std::move(empty)),
        pairs_(std::size_t{options_.classes_max} * options_.nodes_max),
        bounds_(pairs_.size() * options_.coverages.size()) {}

  template <class Named>
  static std::optional<std::uint32_t> find(const std::vector<Named>& all, std::string_view name) noexcept {
    for (std::size_t i = 0; i < all.size(); ++i)
      if (all[i].name == name) return static_cast<std::uint32_t>(i);
    return std::nullopt;
  }
  /// The first name of `more` for which there is no place beside `all`.
  template <class Named>
  static std::optional<std::string> first_over(const std::vector<Named>& all, const std::vector<Named>& more,
                                               std::size_t max) {
    std::size_t count = all.size();
    for (const Named& one : more)
      if (!find(all, one.name) && ++count > max) return one.name;
    return std::nullopt;
  }
  static Error bad(std::string_view what) {
    return Error{estimator_errc::bad_options, ErrorClass::permanent,
                 std::string("a latency estimator: ").append(what)};
  }
  static Error full(estimator_errc code, std::string_view what, std::string_view name, std::uint32_t max) {
    std::string text("no place for the ");
    text.append(what).append(" ").append(name).append(": there are ").append(std::to_string(max)).append(" already");
    return Error{code, ErrorClass::permanent, std::move(text)};
  }
  static Error differing() {
    return Error::fixed(estimator_errc::differs, ErrorClass::permanent,
                        "two latency estimators differ in coverages, range or half-life");
  }
  bool adds_to(const LatencyEstimator& other) const noexcept {
    return options_.coverages == other.options_.coverages && options_.least == other.options_.least &&
           options_.greatest == other.options_.greatest && options_.half_life == other.options_.half_life;
  }

  std::size_t pair_at(std::uint32_t class_index, std::uint32_t node_index) const noexcept {
    return std::size_t{class_index} * options_.nodes_max + node_index;
  }
  /// The nodes of a class and coverage lie side by side: a scheduler scans them.
  std::size_t bound_at(std::uint32_t class_index, std::uint32_t node_index, std::size_t coverage) const noexcept {
    return (class_index * options_.coverages.size() + coverage) * options_.nodes_max + node_index;
  }

  static double nanoseconds(Duration latency) noexcept { return static_cast<double>(latency.count()); }
  static Duration duration(double nanoseconds) noexcept {
    return Duration(static_cast<Duration::rep>(std::clamp(nanoseconds, 1.0, 9e18)));
  }

  Duration cold_bound(std::uint32_t class_index, std::uint32_t node_index, std::size_t coverage) const noexcept {
    const double pooled = classes_[class_index].pool.kept(coverage);
    return duration((pooled > 0 ? pooled : nanoseconds(options_.assumed)) * nodes_[node_index].factor);
  }

  LatencyPair& opened(std::uint32_t class_index, std::uint32_t node_index) {
    auto& pair = pairs_[pair_at(class_index, node_index)];
    if (!pair) open(class_index, node_index, pair);
    return *pair;
  }
  void open(std::uint32_t class_index, std::uint32_t node_index, std::unique_ptr<LatencyPair>& pair) {
    pair = std::make_unique<LatencyPair>(empty_);
    const QuantileSketch& pool = classes_[class_index].pool;
    pair->sketch.borrow(pool, std::min(options_.prior, pool.weight()), nodes_[node_index].factor);
    for (std::uint32_t k = 0; k < options_.coverages.size(); ++k)
      bounds_[bound_at(class_index, node_index, k)] = cold_bound(class_index, node_index, k);
  }

  static void heed(ShiftNews news, LatencyPair& pair) noexcept {
    if (news == ShiftNews::shifted) pair.sketch.fade_to(kept_at_shift);
    if (news == ShiftNews::marks_due) pair.watch.set_marks(pair.sketch.bucket_at(0.2), pair.sketch.bucket_at(0.8));
  }

  void publish(std::uint32_t class_index, std::uint32_t node_index, const LatencyPair& pair) noexcept {
    for (std::size_t k = 0; k < pair.trackers.size(); ++k)
      bounds_[bound_at(class_index, node_index, k)] = duration(pair.sketch.kept(k) * pair.trackers[k].factor());
  }

  /// Counts an observation. True where it is one of those that classes and nodes are known by.
  static bool share(LatencyPair& pair, std::size_t bucket) noexcept {
    if (++pair.observations > 64 && pair.observations % 8 != 0) return false;
    pair.level +=
        (static_cast<double>(bucket) - pair.level) / static_cast<double>(std::min(pair.observations, level_memory));
    return true;
  }
  /// The bucket that it would have been in on a node of factor 1.
  std::size_t normal(std::size_t bucket, std::uint32_t node_index) const noexcept {
    const double place = static_cast<double>(bucket) - nodes_[node_index].offset + 0.5;
    return static_cast<std::size_t>(std::clamp(place, 0.0, static_cast<double>(empty_.sketch.buckets() - 1)));
  }

  void fit_in_time() noexcept {
    if (--until_fit_ > 0) return;
    fit();
    between_fits_ =
        std::min(2 * between_fits_, std::max<std::int64_t>(1024, 16 * std::ssize(classes_) * std::ssize(nodes_)));
    until_fit_ = between_fits_;
  }

  /// One turn: the levels of the classes with the nodes as they are, then the nodes. Later turns go on from there.
  void fit() noexcept {
    for (std::uint32_t c = 0; c < classes_.size(); ++c) classes_[c].level = fitted_level(c);
    for (std::uint32_t n = 0; n < nodes_.size(); ++n) {
      nodes_[n].offset = fitted_offset(n);
      nodes_[n].factor = empty_.sketch.factor_of_buckets(nodes_[n].offset);
    }
  }
  static double weight_in_fit(const LatencyPair& pair) noexcept {
    return std::min(static_cast<double>(pair.observations), full_weight);
  }
  double fitted_level(std::uint32_t class_index) const noexcept {
    double sum = 0, weights = 0;
    for (std::uint32_t n = 0; n < nodes_.size(); ++n) {
      const LatencyPair* known = pair(class_index, n);
      if (!known) continue;
      sum += weight_in_fit(*known) * (known->level - nodes_[n].offset);
      weights += weight_in_fit(*known);
    }
    return weights > 0 ? sum / weights : 0;
  }
  double fitted_offset(std::uint32_t node_index) const noexcept {
    double sum = 0, weights = 0;
    for (std::uint32_t c = 0; c < classes_.size(); ++c) {
      const LatencyPair* known = pair(c, node_index);
      if (!known) continue;
      sum += weight_in_fit(*known) * (known->level - classes_[c].level);
      weights += weight_in_fit(*known);
    }
    return sum / (weights + ridge);
  }

  LatencyEstimatorOptions options_;
  LatencyPair empty_;  // what a pair begins as
  std::vector<Class> classes_;
  std::vector<Node> nodes_;
  std::vector<std::unique_ptr<LatencyPair>> pairs_;
  std::vector<Duration> bounds_;  // zero where nothing was observed
  std::int64_t between_fits_ = 16;
  std::int64_t until_fit_ = 16;
};

}  // namespace aura
