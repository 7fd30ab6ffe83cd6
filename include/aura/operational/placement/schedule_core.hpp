// The pure core of the scheduler: accepts tasks, places them at once, and places them anew where a solver finds better.
#pragma once

#include <aura/core/random.hpp>
#include <aura/core/result.hpp>
#include <aura/operational/placement/detail/check_schedule.hpp>
#include <aura/operational/placement/detail/schedule_changes.hpp>
#include <aura/operational/placement/detail/schedule_forecast.hpp>
#include <aura/operational/placement/detail/schedule_invariants.hpp>
#include <aura/operational/placement/detail/schedule_placing.hpp>
#include <aura/operational/placement/detail/schedule_problem.hpp>
#include <aura/operational/placement/detail/schedule_tables.hpp>
#include <aura/operational/placement/schedule_decision.hpp>
#include <aura/operational/placement/schedule_event.hpp>
#include <aura/operational/placement/schedule_options.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace aura {

/// Which task is where. No I/O, no clock: time comes in, actions come out, in the order in which they are to be carried out.
///
/// A task that is accepted is placed at once by `Dispatcher`, or waits for room; it holds its demand of the node's
/// resources from then until it has ended. At a node it waits for one of the slots, then runs (`started`), then ends.
/// `optimise`, or `snapshot`, `decide` and `apply` where a solver runs elsewhere, places anew what waits and what may move.
///
/// Holds at every moment, and `check` says so: no node bears more than its capacity, no group is crowded beyond its
/// `per_node_max`, what may not move is where it was, and every task that was accepted is waiting, placed, running, or told
/// of as ended.
///
/// Plain: the host serialises. Submitting and ending are O(nodes · resources) and allocate nothing once the list of actions
/// has its size; `snapshot` and `apply` are O(tasks · nodes · resources).
class ScheduleCore {
 public:
  /// placement_errc::bad_problem, which names the culprit.
  static Result<ScheduleCore> make(ScheduleOptions options, Random random = Random()) {
    if (auto sound = detail::ScheduleCheck::options(options); !sound) return sound.error();
    options.dispatcher.nodes_max = options.nodes_max;
    options.dispatcher.service = mean_work(options);
    auto forecast = detail::ScheduleForecast::make(options);
    if (!forecast) return forecast.error();
    return ScheduleCore(std::move(options), random, std::move(*forecast));
  }

  // Nodes.

  /// A node that takes tasks from now on. Errors: bad_problem; full.
  Result<NodeIndex> join(const ScheduleNode& node, SteadyTime now) {
    if (auto sound = detail::ScheduleCheck::node(placing_.options, node); !sound) return sound.error();
    const double service = static_cast<double>(placing_.options.dispatcher.service.count()) / node.speed;
    const DispatchNode given{.slots = node.slots, .service = std::max(detail::held_duration(service), Duration(1))};
    const auto index = dispatcher().join(given, now);
    if (!index) return Error::fixed(placement_errc::full, ErrorClass::rejected, "as many nodes as nodes_max");
    const auto known = placing_.forecast.know(*index, node.name);
    if (!known) {
      dispatcher().leave(*index);
      return known.error();
    }
    detail::ScheduleNodeRow& row = placing_.tables.node(*index);
    row = {.given = node, .generation = row.generation + 1, .estimator_index = *known};
    placing_.nodes_changed(now);
    return *index;
  }
  /// It gets nothing new; what it has goes on, or is moved where it may be. False where it is not up.
  bool drain(NodeIndex node, SteadyTime now) {
    return dispatcher().drain(node) && (placing_.nodes_changed(now), true);
  }
  bool resume(NodeIndex node, SteadyTime now) {
    return dispatcher().resume(node) && (placing_.nodes_changed(now), true);
  }
  /// What it has is lost, and told of: the host submits it again. How many those were.
  std::size_t fail(NodeIndex node, SteadyTime now) {
    if (dispatcher().state(node) == NodeState::absent) return 0;
    const std::size_t lost = lose_all(node);
    dispatcher().fail(node);
    placing_.nodes_changed(now);
    return lost;
  }
  /// A failed node is back, without a task.
  bool recover(NodeIndex node, SteadyTime now) {
    return dispatcher().recover(node) && (placing_.nodes_changed(now), true);
  }
  /// It is gone for good, and what it has is lost: drain it first.
  std::size_t leave(NodeIndex node, SteadyTime now) {
    if (dispatcher().state(node) == NodeState::absent) return 0;
    const std::size_t lost = lose_all(node);
    dispatcher().leave(node);
    placing_.nodes_changed(now);
    return lost;
  }
  NodeState state(NodeIndex node) const noexcept { return dispatcher().state(node); }

  // Tasks.

