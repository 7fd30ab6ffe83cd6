// The placement solver that comes with AURA: anytime, deterministic, with a proven bound.
#pragma once

#include <aura/operational/placement/detail/native_search.hpp>
#include <aura/operational/placement/detail/solve_memory.hpp>
#include <aura/operational/placement/model.hpp>
#include <aura/operational/placement/solver.hpp>

#include <cstdint>
#include <limits>
#include <span>

namespace aura {

struct NativeSolverOptions {
  std::uint64_t seed = 1;
};

/// Generalised assignment with several resources, convex load prices and groups, minimised.
///
/// - Bounds: Lagrangian relaxation of what tasks share (the bound of the linear relaxation), then of the assignment,
///   with a knapsack for each node, which is stronger.
/// - Placements: rounding of the relaxation; local search by shift, swap and ejection chain with adaptive penalties
///   (Yagiura, Ibaraki, Glover, INFORMS J. Computing 16, 2004); some nodes at a time, exactly; path relinking.
/// - Proof: depth-first branch and bound on the first bound, where time allows.
///
/// Multipliers and prices stay for the next call: where few tasks have changed, it starts with a good bound and around
/// these tasks. For the same calls,
/// seed and `work_max` the answer is the same everywhere; a deadline cuts the same course short.
/// Not to be called by two threads at once. Work is counted in choices looked at, some nanoseconds each; the limits are
/// looked at every 10,000 of them.
class NativeSolver {
 public:
  explicit NativeSolver(NativeSolverOptions options = {}) : options_(options) {}

  SolveAnswer solve(const PlacementModel& model, std::span<const NodeIndex> incumbent, const SolveLimits& limits) {
    if (model.infeasible()) {
      return {.status = SolveStatus::infeasible,
              .lower_bound = std::numeric_limits<double>::infinity(),
              .reason = *model.infeasible()};
    }
    if (model.tasks() == 0) return {.status = SolveStatus::optimal, .cost = 0, .lower_bound = 0};
    return detail::NativeSearch(model, limits, memory_, options_.seed).run(incumbent);
  }

  /// Forgets what earlier calls left.
  void reset() noexcept { memory_ = {}; }

 private:
  NativeSolverOptions options_;
  detail::SolveMemory memory_;
};

static_assert(solver<NativeSolver>);

}  // namespace aura
