// A schedule at one moment as a placement problem: what may be placed or moved is in it, everything else takes its room
// away.
#pragma once

#include <aura/operational/placement/detail/schedule_forecast.hpp>
#include <aura/operational/placement/detail/schedule_tables.hpp>
#include <aura/operational/placement/schedule_decision.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <utility>
#include <vector>

namespace aura::detail {

/// Penalty of a class's SLA for an answer after `latency`.
inline double sla_penalty(const Sla& sla, Duration latency) noexcept {
  double cost = 0;
  if (latency > sla.target) cost += sla.penalty_per_ms * static_cast<double>((latency - sla.target).count()) * 1e-6;
  if (latency > sla.maximum) cost += sla.penalty_broken;
  return cost;
}

/// Latencies run from a task's submission, so that what it has waited already counts. The wait at a node is that for what is
/// not in the problem; what is in it prices each other by one more resource, the work at a node, whose price rises with
/// the wait that it means for the next task.
class ScheduleProblem {
 public:
  ScheduleProblem(const ScheduleOptions& options, ScheduleTables& tables, const ScheduleForecast& forecast,
                  SteadyTime now)
      : options_(options), tables_(tables), forecast_(forecast), now_(now) {}

  ScheduleSnapshot make() {
    choose_nodes();
    choose_tasks();
    out_.margin = std::max(options_.margin, 0.0);
    out_.problem.resources = options_.resources;
    out_.problem.resources.emplace_back("work");
    for (std::size_t i = 0; i < out_.nodes.size(); ++i) add_node(i);
    for (std::size_t j = 0; j < chosen_.size(); ++j) add_task(j);
    price_waits();
    add_groups();
    return std::move(out_);
  }

 private:
  static constexpr std::size_t wait_pieces = 8;

  void choose_nodes() {
    position_.assign(tables_.nodes(), not_placed);
    for (NodeIndex at = 0; at < tables_.nodes(); ++at) {
      const NodeState state = forecast_.dispatcher().state(at);
      if (state != NodeState::up && state != NodeState::draining) continue;
      position_[at] = static_cast<NodeIndex>(out_.nodes.size());
      out_.nodes.push_back({at, tables_.node(at).generation});
    }
  }

  // Those that wait first, then those that wait at a node, then those that run: so long as there is room. Members of a group
  // with one in it are in it too, pinned where they may not move, as the group's rule concerns them all.
  void choose_tasks() {
    const auto choose = [&](std::uint32_t index) {
      if (chosen_.size() < options_.optimise_tasks_max) take_in(index);
    };
    tables_.for_each_waiting([&](std::uint32_t index) {
      if (!allowed(index).empty()) choose(index);
    });
    for (const TaskPhase phase : {TaskPhase::placed, TaskPhase::running})
      for (const ScheduleSnapshot::Node& node : out_.nodes)
        tables_.for_each_on(node.index, [&](std::uint32_t index) {
          if (tables_.task(index).phase == phase && may_move(index)) choose(index);
        });
    const std::vector<std::uint32_t> before = chosen_;
    for (const std::uint32_t index : before)
      tables_.for_each_mate(index, [&](std::uint32_t mate) {
        if (tables_.task(mate).phase != TaskPhase::waiting) take_in(mate);
      });
  }
  void take_in(std::uint32_t index) {
    if (entry_of_.try_emplace(index, chosen_.size()).second) chosen_.push_back(index);
  }
  bool may_move(std::uint32_t index) const {
    const ScheduleTaskRow& row = tables_.task(index);
    if (row.declared) return false;
    const ScheduleClass& its = tables_.class_of(index);
    return row.phase == TaskPhase::running ? its.preemption != Preemption::never : its.movable;
  }

  std::vector<NodeIndex> allowed(std::uint32_t index) const {
    const ScheduleTaskRow& row = tables_.task(index);
    std::vector<NodeIndex> list;
    for (std::size_t i = 0; i < out_.nodes.size(); ++i) {
      const NodeIndex at = out_.nodes[i].index;
      if (tables_.suits(index, at) && (!row.declared || row.node == at)) list.push_back(static_cast<NodeIndex>(i));
    }
    return list;
  }

