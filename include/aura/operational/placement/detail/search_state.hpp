// A placement under construction: where each task is, what each row bears, and what a change would cost.
#pragma once

#include <aura/operational/placement/detail/load_rows.hpp>
#include <aura/operational/placement/model.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace aura::detail {

/// Capacities may be exceeded, at a price for each unit and row, so that a search can pass through what is not allowed.
/// A task has no choice before it is put somewhere.
class SearchState {
 public:
  static constexpr std::uint32_t nowhere = UINT32_MAX;

  SearchState(const PlacementModel& model, const LoadRows& rows)
      : model_(&model),
        rows_(&rows),
        choice_(model.tasks(), nowhere),
        position_(model.tasks(), 0),
        members_(model.choices()),
        load_(rows.size(), 0.0),
        plain_(model.resources() == 1 && model.groups() == 0 && model.is_separable()),
        weight(rows.size(), 0.0) {}

  const PlacementModel& model() const noexcept { return *model_; }
  const LoadRows& rows() const noexcept { return *rows_; }
  std::uint32_t choice(std::size_t task) const noexcept { return choice_[task]; }
  std::span<const std::uint32_t> choices() const noexcept { return choice_; }
  std::span<const std::uint32_t> members(std::size_t choice) const noexcept { return members_[choice]; }
  double load(std::size_t row) const noexcept { return load_[row]; }
  std::span<const double> loads() const noexcept { return load_; }

  void put(std::size_t task, std::uint32_t choice) {
    position_[task] = static_cast<std::uint32_t>(members_[choice].size());
    members_[choice].push_back(static_cast<std::uint32_t>(task));
    choice_[task] = choice;
    add_load(task, choice, 1);
  }
  void take(std::size_t task) noexcept {
    const std::uint32_t from = choice_[task];
    auto& members = members_[from];
    members[position_[task]] = members.back();
    position_[members.back()] = position_[task];
    members.pop_back();
    choice_[task] = nowhere;
    add_load(task, from, -1);
  }
  void move(std::size_t task, std::uint32_t to) {
    take(task);
    put(task, to);
  }

  /// What a row costs at that load: its price, and its weight for each unit beyond the capacity.
  double row_cost(std::size_t row, double load) const noexcept {
    const double over = load - rows_->capacity(row);
    const double penalty = over > 0 ? over * weight[row] : 0;
    return rows_->is_plain(row) ? penalty : penalty + rows_->price_at(row, load);
  }

  /// What the cost, with penalties, becomes less or more by. The task is there, or is not, respectively.
  double leave(std::size_t task) const noexcept {
    const std::uint32_t at = choice_[task];
    return -model_->cost(task, at) + change(task, at, -1);
  }
  double enter(std::size_t task, std::uint32_t to) const noexcept {
    return model_->cost(task, to) + change(task, to, 1);
  }

  /// The task `in` for the task `out` at `at`, as far as the rows there go. Neither is in a group.
  double exchange(std::uint32_t at, std::size_t in, std::size_t out) const noexcept {
    const double* const more = model_->uses(in, at);
    const double* const less = model_->uses(out, at);
    if (plain_) return over_cost(at, load_[at] + *more - *less) - over_cost(at, load_[at]);
    double difference = 0;
    for (std::size_t r = 0; r < rows_->resources(); ++r) {
      const std::size_t row = rows_->of(at, r);
      difference += row_cost(row, load_[row] + more[r] - less[r]) - row_cost(row, load_[row]);
    }
    return difference;
  }

  bool fits(std::size_t row) const noexcept { return rows_->price(row).fits(load_[row]); }
  bool would_fit(std::size_t task, std::size_t choice) const noexcept {
    const double* const uses = model_->uses(task, choice);
    for (std::size_t r = 0; r < rows_->resources(); ++r) {
      const std::size_t row = rows_->of(choice, r);
      if (!rows_->price(row).fits(load_[row] + uses[r])) return false;
    }
    for (const std::uint32_t g : model_->groups_of(task)) {
      const std::size_t row = rows_->of_group(g, choice);
      if (load_[row] + 1 > rows_->capacity(row)) return false;
    }
    return true;
  }
  bool is_feasible() const noexcept {
    for (std::size_t row = 0; row < load_.size(); ++row)
      if (!fits(row)) return false;
    return true;
  }

  /// The true cost, without penalties, of a placement that is whole. Sums anew. O(tasks + rows).
  double cost() const noexcept {
    double cost = 0;
    for (std::size_t j = 0; j < choice_.size(); ++j) cost += model_->cost(j, choice_[j]);
    for (std::size_t row = 0; row < load_.size(); ++row) cost += rows_->price_at(row, load_[row]);
    return cost;
  }
  double penalty() const noexcept {
    double penalty = 0;
    for (std::size_t row = 0; row < load_.size(); ++row)
      penalty += weight[row] * std::max(0.0, load_[row] - rows_->capacity(row));
    return penalty;
  }

  /// Puts every task where `choices` says, and sums loads anew, which undoes what rounding did to them.
  void assign(std::span<const std::uint32_t> choices) {
    for (auto& members : members_) members.clear();
    std::ranges::fill(load_, 0.0);
    std::ranges::fill(choice_, nowhere);
    for (std::size_t j = 0; j < choices.size(); ++j)
      if (choices[j] != nowhere) put(j, choices[j]);
  }

 private:
  /// A row without a price.
  double over_cost(std::size_t row, double load) const noexcept {
    const double over = load - rows_->capacity(row);
    return over > 0 ? over * weight[row] : 0;
  }
  double change(std::size_t task, std::uint32_t at, double sign) const noexcept {
    const double* const uses = model_->uses(task, at);
    if (plain_) return over_cost(at, load_[at] + sign * *uses) - over_cost(at, load_[at]);
    double difference = 0;
    for (std::size_t r = 0; r < rows_->resources(); ++r) {
      const std::size_t row = rows_->of(at, r);
      difference += row_cost(row, load_[row] + sign * uses[r]) - row_cost(row, load_[row]);
    }
    for (const std::uint32_t g : model_->groups_of(task)) {
      const std::size_t row = rows_->of_group(g, at);
      difference += row_cost(row, load_[row] + sign) - row_cost(row, load_[row]);
    }
    return difference;
  }
  void add_load(std::size_t task, std::size_t at, double sign) noexcept {
    const double* const uses = model_->uses(task, at);
    for (std::size_t r = 0; r < rows_->resources(); ++r) load_[rows_->of(at, r)] += sign * uses[r];
    for (const std::uint32_t g : model_->groups_of(task)) load_[rows_->of_group(g, at)] += sign;
  }

  const PlacementModel* model_;
  const LoadRows* rows_;
  std::vector<std::uint32_t> choice_, position_;
  std::vector<std::vector<std::uint32_t>> members_;
  std::vector<double> load_;
  bool plain_;  ///< one resource and no prices of load: the common case, and several times quicker

 public:
  std::vector<double> weight;  ///< by row: for each unit beyond the capacity
};

}  // namespace aura::detail
