// How long a class's handler takes: measured, forgetting slowly, as a mean, a spread, and a line over batch sizes.
#pragma once

#include <aura/core/time.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>

namespace aura::detail {

/// Exponentially weighted moments of calls of `n` signals that took `t`, and the least-squares line t = a + b·n through
/// them. The first calls weigh equally, later ones 1/128 of all. After sixteen calls in a row that took a sixteenth of the
/// mean or less, what was before is forgotten: one call that hung for an hour would else stand for a thousand more.
/// Some 30 flops an observation; a prediction is a few.
class HandlingEstimate {
 public:
  HandlingEstimate(Duration signal_hint, Duration call_hint) noexcept
      : HandlingEstimate(static_cast<double>(signal_hint.count()), static_cast<double>(call_hint.count())) {}

  void observe(std::size_t signals, Duration took) noexcept {
    const double n = static_cast<double>(std::max<std::size_t>(signals, 1));
    const double t = static_cast<double>(std::max<Duration::rep>(took.count(), 0));
    if (forgets(t / n)) *this = HandlingEstimate(signal_hint_, call_hint_);
    calls_ = std::min(calls_ + 1, calls_max);
    const double weight = 1.0 / static_cast<double>(calls_);
    const double from_n = n - mean_n_, from_t = t - mean_t_;
    mean_n_ += weight * from_n;
    mean_t_ += weight * from_t;
    var_n_ = (1 - weight) * (var_n_ + weight * from_n * from_n);
    var_t_ = (1 - weight) * (var_t_ + weight * from_t * from_t);
    cov_ = (1 - weight) * (cov_ + weight * from_n * from_t);
    signal_ = mean_t_ / mean_n_;
    deviation_ = std::sqrt(std::max(var_t_ - (var_n_ > 0 ? cov_ * cov_ / var_n_ : 0), 0.0) / mean_n_);
    if (var_n_ >= 0.25) {
      const double slope = std::clamp(cov_ / var_n_, 0.0, signal_);
      call_ = mean_t_ - slope * mean_n_;
    }
  }

  bool measured() const noexcept { return calls_ > 0; }
  /// Of one signal's part in a call, in nanoseconds.
  double signal_ns() const noexcept { return measured() ? signal_ : signal_hint_; }
  double deviation_ns() const noexcept { return measured() ? deviation_ : 0; }
  /// Of a call besides its signals: the hint until calls of different sizes were seen, and never more than a call took.
  double call_ns() const noexcept {
    if (call_ >= 0) return call_;
    return measured() ? std::min(call_hint_, mean_t_) : call_hint_;
  }
  /// Of a call of `n` signals.
  double batch_ns(std::size_t n) const noexcept {
    if (!measured()) return signal_hint_ * static_cast<double>(n);
    const double slope = call_ >= 0 ? std::max(0.0, (mean_t_ - call_) / mean_n_) : signal_;
    return std::max(0.0, call_) + slope * static_cast<double>(n);
  }

 private:
  static constexpr std::uint32_t calls_max = 128;
  static constexpr std::uint32_t low_max = 16;

  HandlingEstimate(double signal_hint_ns, double call_hint_ns) noexcept
      : signal_hint_(signal_hint_ns), call_hint_(call_hint_ns) {}
  bool forgets(double signal_ns) noexcept {
    low_ = signal_ns * 16 <= signal_ ? low_ + 1 : 0;
    return low_ == low_max;
  }

  double signal_hint_, call_hint_;
  std::uint32_t calls_ = 0;
  std::uint32_t low_ = 0;
  double mean_n_ = 0, mean_t_ = 0, var_n_ = 0, var_t_ = 0, cov_ = 0;
  double signal_ = 0, deviation_ = 0, call_ = -1;
};

}  // namespace aura::detail
