// Opens where too large a share of the last calls failed or was slow.
#pragma once

#include <aura/operational/breaker/policy.hpp>
#include <aura/operational/detail/cache_line.hpp>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <mutex>
#include <stdexcept>
#include <vector>

namespace aura {

struct FailureRateOptions {
  std::uint32_t window = 100;     ///< calls, at most 2²⁰
  std::uint32_t calls_min = 100;  ///< before so many there is no verdict
  double failure_rate = 0.5;      ///< opens at this share or more
  double slow_rate = 1;           ///< likewise; more than 1 is never
};

/// The failure and slow-call rate over the last calls (resilience4j's count-based window, and its defaults), exactly.
///
/// Only a bad call can raise a rate, so a good one is one increment: what is remembered are the positions of the bad
/// ones among all. A bad call takes a mutex; a good one does only where it is the one that makes the calls enough.
class FailureRate : public OpensOnly {
 public:
  using Options = FailureRateOptions;

  FailureRate() : FailureRate(Options{}) {}
  /// Throws std::invalid_argument that names the culprit.
  explicit FailureRate(const Options& options)
      : options_(checked(options)), failed_(options.window), slow_(options.window) {}
  /// Not while it is in use.
  FailureRate(FailureRate&& other) noexcept
      : options_(other.options_), failed_(std::move(other.failed_)), slow_(std::move(other.slow_)) {}

  template <time_source Now>
  [[gnu::always_inline]] Verdict record(const CallResult& call, Now&&) {
    if (call.bad()) [[unlikely]]
      return record_bad(call);
    const std::uint64_t calls = calls_.fetch_add(1, std::memory_order_relaxed) + 1;
    return calls == options_.calls_min ? judge_first(calls) : Verdict::keep();
  }
  void reset(SteadyTime) {
    const std::lock_guard lock(mutex_);
    calls_.store(0, std::memory_order_relaxed);
    failed_.clear();
    slow_.clear();
  }

  PolicyView view() const {
    const std::lock_guard lock(mutex_);
    const std::uint64_t calls = calls_.load(std::memory_order_relaxed);
    const std::uint64_t counted = std::min<std::uint64_t>(calls, options_.window);
    PolicyView seen{.calls = counted, .failures = failed_.since(calls), .slow = slow_.since(calls)};
    if (counted > 0)
      seen.evidence = std::min(1.0, std::max(rate(seen.failures, counted) / options_.failure_rate,
                                             rate(seen.slow, counted) / options_.slow_rate));
    return seen;
  }

 private:
  /// The positions of the latest bad calls, oldest first.
  class Positions {
   public:
    explicit Positions(std::uint32_t window) : ring_(window) {}
    void add(std::uint64_t position) noexcept {
      if (size_ == ring_.size()) drop();
      ring_[(first_ + size_++) % ring_.size()] = position;
    }
    /// How many lie within the window that ends with `calls`.
    std::uint64_t since(std::uint64_t calls) const noexcept {
      while (size_ > 0 && ring_[first_] + ring_.size() <= calls) drop();
      return size_;
    }
    void clear() noexcept { size_ = 0; }

   private:
    void drop() const noexcept {
      first_ = (first_ + 1) % ring_.size();
      --size_;
    }
    std::vector<std::uint64_t> ring_;
    mutable std::size_t first_ = 0, size_ = 0;
  };

  static Options checked(const Options& options) {
    if (options.window == 0 || options.window > 1u << 20)
      throw std::invalid_argument("FailureRate: window must lie in [1, 1048576]");
    if (options.calls_min == 0 || options.calls_min > options.window)
      throw std::invalid_argument("FailureRate: calls_min must lie in [1, window]");
    if (!(options.failure_rate > 0)) throw std::invalid_argument("FailureRate: failure_rate must be positive");
    if (!(options.slow_rate > 0)) throw std::invalid_argument("FailureRate: slow_rate must be positive");
    return options;
  }
  static double rate(std::uint64_t bad, std::uint64_t of) noexcept {
    return static_cast<double>(bad) / static_cast<double>(of);
  }

  [[gnu::noinline]] Verdict record_bad(CallResult call) {
    const std::lock_guard lock(mutex_);
    const std::uint64_t calls = calls_.fetch_add(1, std::memory_order_relaxed) + 1;
    if (call.failed) failed_.add(calls);
    if (call.slow) slow_.add(calls);
    return judge(calls);
  }
  [[gnu::noinline]] Verdict judge_first(std::uint64_t calls) {
    const std::lock_guard lock(mutex_);
    return judge(calls);
  }
  Verdict judge(std::uint64_t calls) const noexcept {
    if (calls < options_.calls_min) return Verdict::keep();
    const std::uint64_t counted = std::min<std::uint64_t>(calls, options_.window);
    if (rate(failed_.since(calls), counted) >= options_.failure_rate) return Verdict::open("the failure rate");
    if (rate(slow_.since(calls), counted) >= options_.slow_rate) return Verdict::open("the rate of slow calls");
    return Verdict::keep();
  }

  Options options_;
  alignas(detail::cache_line) std::atomic<std::uint64_t> calls_{0};
  alignas(detail::cache_line) mutable std::mutex mutex_;
  Positions failed_, slow_;
};

static_assert(breaker_policy<FailureRate>);

}  // namespace aura