  /// Accepts a task and places it, or has it wait; or refuses it, which changes nothing:
  /// - `refused`: the bound that it would be promised is over its class's `sla.maximum`, or its class sends faster than
  ///   it declared;
  /// - demand_errc: its class declared more than the nodes can be shown to serve in time;
  /// - `full`: tasks_max or waiting_max. `infeasible`: no node that is up could ever hold it. `bad_problem`.
  Result<TaskAccepted> submit(const ScheduleTask& task, SteadyTime now) {
    if (auto sound = detail::ScheduleCheck::task(placing_.options, task); !sound) return sound.error();
    if (placing_.tables.is_full()) return full(task.class_index);
    const std::uint32_t index = placing_.tables.add(task, now);
    auto admitted = placing_.admit(index, now);
    if (admitted) {
      ++placing_.stats.accepted;
      ++placing_.class_stats[task.class_index].accepted;
    } else {
      placing_.tables.remove(index);
      ++placing_.class_stats[task.class_index].refused;
    }
    return admitted;
  }

  /// From the node. False, and counted, where that placement is no more: the node runs it in vain.
  bool started(TaskId id, std::uint64_t fence, SteadyTime now) {
    const std::uint32_t index = reported(id, fence);
    if (index == detail::no_index || placing_.tables.task(index).phase != detail::TaskPhase::placed) return false;
    detail::ScheduleTaskRow& row = placing_.tables.task(index);
    row.phase = detail::TaskPhase::running;
    row.started_at = now;
    ++row.version;
    ++placing_.tables.node(row.node).running;
    return true;
  }
  /// From the node: of the task's work so much would not have to be done again elsewhere, 0 to 1.
  bool progressed(TaskId id, std::uint64_t fence, double done_share) {
    const std::uint32_t index = reported(id, fence);
    if (index == detail::no_index || !(done_share >= 0 && done_share <= 1)) return false;
    placing_.tables.task(index).done_share = done_share;
    return true;
  }
  /// From the node. unknown_task, and counted, where that placement is no more: its result is not to be used.
  Result<TaskEnded> ended(TaskId id, std::uint64_t fence, TaskEnd end, SteadyTime now) {
    const std::uint32_t index = reported(id, fence);
    if (index == detail::no_index)
      return Error::fixed(placement_errc::unknown_task, ErrorClass::rejected,
                          "that placement is no more: the task ended, was moved, or is lost");
    const TaskEnded told = placing_.count_end(index, end, now);
    const detail::ScheduleTaskRow& row = placing_.tables.task(index);
    if (!row.preempted && end != TaskEnd::abandoned)
      placing_.forecast.learn(row, placing_.tables.node(row.node), now - row.placed_at,
                              end == TaskEnd::finished ? LatencyEnd::completed : LatencyEnd::at_least);
    placing_.take_off(index, now, end == TaskEnd::finished);
    placing_.tables.remove(index);
    placing_.place_waiting(now);
    return told;
  }
  /// By the host: the task is not wanted any more. Where it has a node, that is told to stop it (`preempt`).
  bool cancel(TaskId id, SteadyTime now) {
    const std::uint32_t index = placing_.tables.find(id);
    if (index == detail::no_index) return false;
    ++placing_.stats.abandoned;
    if (placing_.tables.task(index).phase == detail::TaskPhase::waiting) {
      placing_.tables.stop_waiting(index);
    } else {
      placing_.act(ScheduleVerb::preempt, index);
      placing_.take_off(index, now, false);
    }
    placing_.tables.remove(index);
    placing_.place_waiting(now);
    return true;
  }
  /// Where a task is; nothing where it is known no more. `node` is not_placed while it waits.
  std::optional<TaskPlacement> find(TaskId id) const {
    const std::uint32_t index = placing_.tables.find(id);
    if (index == detail::no_index) return std::nullopt;
    return placing_.tables.placement_of(index);
  }
  /// Whether a task of a class, of its usual demand, would have a node now.
  bool has_room(std::uint32_t class_index, SteadyTime now) {
    const bool known = class_index < placing_.options.classes.size() && !placing_.tables.is_full();
    return known && placing_.has_room(class_index, now);
  }

  // Optimising.

