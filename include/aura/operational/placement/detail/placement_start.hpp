// Ways to begin: from an incumbent, or by rounding what the bound's tasks chose on average.
#pragma once

#include <aura/core/random.hpp>
#include <aura/operational/placement/detail/dual_bound.hpp>
#include <aura/operational/placement/detail/load_rows.hpp>
#include <aura/operational/placement/detail/local_search.hpp>
#include <aura/operational/placement/detail/search_state.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <utility>
#include <vector>

namespace aura::detail {

/// What tasks chose in the ascent, later steps weighing more: close to the solution of the linear relaxation, as in the
/// volume algorithm (Barahona, Anbil, Math. Programming 87, 2000).
class RoundedDual {
 public:
  void clear(const PlacementModel& model) {
    choices_ = model.choices();
    share_.assign(model.tasks() * choices_, 0.0);
    weight_ = 1;
    total_ = 0;
  }
  void add(const DualBound& dual) {
    for (std::size_t j = 0; j * choices_ < share_.size(); ++j) share_[j * choices_ + dual.best(j)] += weight_;
    total_ += weight_;
    weight_ *= 1.05;
    if (weight_ < 1e100) return;
    for (double& share : share_) share /= weight_;
    total_ /= weight_;
    weight_ = 1;
  }
  double share(std::size_t task, std::size_t choice) const noexcept {
    return total_ > 0 ? share_[task * choices_ + choice] / total_ : 0;
  }

 private:
  std::size_t choices_ = 0;
  std::vector<double> share_;
  double weight_ = 1, total_ = 0;
};

class PlacementStart {
 public:
  PlacementStart(SearchState& state, Random& random) : state_(state), random_(random), scale_(scales(state)) {}

  /// What a unit beyond a capacity costs the search: somewhat more than its multiplier, and at least a share of what
  /// a unit is worth on average.
  void set_weights(std::span<const double> multipliers, double scale_share = 0.2) {
    for (std::size_t row = 0; row < state_.weight.size(); ++row)
      state_.weight[row] = std::max(multipliers[row] * 1.05, scale_share * scale_[row]);
  }
  /// Raises it where a row is overloaded. `touched`: the tasks there.
  void raise_weights(std::vector<std::uint32_t>& touched) {
    const LoadRows& rows = state_.rows();
    const std::size_t choices = state_.model().choices();
    touched.clear();
    for (std::size_t row = 0; row < rows.size(); ++row) {
      if (state_.fits(row)) continue;
      state_.weight[row] *= 1.3;
      const std::size_t first_group = rows.resources() * choices;
      const std::size_t choice = row < first_group ? row / rows.resources() : (row - first_group) % choices;
      const auto members = state_.members(choice);
      touched.insert(touched.end(), members.begin(), members.end());
    }
  }

  /// As the incumbent has it; tasks that it leaves open, or puts where they may not be, go where they cost least.
  void from(std::span<const NodeIndex> incumbent) {
    const PlacementModel& model = state_.model();
    std::vector<std::uint32_t> open;
    for (std::uint32_t j = 0; j < model.tasks(); ++j) {
      const std::size_t choice = j < incumbent.size() ? model.choice_of(incumbent[j]) : model.choices();
      if (choice < model.choices() && model.allowed(j, choice))
        state_.put(j, static_cast<std::uint32_t>(choice));
      else
        open.push_back(j);
    }
    for (const std::uint32_t j : open) put_cheapest(j);
  }

  /// What is nearly decided is decided, and the rest, in any order, goes where it costs least.
  /// `drawn`: by lot instead, as often as the tasks chose it.
  void by_average(const RoundedDual& average, const LocalSearch& local, bool drawn) {
    std::vector<std::uint32_t> open;
    const std::size_t tasks = state_.model().tasks();
    for (std::size_t j = 0; j < tasks; ++j) state_.take(j);
    for (std::uint32_t j = 0; j < tasks; ++j) {
      const auto& near = local.near[j];
      const auto most = std::ranges::max_element(near, {}, [&](std::uint32_t i) { return average.share(j, i); });
      if (average.share(j, *most) > 0.9)
        state_.put(j, *most);
      else
        open.push_back(j);
    }
    for (std::size_t k = open.size(); k > 1; --k) std::swap(open[k - 1], open[random_.below(k)]);
    for (const std::uint32_t j : open) {
      if (drawn)
        put_drawn(j, average, local);
      else
        put_best(j, local);
    }
  }

 private:
  void put_drawn(std::uint32_t task, const RoundedDual& average, const LocalSearch& local) {
    double lot = random_.uniform();
    const auto& near = local.near[task];
    std::uint32_t chosen = near.front();
    for (const std::uint32_t i : near) {
      if (average.share(task, i) <= 0) continue;
      chosen = i;
      lot -= average.share(task, i);
      if (lot < 0) break;
    }
    state_.put(task, chosen);
  }
  void put_cheapest(std::uint32_t task) {
    double least = std::numeric_limits<double>::infinity();
    std::uint32_t best = 0;
    for (std::uint32_t i = 0; i < state_.model().choices(); ++i) {
      if (!state_.model().allowed(task, i)) continue;
      if (const double cost = state_.enter(task, i); cost < least) least = cost, best = i;
    }
    state_.put(task, best);
  }
  /// By what it costs now and by what its room is worth to others.
  void put_best(std::uint32_t task, const LocalSearch& local) {
    double least = std::numeric_limits<double>::infinity();
    std::uint32_t best = local.near[task].front();
    for (const std::uint32_t i : local.near[task]) {
      const double cost = state_.enter(task, i) + local.reduced(task, i) - state_.model().cost(task, i);
      if (cost < least) least = cost, best = i;
    }
    state_.put(task, best);
  }

  /// What a unit of each row is worth about: how much choices differ in cost, by how much a task uses.
  static std::vector<double> scales(const SearchState& state) {
    const PlacementModel& model = state.model();
    const LoadRows& rows = state.rows();
    double spread = 0;
    for (std::size_t j = 0; j < model.tasks(); ++j) {
      double least = std::numeric_limits<double>::infinity(), sum = 0;
      int count = 0;
      for (const double cost : model.costs(j))
        if (cost < PlacementModel::forbidden) least = std::min(least, cost), sum += cost, ++count;
      if (count > 0) spread += sum / count - least;
    }
    const auto tasks = static_cast<double>(std::max<std::size_t>(1, model.tasks()));
    spread = std::max(spread / tasks, 1e-3);
    std::vector<double> scale(rows.size(), spread);
    for (std::size_t row = 0; row < rows.resources() * model.choices(); ++row)
      if (rows.load_max(row) > 0) scale[row] = spread * tasks / rows.load_max(row);
    return scale;
  }

  SearchState& state_;
  Random& random_;
  std::vector<double> scale_;
};

}  // namespace aura::detail
