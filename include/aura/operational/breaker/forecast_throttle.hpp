// Holds calls back where trouble is foreseen. Never opens.
#pragma once

#include <aura/operational/breaker/policy.hpp>
#include <aura/operational/breaker_forecast.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <mutex>
#include <stdexcept>
#include <utility>

namespace aura {

struct ForecastThrottleOptions {
  ForecastOptions forecast{};
  Duration tick = std::chrono::milliseconds(500);
  std::uint32_t limit = 0;  ///< of calls in flight, for the load; zero: it is not looked at
};

/// A forecast (operational/breaker_forecast.hpp) as a policy of its own: `AllOf<AdaptivePolicy, ForecastThrottle<>>` has
/// both, and neither is on unless it is named. Within a tick the share that is turned away stands still. Costs three
/// increments a call, and once a tick about 5 us for whoever ends it.
template <forecast_model Model = BreakerForecast>
class ForecastThrottle {
 public:
  using Options = ForecastThrottleOptions;
  static constexpr bool needs_time = true;
  static constexpr bool needs_in_flight = true;
  static constexpr bool always_asked = true;

  ForecastThrottle() : ForecastThrottle(Options{}) {}
  /// Throws std::invalid_argument for a tick that is not positive.
  explicit ForecastThrottle(const Options& options) : options_(options), model_(options.forecast) {
    if (options.tick <= Duration::zero()) throw std::invalid_argument("ForecastThrottle: tick must be positive");
  }
  /// Not while it is in use.
  ForecastThrottle(ForecastThrottle&& other) noexcept : options_(other.options_), model_(std::move(other.model_)) {}

  Admission admit(SteadyTime now, std::uint32_t in_flight, detail::SharedRandom& random) noexcept {
    in_flight_.store(in_flight, std::memory_order_relaxed);
    if (now.time_since_epoch().count() >= tick_end_.load(std::memory_order_relaxed)) [[unlikely]]
      end_tick(now);
    const std::uint64_t share = rejected_share_.load(std::memory_order_relaxed);
    if (share == 0) [[likely]]
      return {.calm = true};
    if (random() >= share) return {};
    return {.passes = false, .retry_after = options_.tick};
  }
  template <time_source Now>
  Verdict record(const CallResult& call, Now&&) noexcept {
    const std::uint64_t before = calls_.fetch_add(1, std::memory_order_relaxed);
    samples_[before % samples_.size()].store(call.latency.count(), std::memory_order_relaxed);
    if (call.failed) [[unlikely]]
      errors_.fetch_add(1, std::memory_order_relaxed);
    if (rejected_share_.load(std::memory_order_relaxed) == 0) [[likely]]
      return Verdict::keep();
    return Verdict::throttle("trouble is foreseen");
  }
  void cancel() const noexcept {}
  void reset(SteadyTime) {
    const std::lock_guard lock(mutex_);
    model_.interrupt();
    begin_tick(unset);
    rejected_share_.store(0, std::memory_order_relaxed);
  }

  PolicyView view() const noexcept {
    const double rejected = static_cast<double>(rejected_share_.load(std::memory_order_relaxed)) * 0x1p-32;
    return {.calls = calls_.load(std::memory_order_relaxed),
            .failures = errors_.load(std::memory_order_relaxed),
            .pass_probability = 1 - rejected,
            .limit = options_.limit};
  }

 private:
  static constexpr std::int64_t unset = std::numeric_limits<std::int64_t>::min();

  [[gnu::noinline]] void end_tick(SteadyTime now) noexcept {
    const std::unique_lock lock(mutex_, std::try_to_lock);
    if (!lock || now.time_since_epoch().count() < tick_end_.load(std::memory_order_relaxed)) return;
    if (tick_end_.load(std::memory_order_relaxed) != unset) {
      const Forecast forecast = model_.observe(window());
      rejected_share_.store(static_cast<std::uint64_t>(std::clamp(forecast.throttle_share, 0.0, 1.0) * 0x1p32),
                            std::memory_order_relaxed);
    }
    begin_tick(saturating_add(now, options_.tick).time_since_epoch().count());
  }
  void begin_tick(std::int64_t end) noexcept {
    calls_.store(0, std::memory_order_relaxed);
    errors_.store(0, std::memory_order_relaxed);
    tick_end_.store(end, std::memory_order_relaxed);
  }
  /// The latencies are those of the last calls: of a busy tick a sample.
  ForecastWindow window() noexcept {
    ForecastWindow seen{.calls = calls_.load(std::memory_order_relaxed),
                        .errors = errors_.load(std::memory_order_relaxed),
                        .in_flight = in_flight_.load(std::memory_order_relaxed),
                        .limit = options_.limit};
    const auto count = static_cast<std::ptrdiff_t>(std::min<std::uint64_t>(seen.calls, samples_.size()));
    if (count == 0) return seen;
    std::array<std::int64_t, sample_count> sorted;
    for (std::size_t i = 0; i < sample_count; ++i) sorted[i] = samples_[i].load(std::memory_order_relaxed);
    const auto at = [&](std::ptrdiff_t rank) {
      std::nth_element(sorted.begin(), sorted.begin() + rank, sorted.begin() + count);
      return Duration(sorted[static_cast<std::size_t>(rank)]);
    };
    seen.p50 = at(count / 2);
    seen.p99 = at(std::min(count - 1, count * 99 / 100));
    return seen;
  }

  static constexpr std::size_t sample_count = 256;

  Options options_;
  std::atomic<std::int64_t> tick_end_{unset};
  std::atomic<std::uint64_t> rejected_share_{0};  // of 2³²
  std::atomic<std::uint32_t> in_flight_{0};
  std::atomic<std::uint64_t> calls_{0}, errors_{0};
  std::array<std::atomic<std::int64_t>, sample_count> samples_{};
  std::mutex mutex_;
  Model model_;
};

static_assert(breaker_policy<ForecastThrottle<>>);

}  // namespace aura
