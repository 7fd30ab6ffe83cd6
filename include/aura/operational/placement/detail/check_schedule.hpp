// Whether a schedule is one: what a host got wrong in its classes, nodes and tasks, in one line that names it.
#pragma once

#include <aura/core/result.hpp>
#include <aura/operational/placement/detail/check_problem.hpp>
#include <aura/operational/placement/error.hpp>
#include <aura/operational/placement/schedule_options.hpp>

#include <fmt/format.h>

#include <cmath>
#include <cstddef>
#include <span>
#include <string>
#include <utility>

namespace aura::detail {

class ScheduleCheck {
 public:
  static Result<void> options(const ScheduleOptions& options) {
    if (options.resources.size() > 8) return bad("more than 8 resources");
    if (options.classes.empty() || options.classes.size() > 64) return bad("there must be 1 to 64 classes");
    if (options.nodes_max == 0 || options.nodes_max > 4096) return bad("nodes_max must lie in [1, 4096]");
    if (options.tasks_max == 0 || options.tasks_max > (1u << 24)) return bad("tasks_max must lie in [1, 2^24]");
    if (!is_amount(options.waiting_price)) return bad("waiting_price must not be negative");
    if (!std::isfinite(options.margin)) return bad("margin must be finite");
    if (options.horizon < Duration::zero()) return bad("horizon must not be negative");
    for (std::size_t i = 0; i < options.classes.size(); ++i)
      if (auto sound = check(options, i); !sound) return sound;
    return {};
  }

  static Result<void> node(const ScheduleOptions& options, const ScheduleNode& node) {
    const auto culprit = [&] { return node.name.empty() ? std::string("a node") : "node " + node.name; };
    if (node.capacity.size() != options.resources.size())
      return bad(fmt::format("{} has {} capacities, and there are {} resources", culprit(), node.capacity.size(),
                             options.resources.size()));
    if (!std::ranges::all_of(node.capacity, is_amount)) return bad(culprit() + ": a capacity is no amount");
    if (!(std::isfinite(node.speed) && node.speed > 0)) return bad(culprit() + ": its speed is not above zero");
    if (node.slots == 0) return bad(culprit() + " has no slot");
    return {};
  }

  static Result<void> task(const ScheduleOptions& options, const ScheduleTask& task) {
    if (task.class_index >= options.classes.size())
      return Error::fixed(placement_errc::bad_problem, ErrorClass::permanent, "a task of a class that there is not");
    if (!(std::isfinite(task.size) && task.size > 0))
      return Error::fixed(placement_errc::bad_problem, ErrorClass::permanent, "a task's size is not above zero");
    if (!task.demand.empty() &&
        (task.demand.size() != options.resources.size() || !std::ranges::all_of(task.demand, is_amount)))
      return Error::fixed(placement_errc::bad_problem, ErrorClass::permanent,
                          "a task's demand is not an amount for each resource");
    return {};
  }

 private:
  static Result<void> check(const ScheduleOptions& options, std::size_t index) {
    const ScheduleClass& its = options.classes[index];
    const auto culprit = [&] { return name_of("class", index, its.name); };
    for (std::size_t other = 0; other < index; ++other)
      if (!its.name.empty() && options.classes[other].name == its.name) return bad(culprit() + " is there twice");
    if (its.demand.size() != options.resources.size() || !std::ranges::all_of(its.demand, is_amount))
      return bad(culprit() + ": its demand is not an amount for each resource");
    for (const double price : {its.move_price, its.preempt_price, its.reject_price.value_or(0), its.elsewhere_price,
                               its.crowding_price, its.sla.penalty_per_ms, its.sla.penalty_broken})
      if (!is_amount(price)) return bad(culprit() + ": a price is no amount");
    if (its.work <= Duration::zero()) return bad(culprit() + ": its work is not above zero");
    if (!(its.sla.percentile > 0 && its.sla.percentile < 1))
      return bad(culprit() + ": its percentile is not between 0 and 1");
    if (its.sla.target < Duration::zero() || its.sla.maximum < its.sla.target)
      return bad(culprit() + ": its latency maximum is below its target, or the target below zero");
    if (its.per_node_max == 0) return bad(culprit() + ": its per_node_max is 0");
    if (!its.arrivals) return {};
    if (its.arrivals->period <= Duration::zero() || its.arrivals->work <= Duration::zero() ||
        its.arrivals->burst == 0 || its.arrivals->ways == 0)
      return bad(culprit() + ": period, work, burst and ways of its arrivals must be above zero");
    if (its.sla.maximum == Duration::max()) return bad(culprit() + " declares its arrivals, and no sla.maximum");
    return {};
  }

  static Error bad(std::string message) {
    return Error(placement_errc::bad_problem, ErrorClass::permanent, std::move(message));
  }
  static bool is_amount(double value) noexcept { return std::isfinite(value) && value >= 0; }
};

}  // namespace aura::detail
