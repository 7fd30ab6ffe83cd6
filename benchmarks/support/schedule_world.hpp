// A schedule against reality: what the model predicts of its decisions, and what then happens in real queues.
#pragma once

#include <aura/core/random.hpp>
#include <aura/operational/placement/schedule_core.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <numbers>
#include <optional>
#include <queue>
#include <utility>
#include <vector>

namespace aura::bench {

/// Tasks arrive as a Poisson process at nodes of uneven speed; each node serves as many as it has slots, first come first
/// served; services are lognormal.
struct ScheduleWorldOptions {
  std::size_t nodes = 8;
  double load = 0.85;
  double sigma = 0.6;  ///< of the logarithm of a service
  double percentile = 0.9;  ///< of the SLA, and so of the predictions
  std::size_t arrivals = 20'000;
  Duration period = std::chrono::milliseconds(50);  ///< between optimisations; zero: none
  std::uint64_t seed = 1;
};

struct ScheduleWorldResult {
  /// Lateness, broken maxima and load prices of each decision's placement, and what the SLA then made its tasks cost; the
  /// same tasks in both. Tasks that a decision left waiting are in neither.
  double predicted = 0, happened = 0;
  double penalty = 0;  ///< by the SLA, of all tasks
  double within_bound = 0;  ///< share of tasks that ended within what they were promised
  std::size_t decisions = 0, moved = 0, finished = 0;
};

template <solver Solver>
class ScheduleWorld {
 public:
  ScheduleWorld(const ScheduleWorldOptions& options, Solver solver)
      : options_(options), dice_(options.seed), core_(make(options)), solver_(std::move(solver)) {
    double capacity = 0;
    for (std::size_t i = 0; i < options_.nodes; ++i) {
      const double speed = 0.5 + static_cast<double>(i % 4) * 0.5;
      core_.join({.capacity = {64}, .speed = speed, .slots = 2}, now_).value();
      nodes_.push_back({.speed = speed});
      capacity += 2 * speed;
    }
    rate_per_ms_ = options_.load * capacity / mean_ms;
  }

  ScheduleWorldResult run() {
    SteadyTime arrival = now_, tick = now_ + options_.period;
    std::size_t arrived = 0;
    while (arrived < options_.arrivals || !ends_.empty()) {
      const SteadyTime next_arrival = arrived < options_.arrivals ? arrival : SteadyTime::max();
      const SteadyTime next_end = ends_.empty() ? SteadyTime::max() : ends_.top().at;
      const SteadyTime next_tick = options_.period > Duration::zero() ? tick : SteadyTime::max();
      now_ = std::min({next_arrival, next_end, next_tick});
      if (now_ == next_end) {
        end();
      } else if (now_ == next_arrival) {
        arrive(++arrived);
        arrival += milliseconds(-std::log(1 - dice_.uniform()) / rate_per_ms_);
      } else {
        optimise();
        tick += options_.period;
      }
      carry_out();
    }
    for (const auto& [key, times] : weights_) result_.happened += times * penalties_[key];
    const auto& stats = core_.class_stats(0);
    result_.penalty = stats.penalty;
    result_.within_bound = 1 - static_cast<double>(stats.over_bound) / static_cast<double>(stats.finished);
    result_.finished = stats.finished;
    result_.moved = core_.stats().moved;
    return result_;
  }

 private:
  static constexpr double mean_ms = 20;

  struct Node {
    double speed = 1;
    std::size_t running = 0;
    std::deque<TaskPlacement> queue{};
  };
  struct End {
    SteadyTime at{};
    TaskPlacement task{};
    bool operator<(const End& other) const { return at > other.at; }
  };

