// One task after another, the largest first, each where it costs least and has room.
#pragma once

#include <aura/operational/placement/detail/search_state.hpp>
#include <aura/operational/placement/model.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numeric>
#include <vector>

namespace aura::detail {

/// The most of any capacity that it would take there.
inline double capacity_share(const PlacementModel& model, std::size_t task, std::size_t choice) {
  double most = 0;
  for (std::size_t r = 0; choice != model.rejection() && r < model.resources(); ++r)
    if (model.price(choice, r).capacity() > 0)
      most = std::max(most, model.demand(task, choice, r) / model.price(choice, r).capacity());
  return most;
}
/// On the node where that is least.
inline double capacity_share(const PlacementModel& model, std::size_t task) {
  double least = std::numeric_limits<double>::infinity();
  for (std::size_t i = 0; i < model.nodes(); ++i)
    if (model.allowed(task, i)) least = std::min(least, capacity_share(model, task, i));
  return least;
}
/// How much its choices differ in cost, for a tenth of a capacity.
inline double cost_spread(const PlacementModel& model, std::size_t task) {
  double least = std::numeric_limits<double>::infinity(), most = -least;
  for (const double cost : model.costs(task))
    if (cost < PlacementModel::forbidden) least = std::min(least, cost), most = std::max(most, cost);
  return 10 * (most - least);
}

/// `thrift`: how much the share of a node's capacity counts beside the cost, in units of what choices differ by.
inline bool place_greedily(SearchState& state, double thrift) {
  const PlacementModel& model = state.model();
  state.assign({});
  std::vector<double> size(model.tasks());
  for (std::size_t j = 0; j < size.size(); ++j) size[j] = capacity_share(model, j);
  std::vector<std::uint32_t> order(model.tasks());
  std::iota(order.begin(), order.end(), 0U);
  std::ranges::stable_sort(order, [&](std::uint32_t a, std::uint32_t b) { return size[a] > size[b]; });
  for (const std::uint32_t task : order) {
    double least = PlacementModel::forbidden;
    std::uint32_t best = SearchState::nowhere;
    for (std::uint32_t i = 0; i < model.choices(); ++i) {
      if (!model.allowed(task, i) || !state.would_fit(task, i)) continue;
      const double cost = state.enter(task, i) + thrift * cost_spread(model, task) * capacity_share(model, task, i);
      if (cost < least) least = cost, best = i;
    }
    if (best == SearchState::nowhere) return false;
    state.put(task, best);
  }
  return true;
}

/// Begins again where the last ones find no room, and takes room into account more and more. False where none of that
/// placed them all.
inline bool place_greedily(SearchState& state) {
  if (place_greedily(state, 0)) return true;
  for (double thrift = 0.5; thrift < 64; thrift *= 2)
    if (place_greedily(state, thrift)) return true;
  return false;
}

}  // namespace aura::detail
