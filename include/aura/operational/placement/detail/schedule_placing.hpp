// Admission and placement of single tasks: what a schedule does between two optimisations.
#pragma once

#include <aura/core/random.hpp>
#include <aura/core/result.hpp>
#include <aura/operational/placement/detail/declared_demand.hpp>
#include <aura/operational/placement/detail/schedule_forecast.hpp>
#include <aura/operational/placement/detail/schedule_problem.hpp>
#include <aura/operational/placement/detail/schedule_tables.hpp>
#include <aura/operational/placement/schedule_decision.hpp>
#include <aura/operational/placement/schedule_event.hpp>
#include <aura/operational/placement/schedule_options.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace aura::detail {

class SchedulePlacing {
 public:
  SchedulePlacing(ScheduleOptions given, Random random, ScheduleForecast made)
      : options(std::move(given)),
        forecast(std::move(made)),
        random_(random),
        tables(options, random_()),
        class_stats(options.classes.size()),
        declared_(options),
        usual_(options.nodes_max) {}

  Dispatcher& dispatcher() noexcept { return forecast.dispatcher(); }
  const Dispatcher& dispatcher() const noexcept { return forecast.dispatcher(); }

  void nodes_changed(SteadyTime now) {
    if (declared_.any()) {
      std::vector<double> speeds(tables.nodes(), 0.0);
      for (NodeIndex at = 0; at < tables.nodes(); ++at)
        if (dispatcher().state(at) == NodeState::up) speeds[at] = tables.node(at).given.speed;
      declared_.settle(speeds);
      tables.for_each_waiting([&](std::uint32_t index) {
        ScheduleTaskRow& row = tables.task(index);
        if (row.declared) row.node = declared_.home_of_waiting(row.class_index, row.node);
      });
    }
    place_waiting(now);
  }

  /// The row is new, and is removed again where it is refused.
  Result<TaskAccepted> admit(std::uint32_t index, SteadyTime now) {
    ScheduleTaskRow& row = tables.task(index);
    if (auto home = prepare(index, now); !home) return count(home.error(), stats.refused_demand);
    const Duration maximum = tables.class_of(index).sla.maximum;
    auto node = is_barred() ? Result<NodeIndex>(no_room()) : choose(index, now);
    if (node && bound_at(index, *node, now) > maximum) node = soonest(index, now);
    if (!node) {
      if (!any_could_hold(index))
        return count(Error::fixed(placement_errc::infeasible, ErrorClass::rejected,
                                  "no node that is up could ever hold the task")
                         .with_retry_after(options.horizon),
                     stats.refused_nowhere);
      if (tables.waiting().size >= options.waiting_max)
        return count(Error::fixed(placement_errc::full, ErrorClass::rejected, "as many tasks wait as waiting_max")
                         .with_retry_after(options.horizon),
                     stats.refused_full);
    }
    row.bound = node ? bound_at(index, *node, now) : bound_waiting(index, now);
    if (row.bound > maximum)
      return count(Error::fixed(placement_errc::refused, ErrorClass::rejected,
                                "the bound that the task would be promised is over its class's sla.maximum")
                       .with_retry_after(row.bound - maximum),
                   stats.refused_bound);
    if (row.declared) declared_.took(row.class_index, now);
    if (node) {
      if (tables.waiting().size > 0) ++tables.task(tables.waiting().first).overtaken;
      place(index, *node, now);
    } else {
      tables.wait(index);
    }
    return TaskAccepted{tables.id_of(index), row.bound, node ? *node : not_placed};
  }

  bool has_room(std::uint32_t class_index, SteadyTime now) {
    const std::uint32_t index = tables.add({.class_index = class_index}, now);
    const bool room = prepare(index, now).has_value() && !is_barred() && choose(index, now).has_value();
    tables.remove(index);
    return room;
  }

