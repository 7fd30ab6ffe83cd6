// The plainest placement solver: one task after another, where it costs least. A baseline, and quick.
#pragma once

#include <aura/operational/placement/detail/greedy_start.hpp>
#include <aura/operational/placement/detail/load_rows.hpp>
#include <aura/operational/placement/detail/search_state.hpp>
#include <aura/operational/placement/model.hpp>
#include <aura/operational/placement/solver.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

namespace aura {

/// The largest task first (by its share of the capacity it would take), each to the cheapest choice that still has
/// room, load prices and crowding included. Where the last ones find no room it begins again, and takes room into
/// account more and more. It may find nothing where there is something; its bound is the sum of what
/// each task costs at least. The incumbent is its answer where that is feasible and cheaper.
/// O(tasks · nodes · resources); has no state.
class GreedySolver {
 public:
  SolveAnswer solve(const PlacementModel& model, std::span<const NodeIndex> incumbent, const SolveLimits& limits) {
    SolveAnswer answer{.lower_bound = bound(model), .work = model.tasks() * model.choices()};
    if (model.infeasible()) {
      answer.status = SolveStatus::infeasible;
      answer.reason = *model.infeasible();
      return answer;
    }
    const detail::LoadRows rows(model);
    detail::SearchState state(model, rows);
    if (detail::place_greedily(state)) take(state, answer);
    if (start_from(state, incumbent)) take(state, answer);
    if (!answer.has_placement()) answer.reason = "placing one task after another, the greedy solver found no room";
    if (answer.has_placement() && limits.progress != nullptr) limits.progress->found(answer.placement, answer.cost);
    return answer;
  }

 private:
  static double bound(const PlacementModel& model) {
    double bound = 0;
    for (std::size_t j = 0; j < model.tasks(); ++j) bound += std::ranges::min(model.costs(j));
    return bound - 1e-9 * (1 + std::abs(bound));
  }

  static bool start_from(detail::SearchState& state, std::span<const NodeIndex> incumbent) {
    const PlacementModel& model = state.model();
    if (incumbent.size() != model.tasks()) return false;
    std::vector<std::uint32_t> choices;
    for (std::size_t j = 0; j < incumbent.size(); ++j) {
      const std::size_t choice = model.choice_of(incumbent[j]);
      if (choice >= model.choices() || !model.allowed(j, choice)) return false;
      choices.push_back(static_cast<std::uint32_t>(choice));
    }
    state.assign(choices);
    return state.is_feasible();
  }

  static void take(const detail::SearchState& state, SolveAnswer& answer) {
    const double cost = state.cost();
    if (cost >= answer.cost) return;
    answer.cost = cost;
    answer.placement.clear();
    for (const std::uint32_t choice : state.choices()) answer.placement.push_back(state.model().node_of(choice));
    answer.status = cost <= answer.lower_bound + 1e-6 ? SolveStatus::optimal : SolveStatus::feasible;
  }
};

static_assert(solver<GreedySolver>);

}  // namespace aura
