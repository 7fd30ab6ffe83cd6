// What a dispatcher knows of its nodes, and what it predicts from that.
#pragma once

#include <aura/core/time.hpp>

#include <algorithm>
#include <cstddef>
#include <vector>

namespace aura::detail {

/// Estimates are in nanoseconds for a unit of work, times in nanoseconds since the first node joined: a double counts
/// them exactly for a hundred days, and to a few beyond that.
class DispatchTable {
 public:
  struct Weights {
    double dispatchers = 1;
    double memory = 8;
    double prior = 1;
    double forget_after = 20;
    double knee = 2;
  };
  /// What is the same for every node of one choice.
  struct Moment {
    double now = 0;
    double work = 1;  ///< of the task
    double per_knee = 1;  ///< one over the queue at which the penalty doubles the prediction
  };
  struct Prediction {
    double completion = 0;  ///< nanoseconds from now
    double score = 0;  ///< the same with the penalty
  };

  DispatchTable(std::size_t nodes_max, const Weights& weights)
      : weights_(weights), keep_(1 - 1 / weights.memory), known_(nodes_max), lines_(nodes_max) {}

  Moment moment(SteadyTime now, double work) const noexcept {
    const double mean = slots_ > 0 ? weights_.dispatchers * work_ / slots_ : 0;
    return {since_origin(now), work, 1 / (1 + weights_.knee * mean)};
  }

  /// A new node. `usual`: its service as first guess.
  void open(std::size_t node, SteadyTime now, double slots, double usual) noexcept {
    if (!has_origin_) origin_ = now;
    has_origin_ = true;
    known_[node] = {.seen = since_origin(now), .slots = slots, .usual = usual};
    refresh(node);
  }

  /// Counts the slots of the nodes that take work: `change` is +slots or -slots.
  void offer(double change) noexcept { slots_ = std::max(0.0, slots_ + change); }

  void began(std::size_t node, SteadyTime now, double work) noexcept {
    Known& known = pass_time(node, now);
    known.tasks += 1;
    tasks_ += 1;
    known.work += work;
    work_ += work;
    refresh(node);
  }

  /// `completed`: the node has done the work; otherwise it is merely not waited for any more.
  void ended(std::size_t node, SteadyTime now, double work, bool completed) noexcept {
    Known& known = pass_time(node, now);
    if (completed) learn(known, work);
    take_off(node, 1, work);
  }

  /// Forgets what is outstanding at the node.
  void abandon(std::size_t node) noexcept { take_off(node, known_[node].tasks, known_[node].work); }

  double tasks(std::size_t node) const noexcept { return known_[node].tasks; }
  double usual(std::size_t node) const noexcept { return known_[node].usual; }

  /// `own`: nanoseconds that the task itself takes at this node; not positive where that is to be estimated.
  Prediction predict(std::size_t node, const Moment& at, double own) const noexcept {
    const Line& line = lines_[node];
    const double elapsed = at.now - line.seen;
    const double service = (line.busy + elapsed * line.busy_grows) / (line.done + elapsed * line.done_grows);
    const double queue = std::max(at.work, line.queue + at.work * line.per_slot);
    const double completion = service * queue + (own > 0 ? own - service * at.work : 0);
    const double bend = queue * at.per_knee;
    return {completion, completion + completion * (bend * bend)};
  }

 private:
  /// What is known of a node.
  struct Known {
    double seen = 0;  // when `busy` was last brought up to date
    double slots = 1;
    double tasks = 0;  // outstanding
    double work = 0;  // likewise
    double busy = 0;  // slot-nanoseconds, fading
    double done = 0;  // work, fading likewise
    double usual = 1;  // service for a unit of work in the long run
    double completions = 0;
  };
  /// And the same as a choice reads it: one cache line, and the least arithmetic. The service of a node is the maximum
  /// likelihood of exponential ones, time over work, in which what runs counts with the time that it has taken so far,
  /// and the usual service stands for `prior` units of work. That share grows while the node does nothing for us.
  struct alignas(64) Line {
    double seen = 0;
    double busy = 1, busy_grows = 0;  // with the prior; grows in a nanosecond
    double done = 1, done_grows = 0;  // likewise
    double queue = 0;  // work for a slot, of all dispatchers
    double per_slot = 1;
  };
  static constexpr double usual_weight = 0.02;

  double since_origin(SteadyTime now) const noexcept { return static_cast<double>((now - origin_).count()); }

  static double running(const Known& known) noexcept { return std::min(known.tasks, known.slots); }

  Known& pass_time(std::size_t node, SteadyTime time) noexcept {
    Known& known = known_[node];
    const double now = std::max(known.seen, since_origin(time));
    known.busy += running(known) * (now - known.seen);
    known.seen = now;
    return known;
  }

  void learn(Known& known, double work) noexcept {
    known.done += work;
    known.completions += 1;
    const double recent = std::max(1.0, known.busy / known.done);
    known.usual += std::max(usual_weight, 1 / (1 + known.completions)) * (recent - known.usual);
    known.busy *= keep_;
    known.done *= keep_;
  }

  // Sums of fractions drift: they start anew when nothing is outstanding.
  void take_off(std::size_t node, double tasks, double work) noexcept {
    Known& known = known_[node];
    known.tasks -= tasks;
    tasks_ -= tasks;
    known.work = known.tasks > 0 ? std::max(0.0, known.work - work) : 0;
    work_ = tasks_ > 0 ? std::max(0.0, work_ - work) : 0;
    refresh(node);
  }

  void refresh(std::size_t node) noexcept {
    const Known& known = known_[node];
    const double forgets = known.tasks > 0 ? 0 : 1 / (weights_.forget_after * known.usual);
    Line& line = lines_[node];
    line.seen = known.seen;
    line.busy = known.busy + weights_.prior * known.usual;
    line.busy_grows = running(known) + forgets * known.usual;
    line.done = known.done + weights_.prior;
    line.done_grows = forgets;
    line.per_slot = 1 / known.slots;
    line.queue = weights_.dispatchers * known.work * line.per_slot;
  }

  Weights weights_;
  double keep_;
  std::vector<Known> known_;
  std::vector<Line> lines_;
  SteadyTime origin_{};
  bool has_origin_ = false;
  double slots_ = 0;
  double tasks_ = 0;
  double work_ = 0;
};

}  // namespace aura::detail
