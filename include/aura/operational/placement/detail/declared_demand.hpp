// Classes that declared how fast they arrive at worst: where they are at home, and whether they keep to it.
#pragma once

#include <aura/core/result.hpp>
#include <aura/operational/demand_bound.hpp>
#include <aura/operational/placement/error.hpp>
#include <aura/operational/placement/schedule_options.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <vector>

namespace aura::detail {

/// Every declared class is given one node, or as many as it has ways, such that the processor-demand test holds on each; its
/// tasks are dealt to these in turn. A node of several slots counts as one server: with more of them, what is due by some
/// time is served at least as fast.
class DeclaredDemand {
 public:
  explicit DeclaredDemand(const ScheduleOptions& options)
      : options_(options.classes), classes_(options.classes.size()) {}

  bool is_declared(std::uint32_t class_index) const noexcept { return options_[class_index].arrivals.has_value(); }
  /// Whether any class is.
  bool any() const noexcept {
    return std::ranges::any_of(options_, [](const ScheduleClass& each) { return each.arrivals.has_value(); });
  }

  /// When the nodes have changed: their speeds, 0 for one that takes nothing. The classes are given homes in their order,
  /// each where it is still possible. Linear in nodes and tests.
  void settle(std::span<const double> speeds) {
    std::vector<std::uint32_t> permille;
    for (const double speed : speeds)  // rounded down: what is promised must hold
      permille.push_back(static_cast<std::uint32_t>(std::floor(std::min(speed, 1e6) * 1000)));
    DemandPartition partition(permille, {.unpreemptible = Duration::max()});
    for (std::size_t i = 0; i < classes_.size(); ++i)
      if (options_[i].arrivals) settle(i, partition);
  }

  /// The home of a class's next task, or why it has none: demand over capacity, or faster than it was declared.
  Result<NodeIndex> home(std::uint32_t class_index, SteadyTime now) const {
    const Class& its = classes_[class_index];
    const ArrivalModel& model = *options_[class_index].arrivals;
    if (its.refusal) return *its.refusal;
    if (its.homes.empty())
      return Error::fixed(demand_errc::over_capacity, ErrorClass::rejected, "demand over capacity: there is no node");
    const Duration early = std::max(its.due, now) - now;
    const Duration allowed = Duration(DemandTest::times(model.period.count(), model.burst - 1));
    if (early > allowed)
      return Error::fixed(placement_errc::refused, ErrorClass::rejected,
                          "its class sends faster than it was declared to")
          .with_retry_after(early - allowed);
    return its.homes[its.turn % its.homes.size()];
  }
  /// Of one that waits for `home`, when the nodes have changed.
  NodeIndex home_of_waiting(std::uint32_t class_index, NodeIndex home) const noexcept {
    const std::vector<NodeIndex>& homes = classes_[class_index].homes;
    const bool stays = homes.empty() || std::ranges::find(homes, home) != homes.end();
    return stays ? home : homes.front();
  }
  /// The task was accepted.
  void took(std::uint32_t class_index, SteadyTime now) noexcept {
    Class& its = classes_[class_index];
    its.due = saturating_add(std::max(its.due, now), options_[class_index].arrivals->period);
    ++its.turn;
  }

 private:
  struct Class {
    std::vector<NodeIndex> homes;
    std::optional<Error> refusal;
    SteadyTime due = SteadyTime::min();  ///< of a token bucket of `burst`, as a theoretical arrival time (GCRA)
    std::uint32_t turn = 0;
  };

  void settle(std::size_t index, DemandPartition& partition) {
    const ArrivalModel& model = *options_[index].arrivals;
    Class& its = classes_[index];
    its.homes.clear();
    its.refusal.reset();
    const DemandClass all{model.burst, model.period, model.work, options_[index].sla.maximum};
    std::vector<std::uint64_t> admitted;
    for (std::uint32_t way = 0; way < model.ways; ++way) {
      const auto place = partition.admit(dealt(all, model.ways));
      if (place) {
        its.homes.push_back(static_cast<NodeIndex>(place->node));
        admitted.push_back(place->id);
        continue;
      }
      its.refusal = place.error();
      for (const std::uint64_t id : admitted) partition.release(id);
      return;
    }
  }

  std::vector<ScheduleClass> options_;
  std::vector<Class> classes_;
};

}  // namespace aura::detail
