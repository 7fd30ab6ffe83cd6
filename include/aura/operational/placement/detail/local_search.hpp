// Local search by shift, swap and ejection chain, through infeasible placements with adaptive penalties.
#pragma once

#include <aura/core/random.hpp>
#include <aura/operational/placement/detail/choice_lists.hpp>
#include <aura/operational/placement/detail/dual_bound.hpp>
#include <aura/operational/placement/detail/search_state.hpp>
#include <aura/operational/placement/detail/solve_budget.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

namespace aura::detail {

/// The neighbourhoods of Yagiura, Ibaraki and Glover (INFORMS J. Computing 16, 2004): a task moves; two tasks change
/// places; a task moves and pushes another one out, which goes elsewhere. Only choices that the multipliers make likely
/// are tried (`near`).
class LocalSearch {
 public:
  LocalSearch(SearchState& state, SolveBudget& budget, Random& random)
      : state_(state),
        budget_(budget),
        random_(random),
        exits_(state.model().tasks()),
        away_(state.model().tasks()),
        waiting_(state.model().tasks(), 0) {}

  /// The choices worth trying, by task, the likeliest first.
  std::vector<std::vector<std::uint32_t>> near;

  /// Descends until no neighbour of any task in question is better, or the budget is spent. Without `tasks`: all.
  void descend() {
    for (std::size_t j = 0; j < waiting_.size(); ++j) wake(j);
    shuffle();
    work_off();
  }
  /// The same from a few tasks, where all others are at rest.
  void descend(std::span<const std::uint32_t> tasks) {
    for (const std::uint32_t j : tasks) wake(j);
    work_off();
  }

  /// Looks at choices in the order of their reduced costs from now on, the `near_max` best of each task. Weights must
  /// not be below the multipliers.
  void guide(const DualBound& dual, std::span<const double> multipliers, const ChoiceLists& lists,
             std::size_t near_max) {
    const PlacementModel& model = state_.model();
    multipliers_.assign(multipliers.begin(), multipliers.end());
    reduced_.assign(model.tasks() * model.choices(), std::numeric_limits<double>::infinity());
    for (auto& choices : near) choices.clear();
    near.resize(model.tasks());
    for (std::size_t at = 0; at < lists.size(); ++at) {
      const std::size_t task = lists.task(at);
      double* const reduced = &reduced_[task * model.choices()];
      auto& choices = near[task];
      choices.assign(lists.of(at).begin(), lists.of(at).end());
      for (const std::uint32_t i : choices) reduced[i] = dual.reduced_cost(task, i, multipliers);
      const auto cheaper = [reduced](std::uint32_t a, std::uint32_t b) { return reduced[a] < reduced[b]; };
      const std::size_t kept = std::min(near_max, choices.size());
      std::partial_sort(choices.begin(), choices.begin() + static_cast<std::ptrdiff_t>(kept), choices.end(), cheaper);
      choices.resize(kept);
    }
    floor_.resize(multipliers_.size());
    for (std::size_t row = 0; row < floor_.size(); ++row) {
      double where = 0;
      floor_[row] = -state_.rows().price(row).conjugate(multipliers_[row], state_.rows().load_max(row), where);
    }
    refresh();
  }
  /// After the state was changed by others.
  void refresh() {
    grouped_ = state_.model().groups() > 0;
    for (std::size_t j = 0; j < away_.size(); ++j) set_away(j);
    ++version_;
  }
  /// At the multipliers of `guide`; infinite for what its lists did not have.
  double reduced(std::size_t task, std::size_t choice) const noexcept {
    return reduced_[task * state_.model().choices() + choice];
  }

  /// How far the rows of a choice are above the least that they can cost at the multipliers' prices.
  double relief_of(std::uint32_t choice) const noexcept {
    double relief = 0;
    for (std::size_t r = 0; r < state_.rows().resources(); ++r) {
      const std::size_t row = state_.rows().of(choice, r);
      const double load = state_.load(row);
      relief += state_.row_cost(row, load) - multipliers_[row] * load - floor_[row];
    }
    return relief;
  }

 private:
  /// The cheapest way out for a task, and the second cheapest, to another choice.
  struct Exit {
    std::uint64_t version = 0;
    std::uint32_t to[2] = {SearchState::nowhere, SearchState::nowhere};
    double enter[2] = {};
  };
  struct Best {
    double change = 0;
    std::uint32_t to = SearchState::nowhere, other = SearchState::nowhere, other_to = SearchState::nowhere;
  };
  static constexpr double least_gain = 1e-9;

  void put(std::size_t task, std::uint32_t to) {
    state_.move(task, to);
    set_away(task);
    ++version_;
  }
  void set_away(std::size_t task) {
    double least = std::numeric_limits<double>::infinity();
    for (const std::uint32_t i : near[task])
      if (i != state_.choice(task)) least = std::min(least, reduced(task, i));
    away_[task] = least;
  }

  void wake(std::size_t task) {
    if (waiting_[task]) return;
    waiting_[task] = 1;
    queue_.push_back(static_cast<std::uint32_t>(task));
  }
  /// Those of a node have something new to look at.
  void wake_node(std::size_t choice) {
    for (const std::uint32_t k : state_.members(choice)) wake(k);
  }
  void shuffle() {
    for (std::size_t k = queue_.size(); k > 1; --k) std::swap(queue_[k - 1], queue_[random_.below(k)]);
  }

