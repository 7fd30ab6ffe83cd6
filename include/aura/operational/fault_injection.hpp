// Failures on purpose, for tests and game days: seeded, bounded, and off until it is switched on.
#pragma once

#include <aura/core/random.hpp>
#include <aura/core/runtime.hpp>
#include <aura/operational/rejection.hpp>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <numbers>
#include <optional>
#include <string_view>

namespace aura {

struct FaultInjectionOptions {
  double error_probability = 0;
  /// What is injected. By default transient: breakers count it and retries try again, as with the real thing.
  Error error =
      Error::fixed(rejection_errc::fault_injected, ErrorClass::transient, to_string(rejection_errc::fault_injected));
  double latency_probability = 0;  ///< independent of the error; a call may get both, the wait first
  /// Lognormal, as waits of services are: half of them shorter than the median, one in six longer than median·e^spread.
  /// A spread of 0 is always the median.
  Duration latency_median = std::chrono::milliseconds(100);
  double latency_spread = 0;
  Duration latency_max = std::chrono::seconds(10);  ///< no injected wait is longer
  /// So many calls get something, then it is off for good.
  std::uint64_t faults_max = std::numeric_limits<std::uint64_t>::max();
};

/// What one call gets.
struct InjectedFault {
  Duration latency{};
  std::optional<Error> error{};

  bool any() const noexcept { return error || latency != Duration::zero(); }
};

/// A part of a `Pipeline`, the innermost: what it injects is seen by the timeout and everything outside it.
///
/// What the n-th call gets is a function of the seed and n alone, so a run repeats where the order of calls does. May be
/// shared between threads; a handle: moves, is not copied. Switched off it costs one load; on, some tens of nanoseconds.
class FaultInjection {
 public:
  using Options = FaultInjectionOptions;

  /// Draws its seed from the runtime's stream `name`.
  FaultInjection(const AnyRuntime& world, const Options& options, std::string_view name = "aura.fault_injection")
      : FaultInjection(world.random(name)(), options) {}
  FaultInjection(std::uint64_t seed, const Options& options) : state_(std::make_unique<State>(seed, options)) {}

  /// From any thread, at any time.
  void switch_on(bool on = true) noexcept { state_->on.store(on, std::memory_order_relaxed); }
  bool is_on() const noexcept { return state_->on.load(std::memory_order_relaxed); }

  /// What the call number `n` would get. Pure.
  InjectedFault fault_of(std::uint64_t n) const {
    const Options& options = state_->options;
    Random dice(mix64(state_->seed ^ mix64(n)));
    const bool fails = dice.chance(options.error_probability);
    const bool waits = dice.chance(options.latency_probability);
    InjectedFault fault;
    if (fails) fault.error = options.error;
    if (waits) fault.latency = latency_of(dice);
    return fault;
  }

  /// What this call gets: nothing while it is off.
  InjectedFault next() {
    if (!is_on()) return {};
    InjectedFault fault = fault_of(state_->calls.fetch_add(1, std::memory_order_relaxed));
    if (!fault.any()) return fault;
    if (state_->faults.fetch_add(1, std::memory_order_relaxed) < state_->options.faults_max) return fault;
    state_->faults.fetch_sub(1, std::memory_order_relaxed);
    switch_on(false);
    return {};
  }

  /// Calls that got something.
  std::uint64_t faults() const noexcept { return state_->faults.load(std::memory_order_relaxed); }

 private:
  struct State {
    State(std::uint64_t seeded, const Options& chosen) : seed(seeded), options(chosen) {}
    std::uint64_t seed;
    Options options;
    std::atomic<bool> on{false};
    std::atomic<std::uint64_t> calls{0}, faults{0};
  };

  Duration latency_of(Random& dice) const {
    const Options& options = state_->options;
    double span = static_cast<double>(options.latency_median.count());
    if (options.latency_spread > 0) {  // Box and Muller, 1958
      const double radius = std::sqrt(-2 * std::log(1 - dice.uniform()));
      span *= std::exp(options.latency_spread * radius * std::cos(2 * std::numbers::pi * dice.uniform()));
    }
    const auto longest = static_cast<double>(options.latency_max.count());
    return span >= longest ? options.latency_max
                           : Duration(std::max<Duration::rep>(0, static_cast<Duration::rep>(span)));
  }

  std::unique_ptr<State> state_;
};

}  // namespace aura
