// The best placement and the best bound of one solve.
#pragma once

#include <aura/operational/placement/detail/search_state.hpp>
#include <aura/operational/placement/detail/solve_budget.hpp>
#include <aura/operational/placement/model.hpp>
#include <aura/operational/placement/solver.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

namespace aura::detail {

class SolveRecord {
 public:
  SolveRecord(const PlacementModel& model, const SolveBudget& budget) : model_(model), budget_(budget) {}

  bool has_best() const noexcept { return best_cost_ < infinity; }
  double best_cost() const noexcept { return best_cost_; }
  std::span<const std::uint32_t> best() const noexcept { return best_; }

  /// Nothing is left to do: the gap that was asked for is reached, or there is no placement, or the limits are reached.
  bool is_done() const noexcept { return is_proven() || infeasible_ || budget_.is_over(); }

  /// A bound that was computed, and so is off by its rounding.
  void prove(double bound) {
    if (bound >= infinity) return;
    bound = model_.is_integral() ? std::ceil(bound - 1e-6) : bound - 1e-9 * (1 + std::abs(bound));
    tell_bound(std::min(bound, best_cost_));
  }
  /// Everything cheaper was searched.
  void prove_best() {
    infeasible_ = !has_best();
    if (has_best()) tell_bound(best_cost_);
  }

  /// Keeps what stands in the state, where it is feasible and better.
  void keep(const SearchState& state) {
    if (!state.is_feasible()) return;
    const double cost = state.cost();
    if (cost >= best_cost_ - 1e-9 * (1 + std::abs(cost))) return;
    best_cost_ = cost;
    best_.assign(state.choices().begin(), state.choices().end());
    if (budget_.limits().progress != nullptr) budget_.limits().progress->found(placement(), cost);
  }

  SolveAnswer answer() const {
    SolveAnswer answer{.lower_bound = lower_bound_, .work = budget_.work()};
    if (infeasible_) {
      answer.status = SolveStatus::infeasible;
      answer.lower_bound = infinity;
      answer.reason = "no placement keeps within every capacity and group: all were searched";
    } else if (has_best()) {
      answer.status = is_proven() ? SolveStatus::optimal : SolveStatus::feasible;
      answer.placement = placement();
      answer.cost = best_cost_;
    } else {
      answer.reason = budget_.limits().is_cancelled() ? "cancelled before there was a placement"
                                                      : "the limits were reached before there was a placement";
    }
    return answer;
  }

 private:
  static constexpr double infinity = std::numeric_limits<double>::infinity();

  bool is_proven() const noexcept {
    if (!has_best()) return false;
    const double over = best_cost_ - lower_bound_;
    return over <= budget_.limits().gap * std::abs(best_cost_) || over <= 1e-9 * (1 + std::abs(best_cost_));
  }
  void tell_bound(double bound) {
    if (bound <= lower_bound_) return;
    lower_bound_ = bound;
    if (budget_.limits().progress != nullptr) budget_.limits().progress->proved(bound);
  }
  Placement placement() const {
    Placement placement;
    placement.reserve(best_.size());
    for (const std::uint32_t choice : best_) placement.push_back(model_.node_of(choice));
    return placement;
  }

  const PlacementModel& model_;
  const SolveBudget& budget_;
  std::vector<std::uint32_t> best_;
  double best_cost_ = infinity, lower_bound_ = -infinity;
  bool infeasible_ = false;
};

}  // namespace aura::detail
