// A placement under construction: what still fits where, and what it costs.
#pragma once

#include <aura/operational/placement/model.hpp>
#include <aura/operational/placement/problem.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numeric>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace aura::glpk::detail {

/// Tasks are added to and removed from choices; what is in it keeps every constraint at any time.
class Trial {
 public:
  static constexpr std::uint32_t nowhere = std::numeric_limits<std::uint32_t>::max();

  explicit Trial(const PlacementModel& model)
      : model_(model),
        at_(model.tasks(), nowhere),
        load_(model.nodes() * model.resources(), 0.0),
        members_(model.groups() * model.nodes(), 0),
        order_(model.tasks()) {
    std::iota(order_.begin(), order_.end(), 0U);
    std::ranges::stable_sort(order_, std::ranges::greater{}, [this](std::uint32_t j) { return least_share(j); });
  }

  void clear() noexcept {
    std::ranges::fill(at_, nowhere);
    std::ranges::fill(load_, 0.0);
    std::ranges::fill(members_, std::size_t{0});
  }

  std::span<const std::uint32_t> choices() const noexcept { return at_; }
  double load(std::size_t node, std::size_t resource) const noexcept {
    return load_[node * model_.resources() + resource];
  }
  std::size_t members(std::size_t group, std::size_t node) const noexcept {
    return members_[group * model_.nodes() + node];
  }

  bool fits(std::size_t task, std::size_t choice) const noexcept {
    if (!model_.allowed(task, choice)) return false;
    if (choice == model_.rejection()) return true;
    for (std::size_t r = 0; r < model_.resources(); ++r)
      if (!model_.price(choice, r).fits(load(choice, r) + model_.demand(task, choice, r))) return false;
    for (const std::uint32_t g : model_.groups_of(task))
      if (members(g, choice) >= model_.group(g).per_node_max) return false;
    return true;
  }

  void add(std::size_t task, std::size_t choice) noexcept {
    at_[task] = static_cast<std::uint32_t>(choice);
    change(task, choice, +1);
  }
  void remove(std::size_t task) noexcept { change(task, std::exchange(at_[task], nowhere), -1); }

  /// By how much the cost rises when this task is added here.
  double added_cost(std::size_t task, std::size_t choice) const noexcept {
    double cost = model_.cost(task, choice);
    if (choice == model_.rejection()) return cost;
    for (std::size_t r = 0; r < model_.resources(); ++r) {
      const ConvexPrice& price = model_.price(choice, r);
      if (price.is_free()) continue;
      const double before = load(choice, r);
      cost += price.at(before + model_.demand(task, choice, r)) - price.at(before);
    }
    for (const std::uint32_t g : model_.groups_of(task))
      if (members(g, choice) > 0) cost += model_.group(g).crowding_price;
    return cost;
  }

  /// Where it fits and costs least; false where it fits nowhere.
  bool add_cheapest(std::size_t task) noexcept {
    double least = PlacementModel::forbidden;
    std::size_t best = nowhere;
    for (std::size_t c = 0; c < model_.choices(); ++c)
      if (fits(task, c))
        if (const double cost = added_cost(task, c); cost < least) least = cost, best = c;
    if (best == nowhere) return false;
    add(task, best);
    return true;
  }

  /// Where it fits and leaves most; false where it fits on no node.
  bool add_thriftiest(std::size_t task) noexcept {
    double least = std::numeric_limits<double>::infinity();
    std::size_t best = nowhere;
    for (std::size_t i = 0; i < model_.nodes(); ++i)
      if (fits(task, i))
        if (const double taken = share(task, i); taken < least) least = taken, best = i;
    if (best == nowhere) return false;
    add(task, best);
    return true;
  }

  /// Adds what is nowhere where it takes least, whatever that costs, as far as it fits.
  void add_thriftily() noexcept {
    for (const std::uint32_t j : order_)
      if (at_[j] == nowhere) add_thriftiest(j);
  }

