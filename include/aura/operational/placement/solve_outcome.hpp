// What a solver answered, after a look at it: only what holds is handed on.
#pragma once

#include <aura/core/error.hpp>
#include <aura/operational/placement/error.hpp>
#include <aura/operational/placement/problem.hpp>
#include <aura/operational/placement/solver.hpp>
#include <aura/operational/placement/verifier.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <string>
#include <utility>

namespace aura {

struct SolveOutcome {
  SolveAnswer answer{};  ///< where it has a placement, the verifier has accepted it
  PlacementCost cost{};  ///< of that placement, by what for
  bool is_incumbent = false;  ///< the placement is the one that was there before
  bool was_abandoned = false;  ///< the solver had not answered by the deadline: this is what it had found until then
  std::optional<Error> error{};  ///< what was wrong with the solver's answer, which was put aside
};

namespace detail {

/// The answer where it holds, or the incumbent where that is cheaper, or all that there is. A bound is taken where no
/// placement that holds contradicts it.
inline SolveOutcome judge(const PlacementProblem& problem, SolveAnswer answer, const Placement& incumbent) {
  const PlacementVerifier verifier(problem);
  const auto kept = verifier.verify(incumbent);
  SolveOutcome outcome;
  if (answer.has_placement()) {
    const auto cost = verifier.verify(answer);
    if (cost && (!kept || cost->total() <= kept->total())) {
      outcome.answer = std::move(answer);
      outcome.cost = *cost;
      return outcome;
    }
    if (!cost) outcome.error = cost.error();
  }
  if (!kept) {
    if (outcome.error) answer = {.reason = std::string(outcome.error->message()), .work = answer.work};
    outcome.answer = std::move(answer);
    return outcome;
  }
  const double total = kept->total();
  if (!outcome.error && (answer.status == SolveStatus::infeasible ||
                         answer.lower_bound > total + 1e-6 * std::max(1.0, std::abs(total))))
    outcome.error = Error::fixed(placement_errc::bad_answer, ErrorClass::permanent,
                                 "the solver proves what the incumbent contradicts");
  if (outcome.error) {
    answer.lower_bound = -std::numeric_limits<double>::infinity();
    answer.reason = outcome.error->message();
  }
  if (outcome.error || answer.status != SolveStatus::optimal) answer.status = SolveStatus::feasible;
  answer.placement = incumbent;
  answer.cost = total;
  outcome.answer = std::move(answer);
  outcome.cost = *kept;
  outcome.is_incumbent = true;
  return outcome;
}

}  // namespace detail

}  // namespace aura