  /// As a problem; nothing where there is nothing to place or move, or nowhere.
  std::optional<ScheduleSnapshot> snapshot(SteadyTime now) {
    ScheduleSnapshot made = detail::ScheduleProblem(placing_.options, placing_.tables, placing_.forecast, now).make();
    if (made.tasks.empty() || made.nodes.empty()) return std::nullopt;
    return made;
  }
  /// Carries out what is still possible of a decision: a task that has started, ended or moved since its snapshot, and a node
  /// that has left, are skipped and counted.
  ScheduleApplied apply(const ScheduleDecision& decision, SteadyTime now) {
    ScheduleApplied done{.unpaid = decision.unpaid,
                         .status = decision.status,
                         .cost = decision.cost,
                         .cost_before = decision.cost_before,
                         .gap = decision.gap};
    const detail::ScheduleChanges possible(placing_.tables, dispatcher(), decision.changes);
    done.stale = possible.stale();
    for (const ScheduleDecision::Change& change : possible.changes()) placing_.leave_place(change, now, done);
    for (const ScheduleDecision::Change& change : possible.changes())
      if (change.to.index != not_placed) placing_.place(change.task.id.index, change.to.index, now);
    placing_.stats.stale_entries += done.stale;
    placing_.stats.moves_unpaid += done.unpaid;
    placing_.stats.moved += done.moved;
    placing_.stats.preempted += done.preempted;
    placing_.stats.rejected += done.rejected;
    placing_.place_waiting(now);
    return done;
  }
  /// All of it here and now. An error: the solver's answer was refused, and nothing changed.
  template <solver Solver>
  Result<ScheduleApplied> optimise(Solver& solver, SteadyTime now, const SolveLimits& limits = {}) {
    std::optional<ScheduleSnapshot> taken = snapshot(now);
    if (!taken) return ScheduleApplied{};
    const auto sound = SoundProblem::make(std::move(taken->problem));
    if (!sound) return sound.error();
    const auto decision = decide(*taken, **sound, solver.solve((*sound)->model(), taken->stay, limits));
    if (!decision) return decision.error();
    return apply(*decision, now);
  }

  // Looking.

  /// What the host is to do, oldest first, since they were last cleared. As many at most as there were events and changes.
  std::span<const ScheduleAction> actions() const noexcept { return placing_.actions; }
  void clear_actions() noexcept { placing_.actions.clear(); }

  ScheduleStats stats() const {
    ScheduleStats now = placing_.stats;
    now.waiting = placing_.tables.waiting().size;
    for (NodeIndex at = 0; at < placing_.tables.nodes(); ++at) {
      now.running += placing_.tables.node(at).running;
      now.placed += placing_.tables.node(at).tasks - placing_.tables.node(at).running;
    }
    return now;
  }
  /// Accepted and not ended.
  std::size_t tasks() const noexcept { return placing_.tables.tasks(); }
  const ScheduleClassStats& class_stats(std::uint32_t class_index) const {
    return placing_.class_stats.at(class_index);
  }
  const ScheduleOptions& options() const noexcept { return placing_.options; }
  const LatencyEstimator& estimator() const noexcept { return placing_.forecast.estimator(); }
  std::span<const double> load(NodeIndex node) const noexcept { return placing_.tables.load(node); }
  /// An error names what does not hold of what is said above. For tests: it counts everything anew.
  Result<void> check() { return detail::ScheduleInvariants(placing_.tables, dispatcher()).check(stats()); }
  std::size_t tasks_on(NodeIndex node) const noexcept { return placing_.tables.node(node).tasks; }

 private:
  ScheduleCore(ScheduleOptions options, Random random, detail::ScheduleForecast forecast)
      : placing_(std::move(options), random, std::move(forecast)) {}

  static Duration mean_work(const ScheduleOptions& options) {
    double sum = 0;
    for (const ScheduleClass& each : options.classes) sum += static_cast<double>(each.work.count());
    return std::max(detail::held_duration(sum / static_cast<double>(options.classes.size())), Duration(1));
  }

  Dispatcher& dispatcher() noexcept { return placing_.dispatcher(); }
  const Dispatcher& dispatcher() const noexcept { return placing_.dispatcher(); }

  Error full(std::uint32_t class_index) {
    ++placing_.stats.refused_full;
    ++placing_.class_stats[class_index].refused;
    return Error::fixed(placement_errc::full, ErrorClass::rejected, "as many tasks as tasks_max")
        .with_retry_after(placing_.options.horizon);
  }
  std::size_t lose_all(NodeIndex node) {
    std::size_t lost = 0;
    placing_.tables.for_each_on(node, [&](std::uint32_t index) {
      placing_.act(ScheduleVerb::lost, index);
      placing_.tables.take(index);
      placing_.tables.remove(index);
      ++lost;
    });
    ++placing_.tables.node(node).generation;
    placing_.stats.lost += lost;
    return lost;
  }

  std::uint32_t reported(TaskId id, std::uint64_t fence) {
    const std::uint32_t index = placing_.tables.find(id);
    const bool current = index != detail::no_index &&
                         placing_.tables.task(index).phase != detail::TaskPhase::waiting &&
                         placing_.tables.task(index).fence == fence;
    if (current) return index;
    ++placing_.stats.stale_reports;
    return detail::no_index;
  }

  detail::SchedulePlacing placing_;
};

}  // namespace aura
