// One class of a scheduler: its queue of lanes and what was measured of it.
#pragma once

#include <aura/operational/codel.hpp>
#include <aura/operational/deadline_queue.hpp>
#include <aura/operational/detail/deadline_counts.hpp>
#include <aura/operational/detail/handling_estimate.hpp>
#include <aura/operational/detail/signal_lanes.hpp>
#include <aura/operational/signal_class.hpp>
#include <aura/operational/signal_metrics.hpp>

#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

namespace aura::detail {

/// How many signals a batch of a class aims at: one more after a full batch that was in time, a tenth fewer after a miss
/// (the AIMD of Clipper, Crankshaw and others 2017).
class BatchTarget {
 public:
  explicit BatchTarget(std::size_t size_max) noexcept : size_max_(static_cast<double>(size_max)) {}
  std::size_t size() const noexcept { return static_cast<std::size_t>(target_); }
  void ended(std::size_t signals, bool missed) noexcept {
    if (missed)
      target_ = std::max(1.0, target_ * 0.9);
    else if (signals >= size())
      target_ = std::min(size_max_, target_ + 1);
  }

 private:
  double size_max_;
  double target_ = 1;
};

/// A lane that was taken out of the queue to be looked at before its turn.
struct StagedLane {
  SteadyTime order{};
  LaneToken token{};
};

struct SignalClassState {
  explicit SignalClassState(SignalClass of)
      : options(std::move(of)),
        queue(DeadlineQueueOptions{.capacity_max = 2 * options.capacity_max + 64}),
        estimate(options.handling_hint, options.batch.call_cost),
        codel(options.codel),
        target(std::max<std::size_t>(options.batch.size_max, 1)) {
    metrics.batch_target.set(target.size());
  }

  bool batches() const noexcept { return options.batch.size_max > 1; }
  std::uint64_t waiting() const noexcept { return metrics.waiting.get(); }

  /// True where the first of all is a staged lane, false where it is the queue's. One of them holds something.
  bool head_is_staged() noexcept {
    return !staged.empty() && (queue.empty() || staged.front().order <= queue.next_deadline());
  }
  bool nothing_queued() const noexcept { return staged.empty() && queue.empty(); }
  LaneToken pop_head() noexcept {
    if (!head_is_staged()) return queue.pop();
    const LaneToken token = staged.front().token;
    staged.erase(staged.begin());
    return token;
  }

  SignalClass options;
  std::vector<StagedLane> staged{};  // in order; a few
  DeadlineQueue<LaneToken> queue;
  DeadlineCounts counts;
  HandlingEstimate estimate;
  CoDel codel;
  BatchTarget target;
  SignalClassMetrics metrics;
};

}  // namespace aura::detail
