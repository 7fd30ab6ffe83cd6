// Turns away as much as the dependency would refuse anyway.
#pragma once

#include <aura/operational/breaker/policy.hpp>
#include <aura/operational/detail/time_window.hpp>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <stdexcept>

namespace aura {

struct AdaptiveThrottleOptions {
  Duration window = std::chrono::minutes(2);
  /// A call is held back where there were more than so many for each that was accepted. 2 lets as many again through
  /// as are accepted, so that a recovery is noticed soon.
  double k = 2;
};

/// Client-side throttling (Beyer et al., Site Reliability Engineering, 2016, chapter 21): a call is turned away with
/// probability max(0, (n − k·accepted) / (n + 1)) over the window, where n counts those turned away too. Never opens.
/// One increment a call;
/// calls that are turned away are counted by sampling, one in 32 for 32, once they are many.
class AdaptiveThrottle {
 public:
  using Options = AdaptiveThrottleOptions;
  static constexpr bool needs_time = true;
  static constexpr bool needs_in_flight = false;
  static constexpr bool always_asked = false;

  AdaptiveThrottle() : AdaptiveThrottle(Options{}) {}
  /// Throws std::invalid_argument that names the culprit.
  explicit AdaptiveThrottle(const Options& options) : options_(options), window_(options.window) {
    if (options.window <= Duration::zero()) throw std::invalid_argument("AdaptiveThrottle: window must be positive");
    if (!(options.k >= 1)) throw std::invalid_argument("AdaptiveThrottle: k must be at least 1");
  }
  /// Not while it is in use.
  AdaptiveThrottle(AdaptiveThrottle&& other) noexcept : options_(other.options_), window_(other.options_.window) {}

  Admission admit(SteadyTime now, std::uint32_t, detail::SharedRandom& random) noexcept {
    if (window_.advance(now)) [[unlikely]]
      weigh();
    const std::uint64_t share = rejected_share_.load(std::memory_order_relaxed);
    if (share == 0) return {.calm = true};
    const std::uint32_t die = random();
    if (die >= share) {
      weigh();  // what passes may have been accepted since
      return {};
    }
    turned_away(die);
    return {.passes = false, .retry_after = retry_after};
  }

  template <time_source Now>
  [[gnu::always_inline]] Verdict record(const CallResult& call, Now&& now) noexcept {
    const bool moved = window_.advance(now());
    window_.add(call.failed ? refused : accepted);
    return call.failed || moved ? judge() : Verdict::keep();
  }
  void cancel() const noexcept {}
  void reset(SteadyTime) noexcept {
    window_.clear();
    rejected_share_.store(0, std::memory_order_relaxed);
  }

  PolicyView view() const noexcept {
    const auto sums = window_.sums();
    const double rejected = static_cast<double>(rejected_share_.load(std::memory_order_relaxed)) * 0x1p-32;
    return {.calls = sums[accepted] + sums[refused],
            .failures = sums[refused],
            .pass_probability = 1 - rejected,
            .evidence = rejected};
  }

 private:
  enum Kind : std::size_t { accepted, refused };
  static constexpr Duration retry_after = std::chrono::milliseconds(100);
  static constexpr std::uint64_t many = 4096;

  [[gnu::noinline]] Verdict judge() noexcept {
    weigh();
    if (rejected_share_.load(std::memory_order_relaxed) == 0) return Verdict::keep();
    return Verdict::throttle("the dependency refuses too many");
  }
  [[gnu::noinline]] void weigh() noexcept {
    const auto sums = window_.sums();
    const double n = static_cast<double>(sums[accepted] + sums[refused]);
    const double surplus = n - options_.k * static_cast<double>(sums[accepted]);
    const double share = std::max(0.0, surplus / (n + 1));
    counted_each_.store(sums[refused] > many ? 32 : 1, std::memory_order_relaxed);
    rejected_share_.store(static_cast<std::uint64_t>(share * 0x1p32), std::memory_order_relaxed);
  }
  void turned_away(std::uint32_t die) noexcept {
    const std::uint32_t each = counted_each_.load(std::memory_order_relaxed);
    if ((die & (each - 1)) != 0) [[likely]]
      return;
    window_.add(refused, each);
    weigh();
  }

  Options options_;
  std::atomic<std::uint64_t> rejected_share_{0};  // of 2³²
  std::atomic<std::uint32_t> counted_each_{1};  // a power of two
  detail::TimeWindow<2> window_;
};

static_assert(breaker_policy<AdaptiveThrottle>);

}  // namespace aura
