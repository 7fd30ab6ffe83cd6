// The plainest placement solver: one task after another, where it costs least. A baseline, and quick.
#pragma once

#include <aura/operational/placement/detail/load_rows.hpp>
#include <aura/operational/placement/detail/search_state.hpp>
#include <aura/operational/placement/model.hpp>
#include <aura/operational/placement/solver.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numeric>
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
    for (double thrift = 0; thrift < 64 && !answer.has_placement(); thrift = thrift == 0 ? 0.5 : thrift * 2)
      if (place(state, thrift)) take(state, answer);
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

  /// `thrift`: how much the share of a node's capacity counts beside the cost, in units of what choices differ by.
  static bool place(detail::SearchState& state, double thrift) {
    const PlacementModel& model = state.model();
    state.assign({});
    std::vector<double> size(model.tasks());
    for (std::size_t j = 0; j < size.size(); ++j) size[j] = share(model, j);
    std::vector<std::uint32_t> order(model.tasks());
    std::iota(order.begin(), order.end(), 0U);
    std::ranges::stable_sort(order, [&](std::uint32_t a, std::uint32_t b) { return size[a] > size[b]; });
    for (const std::uint32_t task : order) {
      double least = PlacementModel::forbidden;
      std::uint32_t best = detail::SearchState::nowhere;
      for (std::uint32_t i = 0; i < model.choices(); ++i) {
        if (!model.allowed(task, i) || !state.would_fit(task, i)) continue;
        const double cost = state.enter(task, i) + thrift * spread(model, task) * share(model, task, i);
        if (cost < least) least = cost, best = i;
      }
      if (best == detail::SearchState::nowhere) return false;
      state.put(task, best);
    }
    return true;
  }

  /// The most of any capacity that it would take there.
  static double share(const PlacementModel& model, std::size_t task, std::size_t choice) {
    double most = 0;
    for (std::size_t r = 0; choice != model.rejection() && r < model.resources(); ++r)
      if (model.price(choice, r).capacity() > 0)
        most = std::max(most, model.demand(task, choice, r) / model.price(choice, r).capacity());
    return most;
  }
  /// On the node where that is least.
  static double share(const PlacementModel& model, std::size_t task) {
    double least = std::numeric_limits<double>::infinity();
    for (std::size_t i = 0; i < model.nodes(); ++i)
      if (model.allowed(task, i)) least = std::min(least, share(model, task, i));
    return least;
  }
  /// How much its choices differ in cost, for a tenth of a capacity.
  static double spread(const PlacementModel& model, std::size_t task) {
    double least = std::numeric_limits<double>::infinity(), most = -least;
    for (const double cost : model.costs(task))
      if (cost < PlacementModel::forbidden) least = std::min(least, cost), most = std::max(most, cost);
    return 10 * (most - least);
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