  void add_node(std::size_t position) {
    const NodeIndex at = out_.nodes[position].index;
    const ScheduleNodeRow& row = tables_.node(at);
    std::vector<double> fixed(tables_.resources(), 0.0), chosen(tables_.resources(), 0.0);
    double fixed_work = 0;
    std::uint32_t fixed_tasks = 0;
    tables_.for_each_on(at, [&](std::uint32_t index) {
      const bool in = entry_of_.contains(index);
      for (std::size_t r = 0; r < tables_.resources(); ++r) (in ? chosen : fixed)[r] += tables_.demand(index)[r];
      if (in) return;
      fixed_work += tables_.task(index).work;
      ++fixed_tasks;
    });
    PlacementNode node{.name = row.given.name, .accepting = forecast_.dispatcher().state(at) == NodeState::up};
    for (std::size_t r = 0; r < tables_.resources(); ++r)  // rounding must not make what is there too much
      node.capacity.push_back(std::max({row.given.capacity[r] - fixed[r], chosen[r], 0.0}));
    node.capacity.push_back(0);  // of work: see price_waits
    out_.problem.nodes.push_back(std::move(node));
    unit_.push_back(forecast_.unit(row, at, now_));
    const std::uint32_t slots = row.given.slots;
    wait_.push_back(fixed_tasks < slots ? Duration{} : held_duration(unit_.back() * fixed_work / slots));
    free_slots_.push_back(fixed_tasks < slots ? slots - fixed_tasks : 0);
  }

  void add_task(std::size_t j) {
    const std::uint32_t index = chosen_[j];
    const ScheduleTaskRow& row = tables_.task(index);
    const ScheduleClass& its = tables_.class_of(index);
    PlacementTask task{.sla = its.sla, .allowed = allowed(index)};
    task.demand.assign(tables_.demand(index).begin(), tables_.demand(index).end());
    task.demand.push_back(row.work * (1 - row.done_share));
    if (row.phase != TaskPhase::waiting) {
      task.current = position_[row.node];
      task.pinned = !may_move(index);
      task.move_price = its.move_price + (row.phase == TaskPhase::running ? its.preempt_price : 0);
    }
    for (std::size_t i = 0; i < out_.nodes.size(); ++i) {
      task.latency_on.push_back(latency(index, i));
      if (its.likes != 0 && (tables_.node(out_.nodes[i].index).given.labels & its.likes) == its.likes)
        task.preferred.push_back(static_cast<NodeIndex>(i));
    }
    if (!task.preferred.empty()) task.elsewhere_price = its.elsewhere_price;
    out_.tasks.push_back({tables_.id_of(index), row.version, set_rejection(row, its, task)});
    out_.stay.push_back(task.current.value_or(not_placed));
    out_.problem.tasks.push_back(std::move(task));
  }

  // True where not to be placed means to be given up.
  bool set_rejection(const ScheduleTaskRow& row, const ScheduleClass& its, PlacementTask& task) const {
    if (row.phase != TaskPhase::waiting) {
      if (row.phase == TaskPhase::placed && !task.pinned) task.reject_price = its.reject_price;
      return task.reject_price.has_value();
    }
    double later = std::numeric_limits<double>::infinity();
    for (const NodeIndex i : task.allowed)
      later = std::min(later, sla_penalty(its.sla, saturating(task.latency_on[i], options_.horizon)));
    later += options_.waiting_price;
    const bool drops = its.reject_price && *its.reject_price < later;
    task.reject_price = drops ? *its.reject_price : later;
    return drops;
  }
  static Duration saturating(Duration a, Duration b) noexcept {
    return b > Duration::max() - a ? Duration::max() : a + b;
  }