  void place(std::uint32_t index, NodeIndex at, SteadyTime now) {
    ScheduleTaskRow& row = tables.task(index);
    row.fence = ++fence_;
    row.placed_at = now;
    row.wait = forecast.wait(tables.node(at), at, row.work, now);
    row.ticket = dispatcher().began(at, now, row.work);
    ++row.version;
    tables.put(index, at);
    ++stats.placements;
    act(ScheduleVerb::start, index);
  }
  void take_off(std::uint32_t index, SteadyTime now, bool completed) {
    const DispatchTicket& ticket = tables.task(index).ticket;
    completed ? dispatcher().ended(ticket, now) : dispatcher().dropped(ticket, now);
    tables.take(index);
  }

  /// Room has come free: the first that fit, and none past one that was passed over often enough.
  void place_waiting(SteadyTime now) {
    std::size_t looks = options.waiting_scan_max;
    for (std::uint32_t at = tables.waiting().first; at != no_index && looks > 0; --looks) {
      const std::uint32_t index = at;
      at = tables.task(index).next;
      if (const auto node = choose(index, now)) {
        for (std::uint32_t passed = tables.waiting().first; passed != index; passed = tables.task(passed).next)
          ++tables.task(passed).overtaken;
        tables.stop_waiting(index);
        place(index, *node, now);
      } else if (tables.task(index).overtaken >= options.overtakes_max) {
        return;
      }
    }
  }

  /// The first half of a change: off where it was.
  void leave_place(const ScheduleDecision::Change& change, SteadyTime now, ScheduleApplied& done) {
    const std::uint32_t index = change.task.id.index;
    ScheduleTaskRow& row = tables.task(index);
    const bool given_up = change.to.index == not_placed;
    ++(given_up ? done.rejected : row.phase == TaskPhase::waiting ? done.placed : done.moved);
    if (given_up) act(ScheduleVerb::rejected, index);
    if (row.phase == TaskPhase::waiting) {
      tables.stop_waiting(index);
    } else {
      if (!given_up) act(ScheduleVerb::preempt, index);
      const bool ran = row.phase == TaskPhase::running;
      take_off(index, now, false);
      if (ran) preempted(row, done);
    }
    if (given_up) tables.remove(index);
  }

  TaskEnded count_end(std::uint32_t index, TaskEnd end, SteadyTime now) {
    const ScheduleTaskRow& row = tables.task(index);
    const Sla& sla = tables.class_of(index).sla;
    const Duration latency = now - row.submitted;
    ++(end == TaskEnd::finished ? stats.finished : end == TaskEnd::timed_out ? stats.timed_out : stats.abandoned);
    if (end != TaskEnd::abandoned) {
      ScheduleClassStats& its = class_stats[row.class_index];
      its.finished += end == TaskEnd::finished;
      its.late += latency > sla.target;
      its.broken += latency > sla.maximum;
      its.over_bound += latency > row.bound;
      its.penalty += sla_penalty(sla, latency);
    }
    return {latency, latency <= row.bound};
  }

  void act(ScheduleVerb verb, std::uint32_t index) { actions.push_back({verb, tables.placement_of(index)}); }

  ScheduleOptions options;
  ScheduleForecast forecast;

 private:
  Random random_;

 public:
  ScheduleTables tables;
  ScheduleStats stats;
  std::vector<ScheduleClassStats> class_stats;
  std::vector<ScheduleAction> actions;

 private:
  static Error count(Error why, std::uint64_t& counter) {
    ++counter;
    return why;
  }
  static Error no_room() noexcept {
    return Error::fixed(dispatch_errc::no_room, ErrorClass::rejected, "another task has waited for too long");
  }

  void preempted(ScheduleTaskRow& row, ScheduleApplied& done) {
    ++done.preempted;
    row.preempted = true;
    if (options.classes[row.class_index].preemption != Preemption::resume) row.done_share = 0;
  }

  Result<void> prepare(std::uint32_t index, SteadyTime now) {
    ScheduleTaskRow& row = tables.task(index);
    row.work = forecast.work_of(row);
    if (!declared_.is_declared(row.class_index)) return {};
    const auto home = declared_.home(row.class_index, now);
    if (!home) return home.error();
    row.declared = true;
    row.node = *home;
    return {};
  }
  /// Nobody passes one that was passed over often enough.
  bool is_barred() const noexcept {
    const std::uint32_t first = tables.waiting().first;
    return first != no_index && tables.task(first).overtaken >= options.overtakes_max;
  }

