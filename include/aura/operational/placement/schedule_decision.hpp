// What an optimiser is given of a schedule, and what is taken of its answer: verified, and without moves that do not pay.
#pragma once

#include <aura/core/result.hpp>
#include <aura/operational/placement/detail/move_trim.hpp>
#include <aura/operational/placement/problem.hpp>
#include <aura/operational/placement/schedule_event.hpp>
#include <aura/operational/placement/solve_request.hpp>
#include <aura/operational/placement/solver.hpp>
#include <aura/operational/placement/verifier.hpp>

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace aura {

/// A schedule at one moment, as a problem. Independent of the schedule from then on, so it may go to another thread.
struct ScheduleSnapshot {
  struct Task {
    TaskId id{};
    std::uint32_t version = 0;
    bool drops = false;  ///< not placed, it is given up; otherwise it goes on waiting
  };
  struct Node {
    NodeIndex index = not_placed;
    std::uint32_t generation = 0;
  };
  PlacementProblem problem{};  ///< to be moved into a `SoundProblem`
  std::vector<Task> tasks{};  ///< as in the problem
  std::vector<Node> nodes{};  ///< likewise
  Placement stay{};  ///< all as it is: what a solver starts from
  double margin = 0;
};

/// What is to change.
struct ScheduleDecision {
  struct Change {
    ScheduleSnapshot::Task task{};
    ScheduleSnapshot::Node to{};  ///< not_placed: give it up
  };
  std::vector<Change> changes{};
  std::size_t unpaid = 0;  ///< moves of the answer that were left out
  SolveStatus status = SolveStatus::stopped;
  double cost = 0, cost_before = 0;
  double gap = 0;
};

/// Checks the answer with a verifier that shares nothing with the solver, and leaves out every move that does not save its
/// own price and `margin` more, all else being as in what is left; moves that need each other's room pay for themselves
/// together, or are all left out. An answer that is refused is an error, and nothing changes. Pure; O(moves² · resources +
/// tasks · resources).
inline Result<ScheduleDecision> decide(const ScheduleSnapshot& snapshot, const SoundProblem& sound,
                                       const SolveAnswer& answer) {
  ScheduleDecision decision{.status = answer.status, .gap = answer.gap()};
  const PlacementVerifier verifier(sound.problem());
  const auto before = verifier.verify(snapshot.stay);
  if (!before) return before.error();
  decision.cost = decision.cost_before = before->total();
  if (!answer.has_placement()) return decision;
  if (const auto cost = verifier.verify(answer); !cost) return cost.error();

  detail::MoveTrim trim(sound.model(), snapshot.stay, answer.placement);
  decision.unpaid = trim.drop_unpaid(snapshot.margin);
  const Placement* taken = &trim.placement();
  auto after = verifier.verify(*taken);
  if (!after) return after.error();
  Placement unmoved;
  if (trim.moves() > 0) {
    unmoved = trim.without_moves();
    const auto without = verifier.verify(unmoved);
    const double least = snapshot.margin * static_cast<double>(trim.moves());
    if (without && !detail::MoveTrim::pays(without->total() - after->total(), least)) {
      decision.unpaid += trim.moves();
      taken = &unmoved;
      after = without;
    }
  }
  if (after->total() > before->total()) return decision;
  decision.cost = after->total();
  for (std::size_t j = 0; j < taken->size(); ++j) {
    const NodeIndex to = (*taken)[j];
    if (to == snapshot.stay[j] && !(to == not_placed && snapshot.tasks[j].drops)) continue;
    decision.changes.push_back({snapshot.tasks[j], to == not_placed ? ScheduleSnapshot::Node{} : snapshot.nodes[to]});
  }
  return decision;
}

}  // namespace aura
