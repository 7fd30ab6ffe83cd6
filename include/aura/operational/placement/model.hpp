// A placement problem that was found sound, lowered to tables: what solvers work on.
#pragma once

#include <aura/core/result.hpp>
#include <aura/operational/placement/convex_price.hpp>
#include <aura/operational/placement/detail/check_problem.hpp>
#include <aura/operational/placement/error.hpp>
#include <aura/operational/placement/problem.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace aura {

/// Each task gets one choice out of `choices()`: a node, or, as the last one, rejection. Minimise the sum of
///     cost(task, choice)  +  for each node and resource, price(node, resource) of the demand placed there
///                         +  for each group and node, its crowding beyond the first,
/// within capacities and `per_node_max`. A choice that is not allowed costs infinity.
///
/// Immutable; may be shared between threads. Takes (tasks · nodes · (1 + resources)) doubles.
class PlacementModel {
 public:
  static constexpr double forbidden = std::numeric_limits<double>::infinity();

  struct Group {
    std::span<const std::uint32_t> tasks;
    std::size_t per_node_max;
    double crowding_price;
  };

  /// Refuses a problem that contradicts itself; names the culprit. One that cannot be satisfied is a model all the
  /// same: see `infeasible()`. O(tasks · nodes · resources).
  static Result<PlacementModel> make(const PlacementProblem& problem) {
    if (auto sound = detail::ProblemCheck(problem).run(); !sound) return sound.error();
    return PlacementModel(problem);
  }

  std::size_t tasks() const noexcept { return tasks_; }
  std::size_t nodes() const noexcept { return nodes_; }
  std::size_t resources() const noexcept { return resources_; }
  std::size_t choices() const noexcept { return nodes_ + 1; }
  std::size_t rejection() const noexcept { return nodes_; }  ///< the choice that is no node

  double cost(std::size_t task, std::size_t choice) const noexcept { return costs_[task * choices() + choice]; }
  std::span<const double> costs(std::size_t task) const noexcept { return {&costs_[task * choices()], choices()}; }
  bool allowed(std::size_t task, std::size_t choice) const noexcept { return cost(task, choice) < forbidden; }

  double demand(std::size_t task, std::size_t choice, std::size_t resource) const noexcept {
    return uses(task, choice)[resource];
  }
  /// What the choice uses of each resource; nothing where it is rejection.
  const double* uses(std::size_t task, std::size_t choice) const noexcept {
    return demands_.data() + (task * choices() + choice) * resources_;
  }
  const ConvexPrice& price(std::size_t node, std::size_t resource) const noexcept {
    return prices_[node * resources_ + resource];
  }

  std::size_t groups() const noexcept { return groups_.size(); }
  Group group(std::size_t index) const noexcept {
    const GroupRow& row = groups_[index];
    return {{members_.data() + row.begin, row.end - row.begin}, row.per_node_max, row.crowding_price};
  }
  std::span<const std::uint32_t> groups_of(std::size_t task) const noexcept {
    return {groups_of_.data() + groups_begin_[task], groups_begin_[task + 1] - groups_begin_[task]};
  }
  /// No load price and no crowding: the cost is the sum of the choices' costs.
  bool is_separable() const noexcept { return separable_; }
  /// Every placement's cost is a whole number, so a lower bound may be rounded up.
  bool is_integral() const noexcept { return integral_; }

  /// Why no placement can exist, where that is plain to see: a task with no choice at all.
  const std::optional<std::string>& infeasible() const noexcept { return infeasible_; }

  std::size_t choice_of(NodeIndex node) const noexcept { return node == not_placed ? rejection() : node; }
  NodeIndex node_of(std::size_t choice) const noexcept {
    return choice == rejection() ? not_placed : static_cast<NodeIndex>(choice);
  }

 private:
  struct GroupRow {
    std::size_t begin, end, per_node_max;
    double crowding_price;
  };

  explicit PlacementModel(const PlacementProblem& problem)
      : tasks_(problem.tasks.size()), nodes_(problem.nodes.size()), resources_(problem.resources.size()) {
    lower_nodes(problem);
    lower_tasks(problem);
    lower_groups(problem);
    separable_ = std::ranges::all_of(prices_, &ConvexPrice::is_free) &&
                 std::ranges::all_of(groups_, [](const GroupRow& row) { return row.crowding_price == 0; });
    integral_ = separable_ && std::ranges::all_of(costs_, [](double cost) {
                  return cost == forbidden || (std::floor(cost) == cost && std::abs(cost) < 0x1p40);
                });
  }

