// Which moves of a placement pay for themselves.
#pragma once

#include <aura/operational/placement/model.hpp>
#include <aura/operational/placement/problem.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace aura::detail {

/// Takes a sound placement back towards another one, task by task, and knows the cost of each step.
class MoveTrim {
 public:
  MoveTrim(const PlacementModel& model, const Placement& stay, Placement wanted)
      : model_(model), stay_(stay), placement_(std::move(wanted)) {
    loads_.assign(model_.nodes() * model_.resources(), 0.0);
    members_.assign(model_.nodes() * model_.groups(), 0);
    for (std::size_t j = 0; j < placement_.size(); ++j) {
      add(j, placement_[j], 1);
      if (is_move(j)) moved_.push_back(j);
    }
  }

  const Placement& placement() const noexcept { return placement_; }
  std::size_t moves() const noexcept { return moved_.size(); }

  /// Takes back each move that saves nothing, or less than `margin`, beyond its price, until there is none. How many those were.
  std::size_t drop_unpaid(double margin) {
    std::size_t dropped = 0;
    for (bool again = true; again;) {
      again = false;
      for (std::size_t k = 0; k < moved_.size();) {
        const std::size_t j = moved_[k];
        if (!can_go_back(j) || pays(saved_by(j), margin)) {
          ++k;
          continue;
        }
        put(j, stay_[j]);
        moved_.erase(moved_.begin() + static_cast<std::ptrdiff_t>(k));
        ++dropped;
        again = true;
      }
    }
    return dropped;
  }

  /// The placement with every move taken back: a task that had no node and for which there is no room then has none.
  Placement without_moves() const {
    MoveTrim other(model_, stay_, stay_);
    for (std::size_t j = 0; j < placement_.size(); ++j)
      if (stay_[j] == not_placed && placement_[j] != not_placed && other.has_room(j, placement_[j]))
        other.put(j, placement_[j]);
    return other.placement_;
  }

  /// Rounding saves nothing.
  static bool pays(double saved, double margin) noexcept { return saved > 1e-9 && saved >= margin; }

 private:
  bool is_move(std::size_t j) const noexcept { return stay_[j] != not_placed && placement_[j] != stay_[j]; }

  std::size_t load_at(std::size_t node, std::size_t resource) const noexcept {
    return node * model_.resources() + resource;
  }
  std::size_t members_at(std::size_t node, std::size_t group) const noexcept {
    return node * model_.groups() + group;
  }

  void add(std::size_t j, NodeIndex node, int sign) {
    if (node == not_placed) return;
    for (std::size_t r = 0; r < model_.resources(); ++r) loads_[load_at(node, r)] += sign * model_.demand(j, node, r);
    for (const std::uint32_t g : model_.groups_of(j)) members_[members_at(node, g)] += sign;
  }
  void put(std::size_t j, NodeIndex node) {
    add(j, placement_[j], -1);
    placement_[j] = node;
    add(j, node, 1);
  }

  bool has_room(std::size_t j, NodeIndex node) const {
    for (std::size_t r = 0; r < model_.resources(); ++r)
      if (!model_.price(node, r).fits(loads_[load_at(node, r)] + model_.demand(j, node, r), capacity_tolerance / 2))
        return false;
    for (const std::uint32_t g : model_.groups_of(j))
      if (static_cast<std::size_t>(members_[members_at(node, g)]) >= model_.group(g).per_node_max) return false;
    return true;
  }
  bool can_go_back(std::size_t j) const { return model_.allowed(j, stay_[j]) && has_room(j, stay_[j]); }

  /// By how much it would cost more to have it where it was.
  double saved_by(std::size_t j) const { return added_at(j, stay_[j], 0) - added_at(j, placement_[j], -1); }
  /// What task j costs at a node that it is not at (0) or is at (-1).
  double added_at(std::size_t j, NodeIndex node, int there) const {
    double cost = model_.cost(j, model_.choice_of(node));
    if (node == not_placed) return cost;
    for (std::size_t r = 0; r < model_.resources(); ++r) {
      const double load = loads_[load_at(node, r)], own = model_.demand(j, node, r);
      const ConvexPrice& price = model_.price(node, r);
      cost += there == 0 ? price.at(load + own) - price.at(load) : price.at(load) - price.at(load - own);
    }
    for (const std::uint32_t g : model_.groups_of(j))
      if (members_[members_at(node, g)] + there > 0) cost += model_.group(g).crowding_price;
    return cost;
  }

  const PlacementModel& model_;
  const Placement& stay_;
  Placement placement_;
  std::vector<std::size_t> moved_;
  std::vector<double> loads_;  ///< [node][resource]
  std::vector<int> members_;  ///< [node][group]
};

}  // namespace aura::detail
