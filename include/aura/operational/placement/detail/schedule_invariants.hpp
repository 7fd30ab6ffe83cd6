// What holds of a schedule at every moment, counted anew.
#pragma once

#include <aura/core/result.hpp>
#include <aura/operational/dispatcher.hpp>
#include <aura/operational/placement/convex_price.hpp>
#include <aura/operational/placement/detail/schedule_tables.hpp>
#include <aura/operational/placement/error.hpp>
#include <aura/operational/placement/schedule_event.hpp>

#include <fmt/format.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace aura::detail {

/// The first that does not hold. O(tasks · (resources + mates)).
class ScheduleInvariants {
 public:
  ScheduleInvariants(ScheduleTables& tables, const Dispatcher& dispatcher)
      : tables_(tables), dispatcher_(dispatcher) {}

  Result<void> check(const ScheduleStats& stats) {
    if (!stats.conserved()) return broken("a task is lost, or is there twice");
    std::size_t tasks = 0;
    for (NodeIndex at = 0; at < tables_.nodes(); ++at) {
      tasks += tables_.node(at).tasks;
      if (auto sound = check(at); !sound) return sound;
    }
    std::size_t waiting = 0;
    tables_.for_each_waiting([&](std::uint32_t) { ++waiting; });
    if (tables_.tasks() != tasks + waiting) return broken("tasks are miscounted");
    if (waiting != stats.waiting || tasks != stats.placed + stats.running) return broken("a list has lost a task");
    return {};
  }

 private:
  static Error broken(std::string what) {
    return Error(placement_errc::bad_answer, ErrorClass::permanent, "the schedule is broken: " + std::move(what));
  }

  Result<void> check(NodeIndex at) {
    const ScheduleNodeRow& node = tables_.node(at);
    const NodeState state = dispatcher_.state(at);
    if (node.tasks > 0 && state != NodeState::up && state != NodeState::draining)
      return broken(fmt::format("node {} is gone and has tasks", at));
    if (state != NodeState::absent && dispatcher_.outstanding(at) != node.tasks)
      return broken(fmt::format("the dispatcher counts other tasks at node {}", at));
    std::vector<double> load(tables_.resources(), 0.0);
    std::uint32_t tasks = 0, running = 0;
    std::string fault;
    tables_.for_each_on(at, [&](std::uint32_t index) {
      const ScheduleTaskRow& row = tables_.task(index);
      for (std::size_t r = 0; r < load.size(); ++r) load[r] += tables_.demand(index)[r];
      ++tasks;
      running += row.phase == TaskPhase::running;
      if (row.node != at || (row.phase != TaskPhase::placed && row.phase != TaskPhase::running))
        fault = fmt::format("task {} is listed at node {}, and is not there", index, at);
      if (!tables_.suits(index, at)) fault = fmt::format("task {} is at node {}, which lacks a label", index, at);
      std::size_t mates = 0;
      tables_.for_each_mate(index, [&](std::uint32_t mate) {
        mates += tables_.task(mate).phase != TaskPhase::waiting && tables_.task(mate).node == at;
      });
      if (mates > tables_.class_of(index).per_node_max) fault = fmt::format("a group is crowded at node {}", at);
    });
    if (!fault.empty()) return broken(fault);
    if (tasks != node.tasks || running != node.running) return broken(fmt::format("node {} is miscounted", at));
    for (std::size_t r = 0; r < node.given.capacity.size(); ++r)
      if (load[r] > node.given.capacity[r] * (1 + capacity_tolerance))
        return broken(fmt::format("node {} bears {} of resource {}, and its capacity is {}", at, load[r], r,
                                  node.given.capacity[r]));
    return {};
  }

  ScheduleTables& tables_;
  const Dispatcher& dispatcher_;
};

}  // namespace aura::detail