  void work_off() {
    for (std::size_t at = 0; at < queue_.size(); ++at) {
      const std::uint32_t task = queue_[at];
      waiting_[task] = 0;
      if (budget_.is_over()) continue;
      const Best best = look(task);
      if (best.to == SearchState::nowhere) continue;
      carry_out(task, best);
      if (at > 4096 && at * 2 > queue_.size()) {
        queue_.erase(queue_.begin(), queue_.begin() + static_cast<std::ptrdiff_t>(at) + 1);
        at = static_cast<std::size_t>(-1);
      }
    }
    queue_.clear();
  }

  void carry_out(std::uint32_t task, const Best& best) {
    const std::uint32_t from = state_.choice(task);
    if (best.other != SearchState::nowhere) {
      wake(best.other);
      put(best.other, best.other_to);
      wake_node(best.other_to);
    }
    put(task, best.to);
    wake(task);
    wake_node(from);
    wake_node(best.to);
  }

  Best look(std::uint32_t task) {
    const PlacementModel& model = state_.model();
    const std::uint32_t from = state_.choice(task);
    const bool alone = model.groups_of(task).empty();
    const double here = model.cost(task, from);
    const double leave = state_.leave(task);
    Best best{.change = -least_gain * (1 + std::abs(leave))};
    std::size_t work = near[task].size();
    for (const std::uint32_t to : near[task]) {
      if (to == from) continue;
      if (const double change = leave + state_.enter(task, to); change < best.change) best = {change, to};
    }
    if (best.to != SearchState::nowhere) return best;  // most do not get further while there is much to gain
    for (const std::uint32_t to : near[task]) {
      if (to == from) continue;
      const Shift shift{task, from, to, leave + here, leave + model.cost(task, to)};
      // At the multipliers' prices a row can be relieved of so much at most: where that is not enough, nothing needs
      // to be looked at closely.
      const double least = reduced(task, to) - reduced(task, from) - relief_of(from) - relief_of(to);
      const auto members = state_.members(to);
      work += 4 * members.size();
      if (!alone || grouped_) {
        scratch_.assign(members.begin(), members.end());  // trying moves members about
        for (const std::uint32_t other : scratch_) {
          if (alone && model.groups_of(other).empty())
            look_pair(shift, other, least, best);
          else
            look_grouped(shift, other, best);
        }
      } else {
        for (const std::uint32_t other : members) look_pair(shift, other, least, best);
      }
      if (best.to != SearchState::nowhere) break;
    }
    (void)budget_.spend(work);
    return best;
  }

  struct Shift {
    std::uint32_t task, from, to;
    double left;  ///< what the rows of `from` gain
    double arrive;  ///< everything but the rows of `to`
  };

  /// The task takes the place of `other`, which goes to `from` or to its cheapest third choice.
  [[gnu::always_inline]] void look_pair(const Shift& shift, std::uint32_t other, double least, Best& best) {
    const auto& [task, from, to, left, arrive] = shift;
    const PlacementModel& model = state_.model();
    const double* const costs = model.costs(other).data();
    const double saved = least - reduced(other, to);
    // What leaving `from` gains is changed by what `other` brings there: both at once.
    if (saved + reduced(other, from) < best.change) {
      const double swap = arrive - left + state_.exchange(to, task, other) - costs[to] + costs[from] +
                          state_.exchange(from, other, task);
      if (swap < best.change) best = {swap, to, other, from};
    }
    if (saved + away_[other] >= best.change) return;
    const Exit& exit = exit_of(other);
    const int which = exit.to[0] == from ? 1 : 0;
    if (exit.to[which] == SearchState::nowhere) return;
    const double chain = arrive + state_.exchange(to, task, other) - costs[to] + exit.enter[which];
    if (chain < best.change) best = {chain, to, other, exit.to[which]};
  }

  /// The same where groups are involved, by trying: `other` goes first, then `task`.
  void look_grouped(const Shift& shift, std::uint32_t other, Best& best) {
    const auto& [task, from, to, left, arrive] = shift;
    const double out = state_.leave(other);
    const auto try_to = [&, task = task, from = from, to = to](std::uint32_t away) {
      if (away == SearchState::nowhere || !state_.model().allowed(other, away)) return;
      state_.take(other);
      double change = out + state_.enter(other, away);
      state_.put(other, away);
      change += state_.leave(task);
      state_.take(task);
      change += state_.enter(task, to);
      state_.put(task, from);
      state_.move(other, to);
      if (change < best.change) best = {change, to, other, away};
    };
    try_to(from);
    const Exit& exit = exit_of(other);
    try_to(exit.to[exit.to[0] == from ? 1 : 0]);
  }

  const Exit& exit_of(std::uint32_t task) {
    Exit& exit = exits_[task];
    if (exit.version == version_) return exit;
    exit = {.version = version_};
    const std::uint32_t at = state_.choice(task);
    for (const std::uint32_t to : near[task]) {
      if (to == at) continue;
      const double enter = state_.enter(task, to);
      if (exit.to[0] == SearchState::nowhere || enter < exit.enter[0]) {
        exit.to[1] = exit.to[0], exit.enter[1] = exit.enter[0];
        exit.to[0] = to, exit.enter[0] = enter;
      } else if (exit.to[1] == SearchState::nowhere || enter < exit.enter[1]) {
        exit.to[1] = to, exit.enter[1] = enter;
      }
    }
    (void)budget_.spend(near[task].size());
    return exit;
  }

  SearchState& state_;
  SolveBudget& budget_;
  Random& random_;
  std::vector<Exit> exits_;
  std::vector<double> away_;  ///< the least reduced cost of any other choice than its own
  std::vector<double> multipliers_, reduced_, floor_;
  std::vector<char> waiting_;
  std::vector<std::uint32_t> queue_, scratch_;
  std::uint64_t version_ = 1;
  bool grouped_ = false;
};

}  // namespace aura::detail
