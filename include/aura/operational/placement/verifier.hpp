// Checks a placement against the problem as the host described it, and says what it costs.
#pragma once

#include <aura/core/result.hpp>
#include <aura/operational/placement/convex_price.hpp>
#include <aura/operational/placement/error.hpp>
#include <aura/operational/placement/problem.hpp>
#include <aura/operational/placement/solver.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace aura {

/// What a placement costs, by what for.
struct PlacementCost {
  double tardiness = 0;
  double broken = 0;  ///< SLA maxima that will be broken
  double price = 0;  ///< `price_on` and `elsewhere_price`
  double movement = 0;
  double load = 0;
  double crowding = 0;
  double rejection = 0;
  std::size_t rejected = 0, moved = 0;

  double total() const noexcept { return tardiness + broken + price + movement + load + crowding + rejection; }
};

/// Shares no code with the model that solvers work on, on purpose: it reads the problem as it was written. The problem
/// must be sound (`PlacementModel::make` accepted it). O(tasks · resources + groups).
class PlacementVerifier {
 public:
  explicit PlacementVerifier(const PlacementProblem& problem) : problem_(problem) {}

  /// The cost, or the constraint that is broken and by whom.
  Result<PlacementCost> verify(const Placement& placement) const {
    if (placement.size() != problem_.tasks.size())
      return bad(fmt::format("it has {} entries for {} tasks", placement.size(), problem_.tasks.size()));
    PlacementCost cost;
    std::vector<std::vector<double>> load(problem_.nodes.size(), std::vector<double>(problem_.resources.size(), 0.0));
    for (std::size_t j = 0; j < placement.size(); ++j)
      if (auto added = add(j, placement[j], cost, load); !added) return added.error();
    if (auto added = add_load(load, cost); !added) return added.error();
    if (auto added = add_groups(placement, cost); !added) return added.error();
    return cost;
  }

  /// An answer is taken where its placement holds, its cost is what it says, and its bound is not above that cost.
  Result<PlacementCost> verify(const SolveAnswer& answer) const {
    auto cost = verify(answer.placement);
    if (!cost) return cost;
    const double total = cost->total();
    const double tolerance = 1e-6 * std::max(1.0, std::abs(total));
    if (!(std::abs(total - answer.cost) <= tolerance))
      return bad(fmt::format("it says that it costs {}, and it costs {}", answer.cost, total));
    if (!(answer.lower_bound <= total + tolerance))
      return bad(fmt::format("its lower bound of {} is above its cost of {}", answer.lower_bound, total));
    return cost;
  }

 private:
  using Load = std::vector<std::vector<double>>;

  static Error bad(const std::string& what) {
    return Error(placement_errc::bad_answer, ErrorClass::permanent, "the placement is refused: " + what);
  }
  std::string task_name(std::size_t j) const { return detail::name_of("task", j, problem_.tasks[j].name); }
  std::string node_name(std::size_t i) const { return detail::name_of("node", i, problem_.nodes[i].name); }

  Result<void> add(std::size_t j, NodeIndex at, PlacementCost& cost, Load& load) const {
    const PlacementTask& task = problem_.tasks[j];
    if (at == not_placed) {
      if (task.pinned || !task.reject_price) return bad(fmt::format("{} must be placed", task_name(j)));
      cost.rejection += *task.reject_price;
      ++cost.rejected;
      return {};
    }
    if (at >= problem_.nodes.size()) return bad(fmt::format("{} is on the unknown node {}", task_name(j), at));
    const PlacementNode& node = problem_.nodes[at];
    const bool stays = task.current && *task.current == at;
    if (task.pinned && !stays) return bad(fmt::format("{} is pinned and was moved", task_name(j)));
    if (!node.accepting && !stays)
      return bad(fmt::format("{} is placed on {}, which drains", task_name(j), node_name(at)));
    if (!lists(task.allowed, at)) return bad(fmt::format("{} is not allowed on {}", task_name(j), node_name(at)));
    for (std::size_t r = 0; r < problem_.resources.size(); ++r)
      load[at][r] += task.demand_on.empty() ? task.demand[r] : task.demand_on[at * problem_.resources.size() + r];
    if (!task.price_on.empty()) cost.price += task.price_on[at];
    if (!lists(task.preferred, at)) cost.price += task.elsewhere_price;
    if (task.current && !stays) cost.movement += task.move_price, ++cost.moved;
    add_tardiness(task, node, at, cost);
    return {};
  }

  static bool lists(const std::vector<NodeIndex>& list, NodeIndex node) {
    return list.empty() || std::find(list.begin(), list.end(), node) != list.end();
  }

  static void add_tardiness(const PlacementTask& task, const PlacementNode& node, NodeIndex at, PlacementCost& cost) {
    using Milliseconds = std::chrono::duration<double, std::milli>;
    const Milliseconds latency =
        task.latency_on.empty() ? Milliseconds(task.work) / node.speed : Milliseconds(task.latency_on[at]);
    const Milliseconds answered = Milliseconds(node.queue) + latency;
    if (answered > Milliseconds(task.sla.target))
      cost.tardiness += task.sla.penalty_per_ms * (answered - Milliseconds(task.sla.target)).count();
    if (answered > Milliseconds(task.sla.maximum)) cost.broken += task.sla.penalty_broken;
  }

  Result<void> add_load(const Load& load, PlacementCost& cost) const {
    for (std::size_t i = 0; i < load.size(); ++i) {
      const PlacementNode& node = problem_.nodes[i];
      for (std::size_t r = 0; r < load[i].size(); ++r)
        if (load[i][r] > node.capacity[r] * (1 + capacity_tolerance))
          return bad(fmt::format("{} bears {} of {}, and its capacity is {}", node_name(i), load[i][r],
                                 detail::name_of("resource", r, problem_.resources[r]), node.capacity[r]));
      for (const LoadPrice& price : node.load_prices)
        for (std::size_t k = 0; k < price.pieces.size(); ++k) {
          const double from = price.pieces[k].from;
          const double to = k + 1 < price.pieces.size() ? price.pieces[k + 1].from : load[i][price.resource];
          const double units = std::min(to, load[i][price.resource]) - from;
          if (units > 0) cost.load += units * price.pieces[k].per_unit;
        }
    }
    return {};
  }

  Result<void> add_groups(const Placement& placement, PlacementCost& cost) const {
    for (std::size_t g = 0; g < problem_.groups.size(); ++g) {
      const PlacementGroup& group = problem_.groups[g];
      std::map<NodeIndex, std::size_t> members;
      for (const std::size_t task : group.tasks)
        if (placement[task] != not_placed) ++members[placement[task]];
      for (const auto& [node, count] : members) {
        if (count > group.per_node_max)
          return bad(fmt::format("{} has {} tasks on {}, and may have {}", detail::name_of("group", g, group.name),
                                 count, node_name(node), group.per_node_max));
        cost.crowding += group.crowding_price * static_cast<double>(count - 1);
      }
    }
    return {};
  }

  const PlacementProblem& problem_;
};

}  // namespace aura
