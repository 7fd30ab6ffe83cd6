// What a schedule asks its host to do, what it answers, and what it counts.
#pragma once

#include <aura/core/time.hpp>
#include <aura/operational/placement/problem.hpp>
#include <aura/operational/placement/solver.hpp>

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace aura {

/// A task of one schedule. Not used again for as long as a counter of 32 bits takes to come round for one place.
struct TaskId {
  std::uint32_t index = std::numeric_limits<std::uint32_t>::max();
  std::uint32_t generation = 0;
  friend bool operator==(const TaskId&, const TaskId&) = default;
};

/// A task on a node. Each placement has a fencing number of its own, larger than all before it: a node that still runs a
/// task under an older number runs it in vain.
struct TaskPlacement {
  TaskId task{};
  std::uint64_t key = 0;
  NodeIndex node = not_placed;
  std::uint64_t fence = 0;
  friend bool operator==(const TaskPlacement&, const TaskPlacement&) = default;
};

enum class ScheduleVerb : std::uint8_t {
  start,  ///< hand the task to the node
  preempt,  ///< take it off the node, running or not: it is placed elsewhere
  lost,  ///< its node failed or left. It is known no more: submit it again
  rejected,  ///< accepted, and given up before it began: see `ScheduleClass::reject_price`
};
constexpr std::string_view to_string(ScheduleVerb verb) noexcept {
  switch (verb) {
    case ScheduleVerb::start: return "start";
    case ScheduleVerb::preempt: return "preempt";
    case ScheduleVerb::lost: return "lost";
    case ScheduleVerb::rejected: return "rejected";
  }
  return "unknown";
}

struct ScheduleAction {
  ScheduleVerb verb = ScheduleVerb::start;
  TaskPlacement at{};  ///< `node` is not_placed where a task is rejected that had none
};

/// What an accepted task was promised.
struct TaskAccepted {
  TaskId task{};
  Duration bound{};  ///< from now to its end, at its class's percentile
  NodeIndex node = not_placed;  ///< not_placed: it waits for room
};

/// How a task's stay at its node ended.
enum class TaskEnd : std::uint8_t {
  finished,
  timed_out,  ///< it would have taken longer
  abandoned,  ///< failed, or was cancelled: how long it took says nothing
};

struct TaskEnded {
  Duration latency{};  ///< since it was submitted
  bool kept = true;  ///< within what it was promised
};

struct ScheduleClassStats {
  std::uint64_t accepted = 0, refused = 0;
  std::uint64_t finished = 0;
  std::uint64_t late = 0;  ///< finished or timed out beyond sla.target
  std::uint64_t broken = 0;  ///< likewise, beyond sla.maximum
  std::uint64_t over_bound = 0;  ///< beyond the bound it was promised
  double penalty = 0;  ///< by the class's SLA, of what finished or timed out
};

struct ScheduleStats {
  std::uint64_t accepted = 0, finished = 0, timed_out = 0, abandoned = 0, lost = 0, rejected = 0;
  std::uint64_t refused_bound = 0, refused_demand = 0, refused_full = 0, refused_nowhere = 0;
  std::uint64_t placements = 0;
  std::uint64_t moved = 0;  ///< of it `preempted` while they ran
  std::uint64_t preempted = 0;
  std::uint64_t stale_reports = 0;  ///< from a node, about a placement or a task that is no more
  std::uint64_t stale_entries = 0;  ///< of an answer: its task or node was another by the time it was applied
  std::uint64_t moves_unpaid = 0;  ///< that a solver wanted and that did not pay for themselves
  std::size_t waiting = 0, placed = 0, running = 0;  ///< now

  std::uint64_t refused() const noexcept { return refused_bound + refused_demand + refused_full + refused_nowhere; }
  /// Every task that was accepted is somewhere, whenever this is asked.
  bool conserved() const noexcept {
    return accepted == finished + timed_out + abandoned + lost + rejected + waiting + placed + running;
  }
};

/// What came of one optimisation.
struct ScheduleApplied {
  std::size_t moved = 0, preempted = 0, placed = 0, rejected = 0;
  std::size_t stale = 0;  ///< entries that were skipped
  std::size_t unpaid = 0;  ///< moves that were left out
  SolveStatus status = SolveStatus::stopped;
  double cost = 0, cost_before = 0;  ///< as the model has it, of this answer and of leaving all as it is
  double gap = 0;  ///< proven of the solver's own answer
};

}  // namespace aura
