// Where a noisy figure stands, and where it is going: EWMA and Holt's linear trend.
#pragma once

#include <cmath>
#include <cstdint>

namespace aura {

/// An exponentially weighted moving average (Roberts 1959). Starts at the first sample, without a bias towards 0. Samples
/// that are not finite are passed over. Not shared between threads.
class Ewma {
 public:
  /// `alpha` in (0, 1]: the share of the newest sample. What is n samples old weighs alpha (1 - alpha)^n.
  explicit Ewma(double alpha) noexcept : alpha_(alpha) {}

  /// The alpha at which the weight of a sample halves in so many samples.
  static double alpha_of_half_life(double samples) noexcept { return -std::expm1(-std::log(2.0) / samples); }

  void observe(double sample) noexcept {
    if (!std::isfinite(sample)) return;
    value_ = samples_ == 0 ? sample : value_ + alpha_ * (sample - value_);
    ++samples_;
  }

  /// 0 before the first sample.
  double value() const noexcept { return value_; }
  std::uint64_t samples() const noexcept { return samples_; }

 private:
  double alpha_;
  double value_ = 0;
  std::uint64_t samples_ = 0;
};

/// Holt's linear exponential smoothing (Holt 1957): a level and a slope, each an average of its own. Samples that are not
/// finite are passed over. Not shared between threads.
class HoltTrend {
 public:
  /// `alpha` for the level and `beta` for the slope, both in (0, 1].
  HoltTrend(double alpha, double beta) noexcept : alpha_(alpha), beta_(beta) {}

  void observe(double sample) noexcept {
    if (!std::isfinite(sample)) return;
    const double before = level_;
    if (samples_ == 0) {
      level_ = sample;
    } else {
      level_ = alpha_ * sample + (1 - alpha_) * (level_ + slope_);
      // The usual start: the first slope is the first difference.
      slope_ = samples_ == 1 ? sample - before : beta_ * (level_ - before) + (1 - beta_) * slope_;
      if (samples_ == 1) level_ = sample;
    }
    ++samples_;
  }

  /// So many samples ahead; 0 is now. 0 before the first sample.
  double forecast(double samples_ahead) const noexcept { return level_ + samples_ahead * slope_; }
  double level() const noexcept { return level_; }
  double slope() const noexcept { return slope_; }
  std::uint64_t samples() const noexcept { return samples_; }

 private:
  double alpha_;
  double beta_;
  double level_ = 0;
  double slope_ = 0;
  std::uint64_t samples_ = 0;
};

}  // namespace aura
