// Keeps the promise of a bound: a factor on it that rises with each miss and falls with each hit.
#pragma once

#include <aura/core/error.hpp>
#include <aura/core/result.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <string_view>

namespace aura {

/// Codes of the domain "coverage".
enum class coverage_errc : std::int32_t {
  bad_options = 1,  ///< a coverage, a step or a limit that none can have (permanent)
};
constexpr std::string_view error_domain(coverage_errc) noexcept { return "coverage"; }

struct CoverageTrackerOptions {
  double coverage = 0.99;  ///< the share of values that is to be at or below the bound: above 0, below 1
  /// By how much the logarithm of the bound rises at a miss, above 0, at most 1. The factor e^theta varies by about
  /// sqrt(step·s/2z) about where it belongs, for a lognormal spread of s and z standard deviations to the bound,
  /// whatever the coverage; and a rise of the values by the factor r costs at most ln(r)/step misses beyond those
  /// stated.
  double step = 0.04;
  double factor_max = 64;  ///< the factor is held to [1/factor_max, factor_max]: above 1

  friend bool operator==(const CoverageTrackerOptions&, const CoverageTrackerOptions&) = default;
};

/// theta ← theta + step·(1{y > U} − (1 − coverage)) with U = q·e^theta, for any estimate q of the quantile: online
/// gradient descent on the quantile loss, in the logarithm (Gibbs and Candès, "Adaptive conformal inference under
/// distribution shift", 2021; Angelopoulos, Candès and Tibshirani, "Conformal PID control", 2023, where it is the P
/// term).
///
/// What it promises, of any values at all and without independence: over n values the share of misses is 1 − coverage
/// plus (theta_n − theta_0)/(step·n), exactly, while the factor is not held at an end of its range. It promises nothing
/// of a single value, or of those values that have something in common.
///
/// 40 bytes, 1 ns a value: the factor itself is multiplied, no exponential is taken. Not shared between threads.
class CoverageTracker {
 public:
  /// coverage_errc::bad_options.
  static Result<CoverageTracker> make(const CoverageTrackerOptions& options) {
    const char* wrong = !(options.coverage > 0 && options.coverage < 1) ? "the coverage is not in (0, 1)"
                        : !(options.step > 0 && options.step <= 1)      ? "the step is not in (0, 1]"
                        : !(options.factor_max > 1 && options.factor_max <= 1e9)
                            ? "the largest factor is not from 1 to 1e9"
                            : nullptr;
    if (wrong)
      return Error{coverage_errc::bad_options, ErrorClass::permanent, std::string("a coverage tracker: ") + wrong};
    return CoverageTracker(options);
  }

  /// One value, that was over the bound as it stood or was not.
  void observe(bool missed) noexcept { hold(factor_ * (missed ? up_ : down_)); }

  /// A value of which only that is known: it was over the bound with this probability.
  void observe_probable_miss(double probability) noexcept {
    const double p = std::clamp(probability, 0.0, 1.0);
    hold(factor_ * std::pow(up_, p) * std::pow(down_, 1 - p));
  }

  /// What to multiply the estimated quantile by.
  double factor() const noexcept { return factor_; }
  double theta() const noexcept { return std::log(factor_); }

  /// From here on, as a merge or a restart has it. NaN is 0.
  void set_theta(double theta) noexcept { hold(std::isnan(theta) ? 1 : std::exp(std::clamp(theta, -50.0, 50.0))); }

 private:
  explicit CoverageTracker(const CoverageTrackerOptions& options) noexcept
      : up_(std::exp(options.step * options.coverage)),
        down_(std::exp(-options.step * (1 - options.coverage))),
        max_(options.factor_max),
        min_(1 / options.factor_max) {}

  void hold(double factor) noexcept { factor_ = std::min(max_, std::max(min_, factor)); }

  double factor_ = 1;
  double up_;
  double down_;
  double max_;
  double min_;
};

}  // namespace aura