  void lower_nodes(const PlacementProblem& problem) {
    prices_.reserve(nodes_ * resources_);
    for (const PlacementNode& node : problem.nodes)
      for (std::size_t r = 0; r < resources_; ++r) {
        const auto priced = std::ranges::find(node.load_prices, r, &LoadPrice::resource);
        if (priced == node.load_prices.end())
          prices_.emplace_back(node.capacity[r]);
        else
          prices_.emplace_back(node.capacity[r], priced->pieces);
      }
  }

  void lower_tasks(const PlacementProblem& problem) {
    costs_.assign(tasks_ * choices(), forbidden);
    demands_.resize(tasks_ * choices() * resources_);
    std::vector<char> may, likes;
    for (std::size_t j = 0; j < tasks_; ++j) {
      const PlacementTask& task = problem.tasks[j];
      for (std::size_t r = 0; r < resources_; ++r)
        for (std::size_t i = 0; i < nodes_; ++i)
          demands_[(j * choices() + i) * resources_ + r] =
              task.demand_on.empty() ? task.demand[r] : task.demand_on[i * resources_ + r];
      mark(task.allowed, may);
      mark(task.preferred, likes);
      double* const costs = &costs_[j * choices()];
      for (std::size_t i = 0; i < nodes_; ++i)
        if (may[i] && is_open(task, problem.nodes[i], i) && fits_alone(j, i))
          costs[i] = lower_cost(task, problem.nodes[i], i) + (likes[i] ? 0 : task.elsewhere_price);
      if (task.reject_price && !task.pinned) costs[rejection()] = *task.reject_price;
      if (!infeasible_ && std::ranges::all_of(this->costs(j), [](double cost) { return cost == forbidden; }))
        infeasible_ = detail::name_of("task", j, task.name) + " fits on no node that it is allowed on";
    }
  }

  void mark(const std::vector<NodeIndex>& list, std::vector<char>& marks) const {
    marks.assign(nodes_, list.empty());
    for (const NodeIndex node : list) marks[node] = true;
  }

  static bool is_open(const PlacementTask& task, const PlacementNode& node, std::size_t index) noexcept {
    const bool here = task.current && *task.current == index;
    return here || (node.accepting && !task.pinned);
  }

  bool fits_alone(std::size_t task, std::size_t node) const noexcept {
    for (std::size_t r = 0; r < resources_; ++r)
      if (!price(node, r).fits(demand(task, node, r))) return false;
    return true;
  }

  static double lower_cost(const PlacementTask& task, const PlacementNode& node, std::size_t index) {
    double cost = task.price_on.empty() ? 0 : task.price_on[index];
    if (task.current && *task.current != index) cost += task.move_price;
    if (task.sla.penalty_per_ms == 0 && task.sla.penalty_broken == 0) return cost;
    const double queue = static_cast<double>(node.queue.count());
    const double latency = task.latency_on.empty() ? static_cast<double>(task.work.count()) / node.speed
                                                   : static_cast<double>(task.latency_on[index].count());
    const double late = queue + latency - static_cast<double>(task.sla.target.count());
    if (late > 0) cost += task.sla.penalty_per_ms * late * 1e-6;
    if (queue + latency > static_cast<double>(task.sla.maximum.count())) cost += task.sla.penalty_broken;
    return cost;
  }

  void lower_groups(const PlacementProblem& problem) {
    std::vector<std::vector<std::uint32_t>> by_task(tasks_);
    for (std::size_t g = 0; g < problem.groups.size(); ++g) {
      const PlacementGroup& group = problem.groups[g];
      const std::size_t begin = members_.size();
      for (const std::size_t task : group.tasks) {
        members_.push_back(static_cast<std::uint32_t>(task));
        by_task[task].push_back(static_cast<std::uint32_t>(g));
      }
      groups_.push_back({begin, members_.size(), group.per_node_max, group.crowding_price});
    }
    groups_begin_.push_back(0);
    for (const auto& list : by_task) {
      groups_of_.insert(groups_of_.end(), list.begin(), list.end());
      groups_begin_.push_back(groups_of_.size());
    }
  }

  std::size_t tasks_, nodes_, resources_;
  std::vector<double> costs_;  ///< [task][choice]
  std::vector<double> demands_;  ///< [task][choice][resource]
  std::vector<ConvexPrice> prices_;  ///< [node][resource]
  std::vector<GroupRow> groups_;
  std::vector<std::uint32_t> members_;
  std::vector<std::size_t> groups_begin_;
  std::vector<std::uint32_t> groups_of_;
  std::optional<std::string> infeasible_;
  bool separable_ = false, integral_ = false;
};

}  // namespace aura
