// What can be wrong with a run or with what is asked of it.
#pragma once

#include <cstdint>
#include <string_view>

namespace aura {

/// Codes of the domain "saga".
enum class saga_errc : std::int32_t {
  unknown_run = 1,           ///< no such run here (permanent)
  different_input = 2,       ///< the run was started before, with another input or definition (permanent)
  definition_missing = 3,    ///< (permanent) the run is held until its definition is registered
  definition_differs = 4,    ///< (permanent) the run is held: the registered definition has another fingerprint
  past_pivot = 5,            ///< cannot be cancelled any more (permanent)
  not_stuck = 6,             ///< there is nothing for an operator to resolve (permanent)
  result_needed = 7,         ///< a later step takes this step's result: supply one instead (permanent)
  ended = 8,                 ///< the run has ended (permanent)
  bad_history = 9,           ///< records that no engine wrote (permanent)
  step_deadline = 10,        ///< (timeout)
  run_deadline = 11,         ///< (timeout)
  interrupted_often = 12,    ///< (transient) the step was running each time its process died
  too_many_runs = 13,        ///< the runner's bound (rejected)
  draining = 14,             ///< (rejected)
  lost_run = 15,             ///< someone else drives the run now (permanent)
  not_recovered = 16,        ///< `recover` has not been called yet (permanent)
  duplicate_definition = 17, ///< name and version are registered already, with another fingerprint (permanent)
  bad_definition = 18,       ///< (permanent)
};
constexpr std::string_view error_domain(saga_errc) noexcept { return "saga"; }

}  // namespace aura
