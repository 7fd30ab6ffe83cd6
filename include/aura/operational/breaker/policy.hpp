// What decides from recorded outcomes whether a dependency is to be called.
#pragma once

#include <aura/core/time.hpp>
#include <aura/operational/breaker/recovery.hpp>
#include <aura/operational/breaker/state.hpp>
#include <aura/operational/detail/shared_random.hpp>
#include <aura/operational/rejection.hpp>

#include <concepts>
#include <cstdint>
#include <string_view>

namespace aura {

/// One call as a policy sees it, after its result was classified.
struct CallResult {
  bool failed = false;
  bool slow = false;
  Duration latency{};  ///< zero where the host did not measure it

  bool bad() const noexcept { return failed || slow; }
};

/// Whether one call may pass.
struct Admission {
  bool passes = true;
  bool calm = false;  ///< nothing is held back any more: the breaker need not ask until the policy says so again
  // Where it does not pass:
  rejection_errc code = rejection_errc::breaker_throttled;
  Duration retry_after{};
};

/// What a policy concludes from one outcome.
struct Verdict {
  enum class Kind : std::uint8_t {
    keep,  ///< as it was
    throttle,  ///< ask me for every call from now on
    open,
  };
  Kind kind = Kind::keep;
  Duration open_for{};  ///< zero: as the breaker's recovery says
  std::string_view why;  ///< a literal

  static constexpr Verdict keep() noexcept { return {}; }
  static constexpr Verdict throttle(std::string_view why) noexcept { return {Kind::throttle, {}, why}; }
  static constexpr Verdict open(std::string_view why, Duration span = {}) noexcept { return {Kind::open, span, why}; }
};

/// How a policy learns the time: a function, because most records need none, and a clock costs more than the rest.
template <class F>
concept time_source = requires(F& now) {
  { now() } -> std::same_as<SteadyTime>;
};

namespace detail {
using AnyTimeSource = SteadyTime (*)();
}

/// Decides in the states closed and throttling. A policy synchronises itself: `admit`, `record`, `cancel` and `view`
/// are called from many threads at once; `reset` under the breaker's lock, perhaps beside a late `record`.
///
/// - `needs_time`: `admit` and `record` of a success read the time, so that a breaker without one reads a clock.
/// - `needs_in_flight`: `admit` is given how many calls are in flight, which costs the breaker two atomic operations.
/// - `always_asked`: `admit` is asked also in the state closed.
/// - `record` hears only outcomes that count; a call that was cancelled or ignored gives `cancel`.
template <class P>
concept breaker_policy = requires(P& policy, const P& looked_at, SteadyTime now, std::uint32_t in_flight,
                                  detail::SharedRandom& random, const CallResult& call, detail::AnyTimeSource& time) {
  { P::needs_time } -> std::convertible_to<bool>;
  { P::needs_in_flight } -> std::convertible_to<bool>;
  { P::always_asked } -> std::convertible_to<bool>;
  { policy.admit(now, in_flight, random) } -> std::same_as<Admission>;
  { policy.record(call, time) } -> std::same_as<Verdict>;
  policy.cancel();
  policy.reset(now);
  { looked_at.view() } -> std::same_as<PolicyView>;
};

/// What most policies have in common: they let everything pass until they open.
struct OpensOnly {
  static constexpr bool needs_time = false;
  static constexpr bool needs_in_flight = false;
  static constexpr bool always_asked = false;
  Admission admit(SteadyTime, std::uint32_t, detail::SharedRandom&) const noexcept { return {.calm = true}; }
  void cancel() const noexcept {}
};

/// A policy that says how its breaker recovers unless the user says otherwise.
template <class P>
concept recovers_its_own_way = requires(const P& policy) {
  { policy.recovery() } -> std::convertible_to<RecoveryOptions>;
};

/// A policy that listens to breakers in other processes.
template <class P>
concept hears_peers = requires(P& policy, std::uint64_t peer, const BreakerEvidence& said, SteadyTime now) {
  policy.absorb(peer, said, now);
};

}  // namespace aura
