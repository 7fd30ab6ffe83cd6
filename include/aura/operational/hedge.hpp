// A second attempt beside a slow first one: cuts the tail where a few calls are slow by bad luck.
#pragma once

#include <aura/core/retry.hpp>
#include <aura/core/time.hpp>
#include <aura/operational/detail/atomic_budget.hpp>
#include <aura/operational/detail/fading_latencies.hpp>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>

namespace aura {

struct HedgeOptions {
  std::optional<Duration> delay{};  ///< fixed; none: the quantile of what was measured
  double quantile = 0.95;
  std::uint32_t window = 128;  ///< calls after which the quantile is computed anew; none is hedged before the first
  Duration delay_min = std::chrono::milliseconds(1);
  std::uint32_t attempts_max = 2;  ///< at once, the first one counted
  /// Hedges are at most this share of calls in the long run, so that hedging cannot double the load of a dependency that
  /// is slow because it is overloaded; and at most so many in a row.
  RetryBudget::Options budget{.ratio = 0.1, .tokens_max = 10};
};

/// A part of a `Pipeline` (Dean and Barroso, "The Tail at Scale", CACM 56(2), 2013): where an attempt has not answered
/// after the delay, another begins beside it. The first success is the answer and the others are cancelled; a failure is
/// the answer when no other attempt is in flight. A hedge passes limiter, breaker and bulkhead as any attempt does.
///
/// Only for what is idempotent: the loser may have taken effect too. The action is called again while its first call is
/// in flight. An action that returns a plain value is not hedged: it has answered before anybody could wait.
///
/// A handle: moves, is not copied. May be shared between threads. Costs a timer a call, and two relaxed increments.
class Hedge {
 public:
  using Options = HedgeOptions;

  Hedge() : Hedge(Options{}) {}
  explicit Hedge(Options options) : state_(std::make_unique<State>(options)) {}

  /// When the next attempt shall begin, after the one before it; none where that is not known yet.
  std::optional<Duration> delay() const noexcept {
    const Options& options = state_->options;
    if (options.delay) return *options.delay;
    const Duration measured = state_->latencies.value();
    if (measured == Duration::zero()) return std::nullopt;
    return std::max(measured, options.delay_min);
  }
  /// A call has begun: earns its share of a hedge.
  void begun() noexcept { state_->budget.deposit(); }
  /// True where another attempt may begin beside `in_flight` others; then it is paid for.
  bool try_begin(std::uint32_t begun_already) noexcept {
    if (begun_already >= state_->options.attempts_max || !state_->budget.withdraw()) return false;
    state_->hedges.fetch_add(1, std::memory_order_relaxed);
    return true;
  }
  /// How long an attempt took that answered.
  void observe(Duration latency) noexcept { state_->latencies.observe(latency); }

  std::uint64_t hedges() const noexcept { return state_->hedges.load(std::memory_order_relaxed); }
  std::uint32_t attempts_max() const noexcept { return state_->options.attempts_max; }

 private:
  struct State {
    explicit State(const Options& chosen)
        : options(chosen), budget(chosen.budget), latencies(chosen.quantile, chosen.window) {}
    Options options;
    detail::AtomicBudget budget;
    detail::FadingLatencies latencies;
    std::atomic<std::uint64_t> hedges{0};
  };
  std::unique_ptr<State> state_;
};

}  // namespace aura
