// Why a guard turned a call away, as one set of codes for everything that may stand before an attempt.
#pragma once

#include <aura/core/error.hpp>

#include <cstdint>
#include <string_view>

namespace aura {

/// Codes of the domain "guard". All are of class `rejected` (the call did not begin, nothing happened), but for
/// `fault_injected`, whose class is the experimenter's choice.
enum class rejection_errc : std::int32_t {
  breaker_open = 1,         ///< the circuit breaker is open
  breaker_throttled = 2,    ///< the breaker lets a part of the calls pass, and this was not one of them
  breaker_half_open = 3,    ///< every probe of the half-open breaker is in flight
  breaker_forced_open = 4,  ///< an operator holds the breaker open
  concurrency_limit = 5,    ///< an adaptive limit of calls in flight
  ejected = 6,              ///< this endpoint of a group is ejected
  bulkhead_full = 7,        ///< a fixed limit of calls in flight
  rate_limited = 8,         ///< no token left
  queue_full = 9,           ///< as many wait as may wait
  deadline_too_near = 10,   ///< its turn would come after what it was ready to wait
  retry_budget = 11,        ///< the retry budget is spent
  fault_injected = 12,      ///< an experiment, on purpose
  draining = 13,            ///< being shut down: takes no new calls
};
constexpr std::string_view error_domain(rejection_errc) noexcept { return "guard"; }

/// One line that names what rejected.
constexpr std::string_view to_string(rejection_errc code) noexcept {
  switch (code) {
    case rejection_errc::breaker_open: return "the circuit breaker is open";
    case rejection_errc::breaker_throttled: return "the circuit breaker throttles";
    case rejection_errc::breaker_half_open:
      return "the circuit breaker is half-open and all its probes are in flight";
    case rejection_errc::breaker_forced_open: return "the circuit breaker is held open by hand";
    case rejection_errc::concurrency_limit: return "the concurrency limit is reached";
    case rejection_errc::ejected: return "the endpoint is ejected from its group";
    case rejection_errc::bulkhead_full: return "the bulkhead is full";
    case rejection_errc::rate_limited: return "the rate limiter has no token left";
    case rejection_errc::queue_full: return "the queue of those who wait is full";
    case rejection_errc::deadline_too_near: return "the turn in the queue would come after the deadline";
    case rejection_errc::retry_budget: return "the retry budget is spent";
    case rejection_errc::fault_injected: return "a fault was injected";
    case rejection_errc::draining: return "draining, and takes no new calls";
  }
  return "an unknown rejection";
}

/// The error of a rejection. Allocates nothing. `retry_after`: zero where nobody knows.
inline Error rejection(rejection_errc code, Duration retry_after = {}) noexcept {
  return Error::fixed(code, ErrorClass::rejected, to_string(code)).with_retry_after(retry_after);
}

}  // namespace aura
