// A lower bound by Lagrangian relaxation of everything that tasks share, and the ascent that makes it good.
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
#include <numeric>
#include <span>
#include <vector>

namespace aura::detail {

/// With a multiplier for each row of load, tasks decide alone: each takes the choice with the least reduced cost, and
/// each row takes the load that is best for it at that price. For any multipliers that are not negative
///     L = Σ_tasks min_choice reduced cost  +  Σ_rows min_load (price(load) − multiplier · (load − base))
/// is at most the cost of any placement, and its maximum is the bound of the linear relaxation. (Fisher, Management
/// Science 27, 1981.) `base` is the load of tasks that are settled already.
class DualBound {
 public:
  /// Where only some rows have a say, `set_active` names them: those that the tasks of the lists can touch.
  DualBound(const PlacementModel& model, const LoadRows& rows)
      : model_(model),
        rows_(rows),
        load_(rows.size()),
        wanted_(rows.size()),
        best_(model.tasks()),
        least_(model.tasks()),
        active_(rows.size()) {
    std::iota(active_.begin(), active_.end(), 0U);
  }

  void set_active(std::span<const std::uint32_t> rows) { active_.assign(rows.begin(), rows.end()); }
  std::span<const std::uint32_t> active() const noexcept { return active_; }

  /// The cost of a choice at these multipliers.
  double reduced_cost(std::size_t task, std::size_t choice, std::span<const double> multipliers) const noexcept {
    const double* const uses = model_.uses(task, choice);
    double cost = model_.cost(task, choice);
    for (std::size_t r = 0; r < rows_.resources(); ++r) cost += multipliers[rows_.of(choice, r)] * uses[r];
    for (const std::uint32_t g : model_.groups_of(task)) cost += multipliers[rows_.of_group(g, choice)];
    return cost;
  }

  /// L, without the cost of what is settled. Afterwards `best`, `least` and `slope` speak of these multipliers.
  /// O(choices of the lists + rows).
  double evaluate(const ChoiceLists& lists, std::span<const double> multipliers, std::span<const double> base) {
    for (const std::uint32_t row : active_) load_[row] = base[row];
    double bound = 0;
    for (std::size_t at = 0; at < lists.size(); ++at) bound += take_best(lists, at, multipliers);
    for (const std::uint32_t row : active_) bound -= value_of_row(row, multipliers[row], base[row]);
    return bound;
  }

  std::size_t best(std::size_t task) const noexcept { return best_[task]; }  ///< the choice it took
  double least(std::size_t task) const noexcept { return least_[task]; }  ///< its reduced cost
  double load(std::size_t row) const noexcept { return load_[row]; }  ///< were all choices taken
  double slope(std::size_t row) const noexcept { return load_[row] - wanted_[row]; }  ///< of L in that multiplier

 private:
  double take_best(const ChoiceLists& lists, std::size_t at, std::span<const double> multipliers) noexcept {
    const std::size_t task = lists.task(at);
    double least = std::numeric_limits<double>::infinity();
    std::uint32_t best = 0;
    const auto look = [&](std::uint32_t choice, double cost) {
      if (cost < least) least = cost, best = choice;
    };
    if (rows_.resources() == 1 && model_.groups_of(task).empty()) {
      const double* const costs = model_.costs(task).data();
      const double* const uses = model_.uses(task, 0);
      for (const std::uint32_t i : lists.of(at)) look(i, costs[i] + multipliers[i] * uses[i]);
    } else {
      for (const std::uint32_t i : lists.of(at)) look(i, reduced_cost(task, i, multipliers));
    }
    best_[task] = best;
    least_[task] = least;
    const double* const uses = model_.uses(task, best);
    for (std::size_t r = 0; r < rows_.resources(); ++r) load_[rows_.of(best, r)] += uses[r];
    for (const std::uint32_t g : model_.groups_of(task)) load_[rows_.of_group(g, best)] += 1;
    return least;
  }

  /// max over base ≤ load ≤ end of multiplier · (load − base) − price(load), and the load that attains it.
  double value_of_row(std::size_t row, double multiplier, double base) noexcept {
    const double end = std::max(base, std::min(rows_.capacity(row), rows_.load_max(row)));
    if (rows_.is_plain(row)) {
      wanted_[row] = end;
      return multiplier > 0 ? multiplier * (end - base) : 0;
    }
    double where = 0;
    rows_.price(row).conjugate(multiplier, end, where);
    wanted_[row] = std::max(base, where);
    return multiplier * (wanted_[row] - base) - rows_.price_at(row, wanted_[row]);
  }

  const PlacementModel& model_;
  const LoadRows& rows_;
  std::vector<double> load_, wanted_;
  std::vector<std::uint32_t> best_;
  std::vector<double> least_;
  std::vector<std::uint32_t> active_;
};

/// Climbs by deflected subgradient steps of Polyak's length (Camerini, Fratta, Maffioli, Math. Prog. Study 3, 1975).
class DualAscent {
 public:
  std::vector<double> multipliers;  ///< of the latest evaluation
  std::vector<double> best_multipliers;  ///< of the best bound
  double bound = -std::numeric_limits<double>::infinity();  ///< the best so far, without what is settled

  /// From these multipliers on. Bounds of another problem are forgotten.
  void start(std::span<const double> from, double step = 1) {
    multipliers.assign(from.begin(), from.end());
    best_multipliers.assign(from.begin(), from.end());
    direction_.assign(from.size(), 0.0);
    bound = -std::numeric_limits<double>::infinity();
    set_step(step);
  }
  bool is_slow() const noexcept { return step_ < 0.02; }
  void set_step(double step) noexcept { step_ = step, fruitless_ = 0; }

  /// One evaluation and one step. `target`: about what the bound may reach, the cost of the incumbent.
  double step(DualBound& dual, const ChoiceLists& lists, std::span<const double> base, double target) {
    const double value = dual.evaluate(lists, multipliers, base);
    if (value > bound) {
      if (value > bound + 1e-4 * (target - bound)) fruitless_ = 0;
      bound = value;
      best_multipliers = multipliers;
    }
    if (++fruitless_ >= patience) {
      step_ /= 2;
      fruitless_ = 0;
      multipliers = best_multipliers;
      std::ranges::fill(direction_, 0.0);
      return value;
    }
    move(dual, std::max(target - value, 1e-6 * std::abs(target) + 1e-9));
    return value;
  }

 private:
  static constexpr int patience = 12;

  void move(const DualBound& dual, double distance) {
    double norm = 0;
    for (const std::uint32_t row : dual.active()) {
      const double slope = dual.slope(row);
      direction_[row] = slope + deflection * direction_[row];
      if (multipliers[row] <= 0 && direction_[row] < 0) direction_[row] = 0;
      norm += direction_[row] * direction_[row];
    }
    if (norm <= 0) return;
    const double length = step_ * distance / norm;
    for (const std::uint32_t row : dual.active())
      multipliers[row] = std::max(0.0, multipliers[row] + length * direction_[row]);
  }
  static constexpr double deflection = 0.6;

  std::vector<double> direction_;
  double step_ = 1;
  int fruitless_ = 0;
};

}  // namespace aura::detail
