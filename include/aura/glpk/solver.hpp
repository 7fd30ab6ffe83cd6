// Placements by GLPK, the exact integer program. GLPK is under GPLv3: a program that links aura::glpk and is passed on
// has to be passed on under the GPL, version 3. Nothing else in AURA needs it.
#pragma once

#include <aura/glpk/detail/environment.hpp>
#include <aura/glpk/detail/search.hpp>
#include <aura/operational/placement/integer_program.hpp>
#include <aura/operational/placement/model.hpp>
#include <aura/operational/placement/solver.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <utility>

namespace aura::glpk {

/// A watcher of GLPK's search, for cuts of one's own or to log it: see there for what it may do.
using Watcher = detail::Watcher;

struct GlpkOptions {
  Watcher watcher{};
};

/// Solves a model as an integer program: the relaxation by simplex, from the basis of the call before where the choices
/// are the same ones and only costs and demands have changed; then branch and cut, with the incumbent and with a
/// rounding of each relaxation handed in. Exact and, for `work_max` alone, deterministic; slow beside `NativeSolver`.
///
/// - Work is counted in simplex iterations. Deadline, cancellation and work are looked at every 100 iterations of the
///   relaxation and at each of GLPK's callbacks, which on large instances come every 3 to 46 ms: a caller who must have an
///   answer in time waits for it through `SolveSession`.
/// - A lower bound is GLPK's less 1e-6 of it (at least 1e-6), for GLPK's tolerances; rounded up where costs are whole.
///   So a gap of less than 2e-6 counts as none.
/// - Calls may come from different threads, one at a time. What is kept between them is no GLPK object: each call opens
///   the environment of its thread, and frees it. Where the thread has a GLPK environment already (the host's own, or
///   that of a solve within which this one is called), the call answers with the incumbent and says so.
/// - An error within GLPK ends the call, not the process: the answer is the best placement so far, and GLPK's words.
class GlpkSolver {
 public:
  using Options = GlpkOptions;

  GlpkSolver() = default;
  explicit GlpkSolver(Options options) : options_(options) {}

  SolveAnswer solve(const PlacementModel& model, std::span<const NodeIndex> incumbent, const SolveLimits& limits) {
    if (model.infeasible()) return infeasible(*model.infeasible());
    if (auto reason = overcommitted(model)) return infeasible(std::move(*reason));
    if (model.tasks() == 0) return {.status = SolveStatus::optimal, .cost = 0, .lower_bound = 0};
    const IntegerProgram program(model);
    if (program.coefficients() >= static_cast<std::size_t>(std::numeric_limits<int>::max()))
      return {.reason = "too large for GLPK: more than 2^31 coefficients"};
    detail::Search search(program, limits, options_.watcher, basis_);
    search.start_from(incumbent);
    detail::Environment environment;
    if (!environment.is_open()) return answer(search, "this thread has a GLPK environment already");
    if (!environment.run([&search] { search.run(); })) {
      basis_ = {};
      return answer(search, fmt::format("GLPK stopped with an error: {}", environment.heard()));
    }
    switch (search.end()) {
      case detail::Search::End::failed: return answer(search, fmt::format("GLPK failed with code {}", search.code()));
      case detail::Search::End::infeasible:
        if (!search.has_placement()) return infeasible("no placement keeps within all capacities and groups");
        return answer(search, "GLPK found no placement where there is one");
      case detail::Search::End::exhausted:
        return answer(search, "what GLPK finds cheapest keeps the constraints only within its tolerances");
      case detail::Search::End::limits: break;
    }
    return answer(search, "the limits were reached");
  }

 private:
  static SolveAnswer infeasible(std::string reason) {
    return {.status = SolveStatus::infeasible, .reason = std::move(reason)};
  }

  static SolveAnswer answer(const detail::Search& search, std::string reason) {
    SolveAnswer answer{.lower_bound = search.lower_bound(), .work = search.work()};
    if (search.has_placement()) {
      answer.status = search.is_gap_reached() ? SolveStatus::optimal : SolveStatus::feasible;
      answer.placement = search.placement();
      answer.cost = search.cost();
    }
    if (answer.status != SolveStatus::optimal) answer.reason = std::move(reason);
    return answer;
  }

  /// What must be placed demands more of a resource than there is, wherever it goes.
  static std::optional<std::string> overcommitted(const PlacementModel& model) {
    for (std::size_t r = 0; r < model.resources(); ++r) {
      double least = 0, capacity = 0;
      for (std::size_t j = 0; j < model.tasks(); ++j) {
        if (model.allowed(j, model.rejection())) continue;
        double demand = std::numeric_limits<double>::infinity();
        for (std::size_t i = 0; i < model.nodes(); ++i)
          if (model.allowed(j, i)) demand = std::min(demand, model.demand(j, i, r));
        least += demand;
      }
      for (std::size_t i = 0; i < model.nodes(); ++i) capacity += model.price(i, r).capacity();
      if (least > capacity * (1 + 2 * capacity_tolerance))
        return fmt::format("what must be placed demands at least {} of resource {}, and all nodes together have {}",
                           least, r, capacity);
    }
    return std::nullopt;
  }

  Options options_{};
  detail::Basis basis_;
};

static_assert(solver<GlpkSolver>);

}  // namespace aura::glpk
