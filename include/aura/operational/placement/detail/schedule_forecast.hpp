// How long a task will take and wait at a node: dispatcher and estimator, as a schedule asks them.
#pragma once

#include <aura/core/result.hpp>
#include <aura/operational/dispatcher.hpp>
#include <aura/operational/latency_estimator.hpp>
#include <aura/operational/placement/detail/schedule_tables.hpp>
#include <aura/operational/placement/schedule_options.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace aura::detail {

/// A latency in nanoseconds that may be beyond all bounds.
inline Duration held_duration(double nanoseconds) noexcept {
  if (!(nanoseconds > 0)) return {};
  return nanoseconds < 0x1p61 ? Duration(static_cast<Duration::rep>(nanoseconds)) : Duration(Duration::rep{1} << 61);
}

/// A task's stay at a node is taken apart into a wait, predicted from what is outstanding there when it is placed, and the
/// rest. The estimator learns the rest, for a task of size 1 at speed 1: so where a stay exceeds wait and bound together,
/// and only there, has the estimator a miss, and the coverage that it keeps is that of the whole.
class ScheduleForecast {
 public:
  static constexpr double usual_coverage = 0.5;

  static Result<ScheduleForecast> make(const ScheduleOptions& options) {
    LatencyEstimatorOptions wanted = options.estimator;
    wanted.coverages = {usual_coverage};
    for (const ScheduleClass& each : options.classes)
      if (std::ranges::find(wanted.coverages, each.sla.percentile) == wanted.coverages.end())
        wanted.coverages.push_back(each.sla.percentile);
    wanted.classes_max = static_cast<std::uint32_t>(std::max<std::size_t>(options.classes.size(), 1));
    wanted.nodes_max = static_cast<std::uint32_t>(options.nodes_max * 4);
    auto estimator = LatencyEstimator::make(std::move(wanted));
    if (!estimator) return estimator.error();
    ScheduleForecast made(options, std::move(*estimator));
    for (std::size_t i = 0; i < options.classes.size(); ++i) {
      const ScheduleClass& each = options.classes[i];
      const auto index = made.estimator_.class_index(each.name.empty() ? "#" + std::to_string(i) : each.name);
      const auto coverage = made.estimator_.coverage_index(each.sla.percentile);
      if (!index) return index.error();
      if (!coverage) return coverage.error();
      made.classes_.push_back({*index, *coverage, static_cast<double>(each.work.count())});
    }
    return made;
  }

  Dispatcher& dispatcher() noexcept { return dispatcher_; }
  const Dispatcher& dispatcher() const noexcept { return dispatcher_; }
  const LatencyEstimator& estimator() const noexcept { return estimator_; }

  Result<std::uint32_t> know(NodeIndex index, const std::string& name) {
    return estimator_.node_index(name.empty() ? "#" + std::to_string(index) : name);
  }

  /// As the dispatcher counts it: in units of the service that it was told to assume.
  double work_of(const ScheduleTaskRow& task) const noexcept {
    return classes_[task.class_index].work * task.size / service_;
  }

  /// What the task takes there at its percentile, once it has its turn.
  Duration bound(const ScheduleTaskRow& task, const ScheduleNodeRow& node) const noexcept {
    return scaled(task, node, classes_[task.class_index].coverage, classes_[task.class_index].work);
  }
  /// Likewise at the median; zero while nothing of its class has ended.
  Duration usual(const ScheduleTaskRow& task, const ScheduleNodeRow& node) const noexcept {
    return scaled(task, node, 0, 0);
  }
  /// What a unit of work takes there, in nanoseconds of a slot.
  double unit(const ScheduleNodeRow& node, NodeIndex at, SteadyTime now) const noexcept {
    const double whole = static_cast<double>(dispatcher_.predicted(at, now, 1).count());
    return whole / std::max(1.0, (node.work + 1) / node.given.slots);
  }
  /// Until a task that comes now has its turn.
  Duration wait(const ScheduleNodeRow& node, NodeIndex at, double work, SteadyTime now) const noexcept {
    const double turns = (node.work + work) / node.given.slots;
    return turns > work ? held_duration(unit(node, at, now) * (turns - work)) : Duration{};
  }

  void learn(const ScheduleTaskRow& task, const ScheduleNodeRow& node, Duration stay, LatencyEnd end) {
    const double rest = static_cast<double>((stay - task.wait).count()) * node.given.speed / task.size;
    estimator_.observe(classes_[task.class_index].index, node.estimator_index,
                       std::max(held_duration(rest), Duration(1)), end);
    ++classes_[task.class_index].observed;
  }

 private:
  struct Class {
    std::uint32_t index = 0, coverage = 0;
    double work = 0;
    std::uint64_t observed = 0;
  };

  ScheduleForecast(const ScheduleOptions& options, LatencyEstimator estimator)
      : estimator_(std::move(estimator)),
        dispatcher_(options.dispatcher),
        service_(static_cast<double>(options.dispatcher.service.count())) {}

  Duration scaled(const ScheduleTaskRow& task, const ScheduleNodeRow& node, std::uint32_t coverage,
                  double otherwise) const noexcept {
    const Class& its = classes_[task.class_index];
    const double known =
        its.observed == 0 ? otherwise
                          : static_cast<double>(estimator_.bound(its.index, node.estimator_index, coverage).count());
    return held_duration(known * task.size / node.given.speed);
  }

  LatencyEstimator estimator_;
  Dispatcher dispatcher_;
  double service_;
  std::vector<Class> classes_;
};

}  // namespace aura::detail