  Result<NodeIndex> choose(std::uint32_t index, SteadyTime now) {
    const ScheduleTaskRow& row = tables.task(index);
    const ScheduleClass& its = tables.class_of(index);
    const std::span<const std::uint32_t> mates = tables.mates_by_node(index);
    const auto fits = [&](NodeIndex at) {
      return tables.suits(index, at) && (!row.declared || row.node == at) && tables.fits(index, at) &&
             (mates.empty() || mates[at] < its.per_node_max);
    };
    DispatchTask asked{.work = row.work};
    if (dispatcher().nodes_up() <= options.dispatcher.scan_max) asked.predicted = usual_at_each(row);
    if (its.likes != 0 && its.elsewhere_price > 0) {
      const auto liked = dispatcher().choose(now, random_, asked, [&](NodeIndex at) {
        return (tables.node(at).given.labels & its.likes) == its.likes && fits(at);
      });
      if (liked) return liked;
    }
    return dispatcher().choose(now, random_, asked, fits);
  }
  std::span<const Duration> usual_at_each(const ScheduleTaskRow& row) {
    for (NodeIndex at = 0; at < usual_.size(); ++at)
      usual_[at] = dispatcher().state(at) == NodeState::up ? forecast.usual(row, tables.node(at)) : Duration{};
    return usual_;
  }

  Duration bound_at(std::uint32_t index, NodeIndex at, SteadyTime now) const {
    const ScheduleTaskRow& row = tables.task(index);
    return forecast.wait(tables.node(at), at, row.work, now) + forecast.bound(row, tables.node(at));
  }
  /// Of the nodes with room, that with the least bound.
  Result<NodeIndex> soonest(std::uint32_t index, SteadyTime now) {
    const std::span<const std::uint32_t> mates = tables.mates_by_node(index);
    NodeIndex best = not_placed;
    for (NodeIndex at = 0; at < tables.nodes(); ++at) {
      const bool possible = could_hold(index, at) && tables.fits(index, at) &&
                            (mates.empty() || mates[at] < tables.class_of(index).per_node_max);
      if (possible && (best == not_placed || bound_at(index, at, now) < bound_at(index, best, now))) best = at;
    }
    if (best == not_placed) return no_room();
    return best;
  }
  bool could_hold(std::uint32_t index, NodeIndex at) const {
    const ScheduleTaskRow& row = tables.task(index);
    return dispatcher().state(at) == NodeState::up && (!row.declared || row.node == at) && tables.suits(index, at) &&
           tables.would_fit_empty(index, at);
  }
  bool any_could_hold(std::uint32_t index) const {
    for (NodeIndex at = 0; at < tables.nodes(); ++at)
      if (could_hold(index, at)) return true;
    return false;
  }
  /// As if what waits were dealt to the nodes by their slots, and it went to the best one after that.
  Duration bound_waiting(std::uint32_t index, SteadyTime now) const {
    double waiting = 0, slots = 0;
    tables.for_each_waiting([&](std::uint32_t other) { waiting += tables.task(other).work; });
    for (NodeIndex at = 0; at < tables.nodes(); ++at)
      if (dispatcher().state(at) == NodeState::up) slots += tables.node(at).given.slots;
    double best = 0x1p61;
    for (NodeIndex at = 0; at < tables.nodes(); ++at) {
      if (!could_hold(index, at)) continue;
      const double ahead = forecast.unit(tables.node(at), at, now) * waiting / slots;
      best = std::min(best, ahead + static_cast<double>(bound_at(index, at, now).count()));
    }
    return held_duration(best);
  }

  DeclaredDemand declared_;
  std::vector<Duration> usual_;
  std::uint64_t fence_ = 0;
};

}  // namespace aura::detail
