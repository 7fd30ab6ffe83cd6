// A stronger lower bound: the assignment of tasks is relaxed, and each node packs its best knapsack.
#pragma once

#include <aura/operational/placement/detail/choice_lists.hpp>
#include <aura/operational/placement/detail/load_rows.hpp>
#include <aura/operational/placement/detail/solve_budget.hpp>
#include <aura/operational/placement/model.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

namespace aura::detail {

/// The most profit that fits: a 0-1 knapsack, by depth-first search with Dantzig's bound (Horowitz, Sahni, JACM 21,
/// 1974). Where the search is too long it answers with Dantzig's bound, which is valid too.
class Knapsack {
 public:
  struct Item {
    double profit, weight;
    std::uint32_t task;
  };
  std::vector<Item> items;  ///< with a profit above zero
  std::vector<std::uint32_t> chosen;  ///< tasks of the best packing found

  /// An upper bound on the best profit: that profit itself, but for a search cut short.
  double solve(double capacity) {
    chosen.clear();
    std::ranges::sort(items, [](const Item& a, const Item& b) {
      return a.profit * b.weight > b.profit * a.weight ||
             (a.profit * b.weight == b.profit * a.weight && a.task < b.task);
    });
    best_ = -1;
    taken_.clear();
    steps_ = 0;
    pack(0, 0, capacity);
    for (const std::uint32_t at : best_taken_) chosen.push_back(items[at].task);
    return steps_ >= steps_max ? fill(0, capacity) : best_;
  }
  std::uint64_t steps() const noexcept { return steps_; }

 private:
  static constexpr std::uint64_t steps_max = 3000;

  /// What the items from there on can add at most: the last one in parts.
  double fill(std::size_t from, double room) const noexcept {
    double profit = 0;
    for (std::size_t k = from; k < items.size(); ++k) {
      if (items[k].weight > room)
        return profit + (items[k].weight > 0 ? items[k].profit * room / items[k].weight : 0);
      room -= items[k].weight;
      profit += items[k].profit;
    }
    return profit;
  }

  void pack(std::size_t from, double profit, double room) {
    if (profit > best_) best_ = profit, best_taken_ = taken_;
    for (std::size_t k = from; k < items.size(); ++k) {
      if (++steps_ >= steps_max || profit + fill(k, room) <= best_ + 1e-9) return;
      if (items[k].weight > room) continue;
      taken_.push_back(static_cast<std::uint32_t>(k));
      pack(k + 1, profit + items[k].profit, room - items[k].weight);
      taken_.pop_back();
    }
  }

  double best_ = 0;
  std::uint64_t steps_ = 0;
  std::vector<std::uint32_t> taken_, best_taken_;
};

/// With a price u for each task being placed,
///     L(u) = Σ_tasks u  −  Σ_nodes the best knapsack of profits u − cost
/// is at most the cost of any placement, and its maximum is at least the bound of the linear relaxation (Fisher,
/// Jaikumar, Van Wassenhove, Management Science 32, 1986). Several resources become one, weighed by their multipliers;
/// load prices and groups enter by their multipliers alone.
class KnapsackBound {
 public:
  KnapsackBound(const PlacementModel& model, const LoadRows& rows, SolveBudget& budget)
      : model_(model), rows_(rows), budget_(budget) {}

  /// Starts from what the capacity relaxation gives at its best multipliers: `least` are its reduced costs by task.
  /// One weight for all resources of a node: each one's multiplier by its demand. Where all multipliers are zero,
  /// nothing is scarce there.
  void prepare(const ChoiceLists& lists, std::span<const double> multipliers, std::span<const double> least) {
    constant_ = 0;
    prices_.assign(least.begin(), least.end());
    placed_.assign(model_.tasks(), 0);
    scale_.assign(rows_.size(), 0.0);
    capacity_.assign(model_.choices(), 0.0);
    by_choice_.assign(model_.choices(), {});
    for (std::size_t row = 0; row < rows_.size(); ++row) {
      const bool is_group = row >= rows_.resources() * model_.choices();
      if (!is_group && rows_.is_plain(row)) {
        scale_[row] = rows_.resources() == 1 ? 1 : multipliers[row];
        if (std::isfinite(rows_.capacity(row)))
          capacity_[row / rows_.resources()] += scale_[row] * rows_.capacity(row) * (1 + capacity_tolerance);
        continue;
      }
      double where = 0;
      constant_ -= rows_.price(row).conjugate(multipliers[row], rows_.load_max(row), where);
    }
    for (std::size_t at = 0; at < lists.size(); ++at)
      for (const std::uint32_t i : lists.of(at)) add(lists.task(at), i, multipliers);
  }

