// When to try again, and when to stop. Pure: the time and the dice are arguments.
#pragma once

#include <aura/core/error.hpp>
#include <aura/core/random.hpp>
#include <aura/core/time.hpp>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <optional>

namespace aura {

/// Which failures are worth another attempt, and how long to wait for it.
///
/// Exponential backoff with full jitter: the wait before attempt n+1 is uniform in [0, min(cap, base·factorⁿ⁻¹)]
/// (Brooker, "Exponential Backoff and Jitter", 2015). A failure that says when to come back is not tried earlier.
struct RetryPolicy {
  std::uint32_t attempts_max = 3;  ///< in all, the first one counted; 0 means without limit
  Duration base = std::chrono::milliseconds(100);
  double factor = 2.0;
  Duration cap = std::chrono::seconds(30);  ///< largest single wait
  std::optional<Duration> deadline{};  ///< from the first attempt: none begins after it
  bool retry_timeouts = true;
  bool retry_permanent = false;  ///< the others are always worth it, but for cancellation

  static constexpr RetryPolicy none() noexcept {
    RetryPolicy policy;
    policy.attempts_max = 1;
    return policy;
  }
  /// Until it succeeds: for work that must finish.
  static constexpr RetryPolicy forever() noexcept {
    RetryPolicy policy;
    policy.attempts_max = 0;
    return policy;
  }

  constexpr bool worth_retrying(ErrorClass error_class) const noexcept {
    switch (error_class) {
      case ErrorClass::transient:
      case ErrorClass::rejected: return true;
      case ErrorClass::timeout: return retry_timeouts;
      case ErrorClass::permanent: return retry_permanent;
      case ErrorClass::cancelled: return false;
    }
    return false;
  }

  /// The longest wait after `attempts` failed attempts.
  constexpr Duration backoff_max(std::uint32_t attempts) const noexcept {
    double span = static_cast<double>(base.count());
    for (std::uint32_t i = 1; i < attempts && span < static_cast<double>(cap.count()); ++i) {
      const double before = span;
      span *= factor;
      if (span == before) break;  // it stays as it is, however many there were
    }
    return span < static_cast<double>(cap.count()) ? Duration(static_cast<Duration::rep>(span)) : cap;
  }

  /// The wait before the next attempt, or none where there shall be no other.
  /// `attempts`: how many there were. `elapsed`: since the first began. Draws from `random` only when it retries.
  std::optional<Duration> next(std::uint32_t attempts, const Error& error, Duration elapsed, Random& random) const {
    if (!worth_retrying(error.error_class())) return std::nullopt;
    if (attempts_max != 0 && attempts >= attempts_max) return std::nullopt;
    const double jitter = random.uniform();
    const Duration backoff(static_cast<Duration::rep>(jitter * static_cast<double>(backoff_max(attempts).count())));
    const Duration wait = std::max(backoff, error.retry_after());
    if (deadline && wait > *deadline - elapsed) return std::nullopt;
    return wait;
  }

  friend bool operator==(const RetryPolicy&, const RetryPolicy&) = default;
};

/// Keeps retries from multiplying an outage: each success earns a part of a token, each retry spends a whole one,
/// so in the long run retries are at most `ratio` of successes (Finagle's and gRPC's retry budget).
/// Not shared between threads: the owner serialises it.
class RetryBudget {
 public:
  struct Options {
    double ratio = 0.2;  ///< tokens earned by a success
    double tokens_max = 100;  ///< bound of what can be saved up, and the balance at the start
  };
  RetryBudget() : RetryBudget(Options{}) {}
  explicit RetryBudget(Options options) : options_(options), tokens_(options.tokens_max) {}

  void deposit() noexcept { tokens_ = std::min(options_.tokens_max, tokens_ + options_.ratio); }
  /// False where the budget is spent: the retry shall wait for a success, or not take place.
  bool withdraw() noexcept {
    if (tokens_ < 1) return false;
    tokens_ -= 1;
    return true;
  }
  double balance() const noexcept { return tokens_; }

 private:
  Options options_;
  double tokens_;
};

}  // namespace aura
