// Which outcomes count against a dependency, which count for it, and which say nothing about it.
#pragma once

#include <aura/core/outcome.hpp>
#include <aura/operational/breaker/policy.hpp>

#include <cstdint>
#include <optional>

namespace aura {

enum class Counts : std::uint8_t {
  success,
  failure,
  nothing,  ///< as if the call had not been made
};

/// What a breaker makes of an outcome, by its error class. By default a permanent error is the caller's fault: the
/// dependency answered, which speaks for it. A rejection is its way of saying that it has too much to do. A call that
/// was cancelled says nothing.
struct Classification {
  Counts transient = Counts::failure;
  Counts permanent = Counts::success;
  Counts timeout = Counts::failure;
  Counts cancelled = Counts::nothing;
  Counts rejected = Counts::failure;
  /// A call that took at least so long is slow, whether it succeeded or not.
  Duration slow_after = Duration::max();

  CallResult success(Duration latency) const noexcept {
    return {.failed = false, .slow = latency >= slow_after, .latency = latency};
  }
  /// None where the outcome says nothing.
  std::optional<CallResult> count(const AttemptOutcome& outcome) const noexcept {
    CallResult call = success(outcome.latency);
    if (outcome.ok()) return call;
    const Counts counts = of(*outcome.failure);
    if (counts == Counts::nothing) return std::nullopt;
    call.failed = counts == Counts::failure;
    return call;
  }

  Counts of(ErrorClass error_class) const noexcept {
    switch (error_class) {
      case ErrorClass::transient: return transient;
      case ErrorClass::permanent: return permanent;
      case ErrorClass::timeout: return timeout;
      case ErrorClass::cancelled: return cancelled;
      case ErrorClass::rejected: return rejected;
    }
    return Counts::failure;
  }
};

}  // namespace aura
