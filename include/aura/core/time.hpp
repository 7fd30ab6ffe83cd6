// Two clocks that must not be mixed, as types that cannot be.
#pragma once

#include <chrono>
#include <cstdint>

namespace aura {

using Duration = std::chrono::nanoseconds;

/// The time line of one process: never steps, has an arbitrary origin. A tag, not a clock: the current time is
/// asked of a `runtime`, never of a global.
struct steady_timeline {
  using rep = std::int64_t;
  using period = std::nano;
  using duration = Duration;
  static constexpr bool is_steady = true;
};

/// The time line of the calendar, UTC: may step when the host's clock is set.
struct wall_timeline {
  using rep = std::int64_t;
  using period = std::nano;
  using duration = Duration;
  static constexpr bool is_steady = false;
};

/// For timeouts, latencies and leases inside one process. Nanoseconds since an arbitrary origin.
using SteadyTime = std::chrono::time_point<steady_timeline, Duration>;

/// For what is written down (a timer in three days). Nanoseconds since 1970-01-01T00:00:00Z; reaches the year 2262.
using WallTime = std::chrono::time_point<wall_timeline, Duration>;

/// The sum, held at the ends of the time line instead of overflowing: "never" plus an hour is still never.
template <class Timeline>
constexpr std::chrono::time_point<Timeline, Duration> saturating_add(std::chrono::time_point<Timeline, Duration> at,
                                                                     Duration span) noexcept {
  using Time = std::chrono::time_point<Timeline, Duration>;
  if (span > Duration::zero() && at > Time::max() - span) return Time::max();
  if (span < Duration::zero() && at < Time::min() - span) return Time::min();
  return at + span;
}

}  // namespace aura