  Duration latency(std::uint32_t index, std::size_t position) const {
    const ScheduleTaskRow& row = tables_.task(index);
    const NodeIndex at = out_.nodes[position].index;
    const Duration elapsed = now_ - row.submitted;
    const double whole = static_cast<double>(forecast_.bound(row, tables_.node(at)).count());
    if (row.phase == TaskPhase::running && row.node == at) {
      const double ran = static_cast<double>((now_ - row.started_at).count());
      return saturating(elapsed, held_duration(std::min(whole - ran, whole * (1 - row.done_share))));
    }
    const bool resumes = tables_.class_of(index).preemption == Preemption::resume;
    const Duration own = held_duration(whole * (resumes ? 1 - row.done_share : 1));
    return saturating(elapsed, saturating(wait_[position], own));
  }

  // Tasks of mean work w that pay p for a millisecond: what finds a slot of s free waits for nothing; of those after that,
  // the j-th waits j·w/s, from 1 on, or from 0 where what is not in the problem has every slot, as that wait is in the
  // latency. What is beyond the time that they have left on average costs p, so a unit of work costs p·(j·w/s − left)/w; as
  // steps of s tasks, each at the mean of its j.
  void price_waits() {
    double penalty = 0, work = 0, tasks = 0;
    for (const PlacementTask& task : out_.problem.tasks) {
      penalty += task.sla.penalty_per_ms;
      work += task.demand.back();
      ++tasks;
    }
    for (std::size_t i = 0; i < out_.nodes.size(); ++i) {
      PlacementNode& node = out_.problem.nodes[i];
      node.capacity.back() = 2 * work + 1;
      if (penalty == 0 || work == 0) continue;
      const double mean = work / tasks, slots = tables_.node(out_.nodes[i].index).given.slots;
      const double turn_ms = unit_[i] * 1e-6 * mean, left_ms = time_left_ms(i);
      const double within = (slots + (free_slots_[i] > 0 ? 1 : -1)) / (2 * slots);
      LoadPrice price{.resource = tables_.resources()};
      for (std::size_t k = 0; k < wait_pieces; ++k) {
        const double step = static_cast<double>(k);
        price.pieces.push_back({(free_slots_[i] + step * slots) * mean,
                                penalty / tasks * std::max(0.0, turn_ms * (step + within) - left_ms) / mean});
      }
      node.load_prices.push_back(std::move(price));
    }
  }
  /// Of those that may be here, on average, until they are late.
  double time_left_ms(std::size_t position) const {
    double sum = 0, tasks = 0;
    for (const PlacementTask& task : out_.problem.tasks) {
      if (task.sla.penalty_per_ms == 0) continue;
      const Duration left = task.sla.target - std::min(task.sla.target, task.latency_on[position]);
      sum += static_cast<double>(left.count()) * 1e-6;
      ++tasks;
    }
    return tasks > 0 ? sum / tasks : 0;
  }

  void add_groups() {
    std::map<std::uint32_t, std::vector<std::size_t>> groups;
    for (std::size_t j = 0; j < chosen_.size(); ++j)
      if (const std::uint32_t mates = tables_.task(chosen_[j]).mates; mates != no_index) groups[mates].push_back(j);
    for (auto& [mates, members] : groups) {
      const ScheduleClass& its = tables_.class_of(chosen_[members.front()]);
      out_.problem.groups.push_back(
          {.tasks = std::move(members), .per_node_max = its.per_node_max, .crowding_price = its.crowding_price});
    }
  }

  const ScheduleOptions& options_;
  ScheduleTables& tables_;
  const ScheduleForecast& forecast_;
  const SteadyTime now_;
  ScheduleSnapshot out_;
  std::vector<NodeIndex> position_;  ///< of a node of the schedule in the problem
  std::vector<std::uint32_t> chosen_;
  std::map<std::uint32_t, std::size_t> entry_of_;
  std::vector<double> unit_, free_slots_;
  std::vector<Duration> wait_;
};

}  // namespace aura::detail
