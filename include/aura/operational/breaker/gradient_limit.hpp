// Bounds the calls in flight by how latency grows with them.
#pragma once

#include <aura/operational/breaker/policy.hpp>
#include <aura/operational/detail/cache_line.hpp>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <limits>
#include <mutex>
#include <stdexcept>
#include <string>

namespace aura {

/// The defaults are those that Netflix published with Gradient2Limit and WindowedLimit.
struct GradientLimitOptions {
  std::uint32_t initial = 20;
  std::uint32_t min = 20;
  std::uint32_t max = 200;
  double smoothing = 0.2;         ///< of the limit, towards its new value
  std::uint32_t long_window = 600;  ///< samples, of the latency that is taken for normal
  double tolerance = 1.5;         ///< so much over the normal latency is no reason to shrink
  std::uint32_t queue = 4;        ///< calls above what the gradient says: room to grow
  Duration sample_window = std::chrono::seconds(1);  ///< one sample is the mean of what ended within it
  std::uint32_t sample_calls_min = 10;
};

/// Gradient2 (Netflix concurrency-limits): limit · clamp(tolerance · long latency / latency, ½, 1) + queue, smoothed.
/// Turns away what would be one too many; never opens. Failed calls tell nothing of the latency. One increment a call
/// besides the two that count the calls in flight.
class GradientLimit {
 public:
  using Options = GradientLimitOptions;
  static constexpr bool needs_time = true;
  static constexpr bool needs_in_flight = true;
  static constexpr bool always_asked = true;

  GradientLimit() : GradientLimit(Options{}) {}
  /// Throws std::invalid_argument that names the culprit.
  explicit GradientLimit(const Options& options)
      : options_(checked(options)), limit_(options.initial), estimate_(options.initial) {}
  /// Not while it is in use.
  GradientLimit(GradientLimit&& other) noexcept
      : options_(other.options_), limit_(other.options_.initial), estimate_(other.options_.initial) {}

  Admission admit(SteadyTime, std::uint32_t in_flight, detail::SharedRandom&) noexcept {
    if (in_flight < limit_.load(std::memory_order_relaxed)) [[likely]] {
      if (in_flight > in_flight_seen_.load(std::memory_order_relaxed))
        in_flight_seen_.store(in_flight, std::memory_order_relaxed);
      return {.calm = true};  // it never throttles; another beside it may
    }
    return {.passes = false, .code = rejection_errc::concurrency_limit, .retry_after = retry_after()};
  }

  template <time_source Now>
  [[gnu::always_inline]] Verdict record(const CallResult& call, Now&& now) noexcept {
    if (call.failed) return Verdict::keep();
    const auto micros = static_cast<std::uint64_t>(std::max<std::int64_t>(call.latency.count(), 0)) >> 10;
    const std::uint64_t before = sample_.fetch_add(micros << count_bits | 1, std::memory_order_relaxed);
    const SteadyTime at = now();
    if (at.time_since_epoch().count() < window_end_.load(std::memory_order_relaxed) && count_of(before) < count_max)
        [[likely]]
      return Verdict::keep();
    end_window(at);
    return Verdict::keep();
  }
  void cancel() const noexcept {}
  void reset(SteadyTime) {
    const std::lock_guard lock(mutex_);
    estimate_ = options_.initial;
    limit_.store(options_.initial, std::memory_order_relaxed);
    sample_.store(0, std::memory_order_relaxed);
    samples_ = 0;
    long_latency_ = 0;
  }

  PolicyView view() const noexcept { return {.limit = limit_.load(std::memory_order_relaxed)}; }

 private:
  static constexpr unsigned count_bits = 20;
  static constexpr std::uint64_t count_max = std::uint64_t{1} << (count_bits - 1);
  static constexpr std::uint32_t warm_up = 10;

  static std::uint64_t count_of(std::uint64_t sample) noexcept { return sample & ((1u << count_bits) - 1); }