  static ScheduleCore make(const ScheduleWorldOptions& options) {
    ScheduleOptions given;
    given.resources = {"memory"};
    given.nodes_max = options.nodes;
    ScheduleClass its{.name = "task", .demand = {1}, .work = std::chrono::milliseconds(20), .move_price = 5};
    its.sla = {.target = std::chrono::milliseconds(40),
               .maximum = Duration::max(),
               .percentile = options.percentile,
               .penalty_per_ms = 1};
    given.classes = {its};
    return ScheduleCore::make(std::move(given), Random(options.seed)).value();
  }
  static Duration milliseconds(double value) { return Duration(static_cast<Duration::rep>(value * 1e6)); }

  double service_ms() {
    const double normal =
        std::sqrt(-2 * std::log(1 - dice_.uniform())) * std::cos(2 * std::numbers::pi * dice_.uniform());
    return mean_ms * std::exp(options_.sigma * normal - options_.sigma * options_.sigma / 2);
  }

  void arrive(std::uint64_t key) {
    services_ms_[key] = service_ms();
    submitted_[key] = now_;
    static_cast<void>(core_.submit({.key = key}, now_));
  }
  void begin(std::size_t node) {
    while (nodes_[node].running < 2 && !nodes_[node].queue.empty()) {
      const TaskPlacement task = nodes_[node].queue.front();
      nodes_[node].queue.pop_front();
      if (!core_.started(task.task, task.fence, now_)) continue;
      ++nodes_[node].running;
      ends_.push({now_ + milliseconds(services_ms_[task.key] / nodes_[node].speed), task});
    }
  }
  void end() {
    const TaskPlacement task = ends_.top().task;
    ends_.pop();
    --nodes_[task.node].running;
    const double late_ms = static_cast<double>((now_ - submitted_[task.key]).count()) * 1e-6 - 40;
    penalties_[task.key] = std::max(0.0, late_ms);
    core_.ended(task.task, task.fence, TaskEnd::finished, now_).value();
    begin(task.node);
  }
  void carry_out() {
    for (const ScheduleAction& action : core_.actions()) {
      std::deque<TaskPlacement>& queue = nodes_[action.at.node].queue;
      if (action.verb == ScheduleVerb::start) queue.push_back(action.at);
      if (action.verb == ScheduleVerb::preempt) std::erase(queue, action.at);
    }
    core_.clear_actions();
    for (std::size_t node = 0; node < nodes_.size(); ++node) begin(node);
  }

  void optimise() {
    std::optional<ScheduleSnapshot> taken = core_.snapshot(now_);
    if (!taken) return;
    const auto sound = SoundProblem::make(std::move(taken->problem)).value();
    const auto decision =
        decide(*taken, *sound, solver_.solve(sound->model(), taken->stay, {.work_max = 200'000})).value();
    Placement placement = taken->stay;
    for (const ScheduleDecision::Change& change : decision.changes)
      for (std::size_t j = 0; j < taken->tasks.size(); ++j)
        if (taken->tasks[j].id == change.task.id)
          for (std::size_t i = 0; i < taken->nodes.size(); ++i)
            if (taken->nodes[i].index == change.to.index) placement[j] = static_cast<NodeIndex>(i);
    const PlacementCost cost = PlacementVerifier(sound->problem()).verify(placement).value();
    result_.predicted += cost.tardiness + cost.broken + cost.load;
    ++result_.decisions;
    for (std::size_t j = 0; j < placement.size(); ++j)
      if (placement[j] != not_placed) ++weights_[core_.find(taken->tasks[j].id)->key];
    core_.apply(decision, now_);
  }

  const ScheduleWorldOptions options_;
  Random dice_;
  ScheduleCore core_;
  Solver solver_;
  SteadyTime now_{};
  double rate_per_ms_ = 0;
  std::vector<Node> nodes_;
  std::priority_queue<End> ends_;
  std::map<std::uint64_t, double> services_ms_, penalties_, weights_;
  std::map<std::uint64_t, SteadyTime> submitted_;
  ScheduleWorldResult result_;
};

template <solver Solver>
ScheduleWorldResult run_schedule(const ScheduleWorldOptions& options, Solver solver) {
  return ScheduleWorld<Solver>(options, std::move(solver)).run();
}

}  // namespace aura::bench
