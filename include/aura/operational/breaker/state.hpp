// The states of a circuit breaker, and what is told of it.
#pragma once

#include <aura/core/time.hpp>

#include <cstdint>
#include <string_view>

namespace aura {

enum class BreakerState : std::uint8_t {
  closed = 0,       ///< everything passes
  throttling = 1,   ///< the policy is asked for every call, and turns some away
  open = 2,         ///< nothing passes until a time
  half_open = 3,    ///< a share passes as probes; what they find decides
  forced_open = 4,  ///< by hand: nothing passes until somebody resets it
  disabled = 5,     ///< by hand: everything passes and nothing is counted
};

constexpr std::string_view to_string(BreakerState state) noexcept {
  switch (state) {
    case BreakerState::closed: return "closed";
    case BreakerState::throttling: return "throttling";
    case BreakerState::open: return "open";
    case BreakerState::half_open: return "half-open";
    case BreakerState::forced_open: return "forced open";
    case BreakerState::disabled: return "disabled";
  }
  return "unknown";
}

/// A change of state. Told outside the breaker's lock, so two of them may arrive in either order on two threads:
/// `epoch` tells which came first.
struct BreakerChanged {
  std::string_view name;
  BreakerState from = BreakerState::closed;
  BreakerState to = BreakerState::closed;
  std::uint64_t epoch = 0;  ///< grows with every change but those between closed and throttling
  SteadyTime at{};
  std::string_view why;  ///< a literal
};

/// A call that was turned away. Costs the hot path nothing where no observer has an overload for it.
struct BreakerRejected {
  std::string_view name;
  BreakerState state = BreakerState::open;
  Duration retry_after{};
};

/// What a policy knows at a moment; what it does not count is zero.
struct PolicyView {
  std::uint64_t calls = 0;       ///< in its window, or since it began where it has none
  std::uint64_t failures = 0;    ///< of these
  std::uint64_t slow = 0;        ///< of these
  double pass_probability = 1;   ///< of the next call, in the states closed and throttling
  std::uint32_t limit = 0;       ///< of calls in flight
  double evidence = 0;           ///< 0 healthy, 1 opens
  double healthy_rate = 0;       ///< the failure rate that it takes for normal
};

/// What a breaker is doing at a moment. Parts are read one after another, so under load they may be calls apart.
struct BreakerSnapshot {
  std::string_view name;
  BreakerState state = BreakerState::closed;
  std::uint64_t epoch = 0;
  SteadyTime open_until{};            ///< where it is open
  std::uint32_t recovery_step = 0;    ///< where it is half-open: the first is 0
  std::uint32_t probes_in_flight = 0;
  std::uint32_t relapses = 0;         ///< openings in a row without a settled time between them
  std::uint64_t openings = 0;         ///< since it was made
  PolicyView policy{};
};

/// What one breaker tells those of other processes that guard the same dependency. Small enough for a gossip value.
struct BreakerEvidence {
  std::uint64_t epoch = 0;  ///< of the sender's breaker: an older one says nothing new
  BreakerState verdict = BreakerState::closed;
  double evidence = 0;      ///< of the sender's own calls alone, 0 to 1, so that rumours do not feed on themselves
};

}  // namespace aura