  static Options checked(const Options& options) {
    const auto demand = [](bool holds, const char* culprit) {
      if (!holds) throw std::invalid_argument(std::string("GradientLimit: ") + culprit);
    };
    demand(options.min > 0 && options.min <= options.max, "min must be positive and not more than max");
    demand(options.initial >= options.min && options.initial <= options.max, "initial must lie in [min, max]");
    demand(options.smoothing > 0 && options.smoothing <= 1, "smoothing must lie in (0, 1]");
    demand(options.tolerance >= 1, "tolerance must be at least 1");
    demand(options.long_window > 0, "long_window must be positive");
    demand(options.sample_window > Duration::zero(), "sample_window must be positive");
    return options;
  }

  [[gnu::noinline]] void end_window(SteadyTime now) {
    const std::unique_lock lock(mutex_, std::try_to_lock);
    if (!lock) return;  // another thread is at it
    const std::int64_t end = window_end_.load(std::memory_order_relaxed);
    const std::uint64_t sample = sample_.load(std::memory_order_relaxed);
    const bool over = now.time_since_epoch().count() >= end && count_of(sample) >= options_.sample_calls_min;
    if (end == unset || (!over && count_of(sample) < count_max)) {
      if (end == unset) begin_window(now);
      return;
    }
    const std::uint64_t taken = sample_.exchange(0, std::memory_order_relaxed);
    begin_window(now);
    if (count_of(taken) == 0) return;
    learn(static_cast<double>((taken >> count_bits) << 10) / static_cast<double>(count_of(taken)),
          in_flight_seen_.exchange(0, std::memory_order_relaxed) + 1);
  }
  void begin_window(SteadyTime now) noexcept {
    window_end_.store(saturating_add(now, options_.sample_window).time_since_epoch().count(),
                      std::memory_order_relaxed);
  }

  void learn(double latency, std::uint32_t in_flight) noexcept {
    latency = std::max(latency, 1.0);
    ++samples_;
    if (samples_ <= warm_up)
      long_latency_ += (latency - long_latency_) / samples_;
    else
      long_latency_ += (latency - long_latency_) * 2 / (options_.long_window + 1);
    if (long_latency_ / latency > 2) long_latency_ *= 0.95;  // it has become much quicker: forget the old days
    if (in_flight < estimate_ / 2) return;  // the calls do not need what they have, so it says nothing
    const double gradient = std::clamp(options_.tolerance * long_latency_ / latency, 0.5, 1.0);
    const double aim = estimate_ * gradient + options_.queue;
    estimate_ = std::clamp(estimate_ * (1 - options_.smoothing) + aim * options_.smoothing,
                           static_cast<double>(options_.min), static_cast<double>(options_.max));
    limit_.store(static_cast<std::uint32_t>(estimate_), std::memory_order_relaxed);
    retry_after_.store(static_cast<std::int64_t>(latency / estimate_) + 1, std::memory_order_relaxed);
  }
  /// A place becomes free about so soon.
  Duration retry_after() const noexcept { return Duration(retry_after_.load(std::memory_order_relaxed)); }

  static constexpr std::int64_t unset = std::numeric_limits<std::int64_t>::min();

  Options options_;
  std::atomic<std::uint32_t> limit_;
  std::atomic<std::uint32_t> in_flight_seen_{0};  // the most in this window
  alignas(detail::cache_line) std::atomic<std::uint64_t> sample_{
      0};  // the sum of latencies in 1,024 ns, and how many: one increment for both
  alignas(detail::cache_line) std::atomic<std::int64_t> window_end_{unset};
  std::atomic<std::int64_t> retry_after_{1'000'000};

  std::mutex mutex_;
  double estimate_;
  double long_latency_ = 0;
  std::uint32_t samples_ = 0;
};

static_assert(breaker_policy<GradientLimit>);

}  // namespace aura