  std::span<const double> prices() const noexcept { return prices_; }  ///< the best so far, by task
  bool is_prepared() const noexcept { return !prices_.empty(); }

  /// Climbs for some steps from where it was. Returns the best bound proven.
  double ascend(const ChoiceLists& lists, double target, int steps) {
    std::vector<double> direction(model_.tasks(), 0.0);
    double best = -std::numeric_limits<double>::infinity(), length = length_;
    std::vector<double> best_prices = prices_;
    int fruitless = 0;
    for (int step = 0; step < steps && !budget_.is_over() && length > 0.01; ++step) {
      const double bound = evaluate(lists);
      if (bound > best) {
        if (bound > best + 1e-4 * (target - best)) fruitless = 0;
        best = bound;
        best_prices = prices_;
      }
      if (is_enough(best, target)) break;
      if (++fruitless >= 8) {
        length /= 2;
        fruitless = 0;
        prices_ = best_prices;
        std::ranges::fill(direction, 0.0);
        continue;
      }
      double norm = 0;
      for (std::size_t at = 0; at < lists.size(); ++at) {
        const std::size_t j = lists.task(at);
        direction[j] = (1 - static_cast<double>(placed_[j])) + 0.5 * direction[j];
        norm += direction[j] * direction[j];
      }
      if (norm <= 0) break;
      for (std::size_t at = 0; at < lists.size(); ++at)
        prices_[lists.task(at)] += length * std::max(target - bound, 1e-9) / norm * direction[lists.task(at)];
    }
    prices_ = best_prices;
    length_ = std::max(length, 0.1);
    return best;
  }

 private:
  bool is_enough(double bound, double target) const noexcept {
    return model_.is_integral() ? bound > target - 1 + 1e-6 : bound >= target;
  }

  void add(std::size_t task, std::uint32_t choice, std::span<const double> multipliers) {
    Entry entry{static_cast<std::uint32_t>(task), model_.cost(task, choice), 0};
    for (std::size_t r = 0; r < rows_.resources() && choice != model_.rejection(); ++r) {
      const std::size_t row = rows_.of(choice, r);
      const double use = model_.uses(task, choice)[r];
      if (rows_.is_plain(row))
        entry.weight += scale_[row] * use;
      else
        entry.cost += multipliers[row] * use;
    }
    for (const std::uint32_t g : model_.groups_of(task))
      if (choice != model_.rejection()) entry.cost += multipliers[rows_.of_group(g, choice)];
    by_choice_[choice].push_back(entry);
  }

  double evaluate(const ChoiceLists& lists) {
    double bound = constant_;
    for (std::size_t at = 0; at < lists.size(); ++at) {
      bound += prices_[lists.task(at)];
      placed_[lists.task(at)] = 0;
    }
    for (std::size_t i = 0; i < model_.choices(); ++i) {
      knapsack_.items.clear();
      for (const Entry& entry : by_choice_[i])
        if (const double profit = prices_[entry.task] - entry.cost; profit > 0)
          knapsack_.items.push_back({profit, entry.weight, entry.task});
      bound -= i == model_.rejection() ? take_all() : knapsack_.solve(capacity_[i]);
      for (const std::uint32_t task : knapsack_.chosen) ++placed_[task];
      (void)budget_.spend(by_choice_[i].size() + 8 * knapsack_.items.size() + 4 * knapsack_.steps());
    }
    return bound;
  }

  double take_all() {
    double profit = 0;
    knapsack_.chosen.clear();
    for (const Knapsack::Item& item : knapsack_.items) {
      profit += item.profit;
      knapsack_.chosen.push_back(item.task);
    }
    return profit;
  }

  struct Entry {
    std::uint32_t task;
    double cost, weight;
  };

  const PlacementModel& model_;
  const LoadRows& rows_;
  SolveBudget& budget_;
  Knapsack knapsack_;
  std::vector<std::vector<Entry>> by_choice_;
  std::vector<double> prices_, scale_, capacity_;
  std::vector<std::uint32_t> placed_;
  double constant_ = 0, length_ = 1;
};

}  // namespace aura::detail
