// What can be wrong with a placement problem or with what a solver answers.
#pragma once

#include <aura/core/error.hpp>

#include <cstdint>
#include <string_view>

namespace aura {

/// Codes of the domain "placement".
enum class placement_errc : std::int32_t {
  bad_problem = 1,  ///< the description contradicts itself; the message names the task, node or group
  bad_answer = 2,   ///< an assignment that the verifier refused
  infeasible = 3,   ///< no placement keeps within the constraints
  stopped = 4,      ///< cancelled or out of time before there was any placement
  solver_failed = 5,
  unknown_node = 6,
  unknown_task = 7,
  refused = 8,      ///< admission: its promise could not be kept
  full = 9,         ///< a stated limit of tasks, nodes or classes
};
constexpr std::string_view error_domain(placement_errc) noexcept { return "placement"; }

}  // namespace aura
