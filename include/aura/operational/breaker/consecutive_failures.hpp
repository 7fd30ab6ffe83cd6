// Opens after so many failures in a row.
#pragma once

#include <aura/operational/breaker/policy.hpp>

#include <atomic>
#include <cstdint>
#include <stdexcept>

namespace aura {

struct ConsecutiveFailuresOptions {
  std::uint32_t failures = 5;  ///< in a row
  bool slow_counts = false;    ///< a slow success is as bad as a failure
};

/// As Envoy's consecutive errors and gobreaker's default. A success while nothing is wrong is one load.
class ConsecutiveFailures : public OpensOnly {
 public:
  using Options = ConsecutiveFailuresOptions;

  ConsecutiveFailures() : ConsecutiveFailures(Options{}) {}
  /// Throws std::invalid_argument for a number of zero.
  explicit ConsecutiveFailures(const Options& options) : options_(options) {
    if (options.failures == 0) throw std::invalid_argument("ConsecutiveFailures: failures must be positive");
  }
  ConsecutiveFailures(ConsecutiveFailures&& other) noexcept : options_(other.options_) {}

  template <time_source Now>
  [[gnu::always_inline]] Verdict record(const CallResult& call, Now&&) noexcept {
    if (!call.failed && !(call.slow && options_.slow_counts)) [[likely]] {
      if (row_.load(std::memory_order_relaxed) != 0) row_.store(0, std::memory_order_relaxed);
      return Verdict::keep();
    }
    if (row_.fetch_add(1, std::memory_order_relaxed) + 1 < options_.failures) return Verdict::keep();
    return Verdict::open("too many failures in a row");
  }
  void reset(SteadyTime) noexcept { row_.store(0, std::memory_order_relaxed); }

  PolicyView view() const noexcept {
    const std::uint32_t row = row_.load(std::memory_order_relaxed);
    return {.calls = row, .failures = row, .evidence = static_cast<double>(row) / options_.failures};
  }

 private:
  Options options_;
  std::atomic<std::uint32_t> row_{0};
};

static_assert(breaker_policy<ConsecutiveFailures>);

}  // namespace aura