  /// Adds every task that is nowhere: where it is cheapest, or where another one makes room that fits elsewhere. Then
  /// moves single tasks while that helps. False where a task is left over. O(passes · tasks · nodes), and where it is
  /// tight O(tasks² · nodes).
  bool complete() noexcept {
    for (const std::uint32_t j : order_)
      if (at_[j] == nowhere && !add_cheapest(j) && !make_room(j)) return false;
    for (int pass = 0; pass < improving_passes_max; ++pass)
      if (!improve()) break;
    return true;
  }

  /// The cost of all, where no task is left over and each keeps its constraints when they are added up anew.
  std::optional<double> cost_of(std::span<const NodeIndex> placement) noexcept {
    clear();
    if (placement.size() != model_.tasks()) return std::nullopt;
    double cost = 0;
    for (std::size_t j = 0; j < placement.size(); ++j) {
      const std::size_t choice = model_.choice_of(placement[j]);
      if (choice >= model_.choices() || !fits(j, choice)) return std::nullopt;
      cost += model_.cost(j, choice);
      add(j, choice);
    }
    for (std::size_t i = 0; i < model_.nodes(); ++i)
      for (std::size_t r = 0; r < model_.resources(); ++r) cost += model_.price(i, r).at(load(i, r));
    for (std::size_t g = 0; g < model_.groups(); ++g)
      for (std::size_t i = 0; i < model_.nodes(); ++i)
        if (const std::size_t count = members(g, i); count > 1)
          cost += model_.group(g).crowding_price * static_cast<double>(count - 1);
    return cost;
  }

 private:
  static constexpr int improving_passes_max = 5;

  void change(std::size_t task, std::size_t choice, int sign) noexcept {
    if (choice == model_.rejection()) return;
    for (std::size_t r = 0; r < model_.resources(); ++r)
      load_[choice * model_.resources() + r] += sign * model_.demand(task, choice, r);
    for (const std::uint32_t g : model_.groups_of(task)) {
      std::size_t& count = members_[g * model_.nodes() + choice];
      sign > 0 ? ++count : --count;
    }
  }

  double share(std::size_t task, std::size_t node) const noexcept {
    double most = 0;
    for (std::size_t r = 0; r < model_.resources(); ++r)
      if (const double capacity = model_.price(node, r).capacity(); capacity > 0)
        most = std::max(most, model_.demand(task, node, r) / capacity);
    return most;
  }
  /// The part of a node that it takes where it takes least.
  double least_share(std::size_t task) const noexcept {
    double least = 1;
    for (std::size_t i = 0; i < model_.nodes(); ++i)
      if (model_.allowed(task, i)) least = std::min(least, share(task, i));
    return model_.allowed(task, model_.rejection()) ? 0 : least;
  }

  bool make_room(std::size_t task) noexcept {
    for (std::size_t other = 0; other < at_.size(); ++other) {
      const std::size_t from = at_[other];
      if (from == nowhere || from == model_.rejection() || !model_.allowed(task, from)) continue;
      remove(other);
      if (fits(task, from)) {
        add(task, from);
        if (add_cheapest(other)) return true;
        remove(task);
      }
      add(other, from);
    }
    return false;
  }

  bool improve() noexcept {
    bool better = false;
    for (std::size_t j = 0; j < at_.size(); ++j) {
      const std::size_t from = at_[j];
      remove(j);
      const double before = added_cost(j, from);
      std::size_t best = from;
      double least = before - 1e-9 * (1 + std::abs(before));
      for (std::size_t c = 0; c < model_.choices(); ++c)
        if (c != from && fits(j, c))
          if (const double cost = added_cost(j, c); cost < least) least = cost, best = c;
      add(j, best);
      better |= best != from;
    }
    return better;
  }

  const PlacementModel& model_;
  std::vector<std::uint32_t> at_;  ///< the choice of each task
  std::vector<double> load_;  ///< [node][resource]
  std::vector<std::size_t> members_;  ///< [group][node]
  std::vector<std::uint32_t> order_;  ///< what takes much goes first
};

}  // namespace aura::glpk::detail
