// Batches that wait for company, and for how long each shall.
#pragma once

#include <aura/core/time.hpp>
#include <aura/operational/detail/signal_class_state.hpp>
#include <aura/operational/detail/signal_lanes.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace aura::detail {

/// When a batch closes. When full: at once. Else when the earliest deadline less the predicted handling says so, or when
/// the waiting of all in it has come to the cost of the call that another signal would save: never more than twice the
/// best that one who knew the future could do (Dooly, Goldman, Scott, "On-line analysis of the TCP acknowledgment delay
/// problem", 2001).
inline SteadyTime batch_close_time(const SignalLane& lane, const SignalClassState& of) noexcept {
  if (lane.waiting >= of.target.size()) return lane.opened;
  const double n = static_cast<double>(lane.waiting);
  const double wait_ns = (of.estimate.call_ns() + lane.joined_ns) / n;
  const Duration wait = std::min(Duration(static_cast<Duration::rep>(wait_ns)), of.options.batch.wait_max);
  const double handling_ns = of.estimate.batch_ns(lane.waiting) + 2 * of.estimate.deviation_ns() * std::sqrt(n);
  return std::min(lane.opened + wait, saturating_add(lane.due, -Duration(static_cast<Duration::rep>(handling_ns))));
}

/// The lanes that gather, at most `gathering_max`; each question looks at all of them.
template <class Backlog>
class SignalGathering {
 public:
  explicit SignalGathering(std::size_t gathering_max) : gathering_max_(gathering_max) {
    lanes_.reserve(gathering_max);
  }

  /// A batch is at the head of its class: true where it shall not wait (any longer), else it gathers.
  bool closes(std::uint32_t at, Backlog& backlog, SteadyTime now) {
    SignalLane& lane = backlog.lane(at);
    const SignalClassState& of = backlog.of_class(lane.class_index);
    if (of.options.batch.bypass || lanes_.size() >= gathering_max_) return true;
    lane.opened = now;
    lane.joined_ns = 0;
    if (batch_close_time(lane, of) <= now) return true;
    lane.gathering = true;
    lanes_.push_back(at);
    return false;
  }
  /// One whose time has come, which gathers no more; no_index where there is none.
  std::uint32_t take_due(Backlog& backlog, SteadyTime now) {
    for (std::size_t i = 0; i < lanes_.size(); ++i) {
      const std::uint32_t at = lanes_[i];
      SignalLane& lane = backlog.lane(at);
      if (batch_close_time(lane, backlog.of_class(lane.class_index)) > now) continue;
      lane.gathering = false;
      lanes_.erase(lanes_.begin() + static_cast<std::ptrdiff_t>(i));  // the others in order of their opening
      return at;
    }
    return no_index;
  }
  SteadyTime next_close(const Backlog& backlog) const noexcept {
    SteadyTime first = SteadyTime::max();
    for (const std::uint32_t at : lanes_) {
      const SignalLane& lane = backlog.lane(at);
      first = std::min(first, batch_close_time(lane, backlog.of_class(lane.class_index)));
    }
    return first;
  }
  void clear() noexcept { lanes_.clear(); }

 private:
  std::size_t gathering_max_;
  std::vector<std::uint32_t> lanes_;
};

}  // namespace aura::detail
