// Opens where too large a share of the calls of the last minute failed or was slow.
#pragma once

#include <aura/operational/breaker/policy.hpp>
#include <aura/operational/detail/time_window.hpp>

#include <algorithm>
#include <cstdint>
#include <stdexcept>

namespace aura {

struct FailureRateOverTimeOptions {
  Duration window = std::chrono::seconds(60);
  std::uint64_t calls_min = 100;  ///< in the window: before so many there is no verdict
  double failure_rate = 0.5;      ///< opens at this share or more
  double slow_rate = 1;           ///< likewise; more than 1 is never
};

/// The failure and slow-call rate over a stretch of time (resilience4j's time-based window). The window moves on in
/// sixteenths of itself. Judged at each bad call, and at the first call of each sixteenth. One increment a call.
class FailureRateOverTime : public OpensOnly {
 public:
  using Options = FailureRateOverTimeOptions;
  static constexpr bool needs_time = true;

  FailureRateOverTime() : FailureRateOverTime(Options{}) {}
  /// Throws std::invalid_argument that names the culprit.
  explicit FailureRateOverTime(const Options& options) : options_(checked(options)), window_(options.window) {}
  /// Not while it is in use.
  FailureRateOverTime(FailureRateOverTime&& other) noexcept
      : options_(other.options_), window_(other.options_.window) {}

  template <time_source Now>
  [[gnu::always_inline]] Verdict record(const CallResult& call, Now&& now) {
    const bool moved = window_.advance(now());
    window_.add(!call.bad() ? good : !call.slow ? failed : !call.failed ? slow : failed_and_slow);
    return call.bad() || moved ? judge() : Verdict::keep();
  }
  void reset(SteadyTime) { window_.clear(); }

  PolicyView view() const {
    PolicyView seen = counted();
    if (seen.calls > 0)
      seen.evidence = std::min(1.0, std::max(rate(seen.failures, seen.calls) / options_.failure_rate,
                                             rate(seen.slow, seen.calls) / options_.slow_rate));
    return seen;
  }

 private:
  enum Kind : std::size_t { good, failed, slow, failed_and_slow };

  static Options checked(const Options& options) {
    if (options.window <= Duration::zero())
      throw std::invalid_argument("FailureRateOverTime: window must be positive");
    if (options.calls_min == 0) throw std::invalid_argument("FailureRateOverTime: calls_min must be positive");
    if (!(options.failure_rate > 0))
      throw std::invalid_argument("FailureRateOverTime: failure_rate must be positive");
    if (!(options.slow_rate > 0)) throw std::invalid_argument("FailureRateOverTime: slow_rate must be positive");
    return options;
  }
  static double rate(std::uint64_t bad, std::uint64_t of) noexcept {
    return static_cast<double>(bad) / static_cast<double>(of);
  }
  PolicyView counted() const noexcept {
    const auto sums = window_.sums();
    return {.calls = sums[good] + sums[failed] + sums[slow] + sums[failed_and_slow],
            .failures = sums[failed] + sums[failed_and_slow],
            .slow = sums[slow] + sums[failed_and_slow]};
  }
  [[gnu::noinline]] Verdict judge() const noexcept {
    const PolicyView seen = counted();
    if (seen.calls < options_.calls_min) return Verdict::keep();
    if (rate(seen.failures, seen.calls) >= options_.failure_rate) return Verdict::open("the failure rate");
    if (rate(seen.slow, seen.calls) >= options_.slow_rate) return Verdict::open("the rate of slow calls");
    return Verdict::keep();
  }

  Options options_;
  detail::TimeWindow<4> window_;
};

static_assert(breaker_policy<FailureRateOverTime>);

}  // namespace aura
