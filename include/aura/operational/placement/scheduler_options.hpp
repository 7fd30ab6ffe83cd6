// How a scheduler runs its core, and what it tells of itself.
#pragma once

#include <aura/core/error.hpp>
#include <aura/core/time.hpp>
#include <aura/operational/placement/schedule_event.hpp>
#include <aura/operational/placement/schedule_options.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>

namespace aura {

struct SchedulerOptions {
  ScheduleOptions schedule{};
  /// From the end of one optimisation to the next, while there are tasks. Zero: none.
  Duration period = std::chrono::milliseconds(100);
  Duration budget = std::chrono::milliseconds(20);  ///< that a solver has for one
  double gap = 0.01;  ///< a proven gap that is good enough to stop
  std::uint64_t work_max =
      std::numeric_limits<std::uint64_t>::max();  ///< in the solver's own units: for virtual time
};

/// What an observer may hear of: these, and `ScheduleApplied` after each optimisation. `TaskRefused` comes under the
/// scheduler's lock, so do not call the scheduler from it.
struct TaskRefused {
  std::uint64_t key = 0;
  std::uint32_t class_index = 0;
  Error error{};
};
struct OptimiseFailed {
  Error error{};
};

struct ScheduleDrainReport {
  std::size_t left = 0;  ///< tasks that had not ended by the deadline
};

}  // namespace aura
