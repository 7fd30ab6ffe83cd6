// Who carries out what a scheduler decides.
#pragma once

#include <aura/operational/placement/schedule_event.hpp>

#include <concepts>
#include <functional>
#include <utility>

namespace aura {

/// Told of every decision, one after the other, in their order: hand the task to its node; take it off the node; its node
/// failed, so submit it again; it was accepted, and is given up. See `ScheduleVerb`. Must not throw and must not block;
/// may call the scheduler.
template <class S>
concept placement_sink = requires(S& sink, const TaskPlacement& at) {
  sink.start(at);
  sink.preempt(at);
  sink.lost(at);
  sink.rejected(at);
};

namespace detail {

template <placement_sink Sink>
std::function<void(const ScheduleAction&)> erase_placement_sink(Sink sink) {
  return [sink = std::move(sink)](const ScheduleAction& action) mutable {
    switch (action.verb) {
      case ScheduleVerb::start: return sink.start(action.at);
      case ScheduleVerb::preempt: return sink.preempt(action.at);
      case ScheduleVerb::lost: return sink.lost(action.at);
      case ScheduleVerb::rejected: return sink.rejected(action.at);
    }
  };
}

}  // namespace detail
}  // namespace aura
