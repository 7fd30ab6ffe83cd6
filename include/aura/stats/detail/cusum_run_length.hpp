// Run lengths of a walk on whole numbers that goes one down or `rise` up, is held at 0 and ends at a threshold.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numeric>
#include <vector>

namespace aura::detail {

/// ln(p1/p0) over ln((1-p0)/(1-p1)): how many successes a failure weighs. Falls as p1 grows.
inline double cusum_weight_quotient(double p0, double p1) noexcept {
  return std::log(p1 / p0) / (std::log1p(-p0) - std::log1p(-p1));
}

/// The p1 above p0 at which a failure weighs so many successes.
inline double cusum_rate_of_quotient(double p0, double quotient) noexcept {
  double low = p0;
  double high = 1;
  for (int i = 0; i < 60; ++i) {
    const double middle = (low + high) / 2;
    (cusum_weight_quotient(p0, middle) > quotient ? low : high) = middle;
  }
  return (low + high) / 2;
}

/// The average run length from 0 for the thresholds 1, 2, 3, ... in turn, each in constant time.
///
/// With x the distance to the threshold, the run length n(x) satisfies n(x) = 1 + p n(x - rise) + (1-p) n(x+1) and is 0
/// for x <= 0. So n = c W - U, where both start at W(1) = 1, U(1) = 0 and follow the recursion, W without the 1 (the
/// scale function of the walk), and neither depends on the threshold h. Holding at 0 says n(h+1) = n(h), which gives c.
/// Only increments are stored: they are sums of positive terms, so nothing cancels but c W - U, where U is small unless
/// the run length is. Meant for a walk that falls on average: a rising one makes both grow without bound.
class CusumRunLengths {
 public:
  CusumRunLengths(std::uint32_t rise, double p) : p_(p), w_steps_(rise), u_steps_(rise) {
    w_steps_.back() = 1;  // W goes from 0 to 1 at x = 1
    next();
  }

  std::uint32_t threshold() const noexcept { return threshold_; }
  double value() const noexcept { return value_; }

  void next() noexcept {
    if (threshold_ > 0) step();
    ++threshold_;
    w_step_ = p_ / (1 - p_) * w_window_;
    u_step_ = (1 + p_ * u_window_) / (1 - p_);
    value_ = u_step_ / w_step_ * w_ - u_;
  }

 private:
  /// From x to x+1; the windows are W(x) - W(x - rise) and U(x) - U(x - rise). They are added up afresh once in `rise`
  /// steps: the steps of W shrink by many orders, and what a running sum loses of the large ones would outweigh the small.
  void step() noexcept {
    w_ += w_step_;
    u_ += u_step_;
    w_window_ += w_step_ - w_steps_[slot_];
    u_window_ += u_step_ - u_steps_[slot_];
    w_steps_[slot_] = w_step_;
    u_steps_[slot_] = u_step_;
    if (++slot_ < w_steps_.size()) return;
    slot_ = 0;
    w_window_ = std::accumulate(w_steps_.begin(), w_steps_.end(), 0.0);
    u_window_ = std::accumulate(u_steps_.begin(), u_steps_.end(), 0.0);
  }

  double p_;
  std::vector<double> w_steps_;  // rings: the last `rise` steps
  std::vector<double> u_steps_;
  std::size_t slot_ = 0;
  std::uint32_t threshold_ = 0;
  double w_ = 1;
  double u_ = 0;
  double w_step_ = 0;
  double u_step_ = 0;
  double w_window_ = 1;
  double u_window_ = 0;
  double value_ = 0;
};

/// n(s) = gain + keep * n(target), as one step or as a way over several levels.
struct CusumDescent {
  double gain = 0;  ///< calls until the target level or the alarm is reached
  double alarm = 0;  ///< the probability that it is the alarm

  friend CusumDescent operator+(const CusumDescent& high, const CusumDescent& low) noexcept {
    return {high.gain + (1 - high.alarm) * low.gain, high.alarm + (1 - high.alarm) * low.alarm};
  }
};

/// The average run length at any p. From the threshold down, `descent[s]` is the way from s to s-1: one call, and with the
/// probability p the way back down from s + rise first. Only positive terms, so it is accurate whichever way the walk
/// drifts. The way over `rise` levels slides: a block of `rise` levels is added up from its lower end once it is full.
inline double cusum_run_length(std::uint32_t rise, std::uint32_t threshold, double p, std::uint32_t start = 0) {
  if (!(p >= 0 && p <= 1)) return std::numeric_limits<double>::quiet_NaN();
  if (start >= threshold) return 0;
  if (p == 0) return std::numeric_limits<double>::infinity();

  const CusumDescent certain{0, 1};  // from the threshold and above
  std::vector<CusumDescent> block(
      rise, certain);  // ways from each level of the full block above down to its lowest's target
  std::vector<CusumDescent> fresh;  // single descents of the block that is being filled, highest first
  fresh.reserve(rise);
  CusumDescent below{};  // from the highest of `fresh` down to s
  CusumDescent from_start{};
  for (std::uint32_t s = threshold - 1;; --s) {
    // block[i]: from the i-th level of the full block, counted from its lowest, down past its lowest.
    const CusumDescent jump = block[rise - 1 - fresh.size()] + below;
    if (s == 0) {
      // From 0: a call stays at 0 or jumps, and comes back unless it alarms.
      const double from_zero = (1 + p * jump.gain) / (p * jump.alarm);
      return from_start.gain + (1 - from_start.alarm) * from_zero;
    }
    const double back = (1 - p) + p * jump.alarm;  // the probability not to be at s again
    const CusumDescent step{(1 + p * jump.gain) / back, p * jump.alarm / back};
    if (s <= start) from_start = from_start + step;
    below = below + step;
    fresh.push_back(step);
    if (fresh.size() == rise) {
      CusumDescent way{};
      for (std::uint32_t i = 0; i < rise; ++i) {
        way = fresh[rise - 1 - i] + way;
        block[i] = way;
      }
      fresh.clear();
      below = {};
    }
  }
}

}  // namespace aura::detail
