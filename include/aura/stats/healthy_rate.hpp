// Learns the failure rate of a healthy dependency, from above, so that a CUSUM planned on it keeps its promise.
#pragma once

#include <aura/core/error.hpp>
#include <aura/core/result.hpp>
#include <aura/stats/bernoulli_cusum.hpp>

#include <boost/math/special_functions/beta.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <utility>

namespace aura {

struct HealthyRateOptions {
  double p1 = 0.1;  ///< the failure rate that matters: above 0, at most 0.9 unless `p0_max` is well below its half
  double calls_between_alarms = 8.64e7;  ///< false alarms asked for: once a day at 1,000 calls a second
  /// What is assumed before anything is learned, and the most that is ever learned: so a slow decay taken for health
  /// never hides a rate of `p1`. The promise holds while healthy calls fail no more often. 0 is for half of `p1`.
  double p0_max = 0;
  /// The least that is ever learned: a dependency that never failed would be suspected at its first two failures. 0 is
  /// for a hundredth of `p1`.
  double p0_min = 0;
  /// Of the upper bound that is used for the rate. With less, the few estimates that are too low bring more false alarms
  /// than the many that are too high spare: a rate 10% too low multiplies them by up to ten.
  double confidence = 0.999;
  /// How many calls are remembered; older ones fade. At least 10/p0 serve well: a bound from 10, 100 or 1,000 failures is
  /// about 2.2, 1.35 or 1.1 times the rate.
  double memory_calls = 1e6;
};

/// What became of a window of calls.
enum class CallWindow : std::uint8_t {
  quiet,  ///< at its end the score was 0: whatever there was against health has been outweighed
  unclear,  ///< at its end the score was not 0: kept apart until it is
  alarm,  ///< there was an alarm in it, or calls were not admitted as usual: no rate is learned from it
};

/// The failure rate of healthy calls, as an upper confidence bound (Clopper and Pearson 1934).
///
/// An unclear window counts once a later one is quiet, and is forgotten together with an alarm. Left out altogether, the
/// unclear ones would make healthy traffic look better than it is, for they are those with many failures by chance.
/// 96 bytes; a window costs some 10 µs at most, off the hot path. Not shared between threads. Calls are taken to fail
/// independently of each other while healthy: where failures come in bursts, false alarms are more.
class HealthyRate {
 public:
  /// Errors: those of `plan_cusum` at `p0_max`, and `cusum_errc::bad_rate` or `bad_interval` for the other options.
  static Result<HealthyRate> make(HealthyRateOptions options) {
    if (options.p0_max == 0) options.p0_max = options.p1 / 2;
    if (options.p0_min == 0) options.p0_min = std::min(options.p1 / 100, options.p0_max);
    const auto wrong = [](cusum_errc code, const char* what, double value) {
      return Error(code, ErrorClass::permanent, what + std::to_string(value));
    };
    if (!(options.p0_min > 0 && options.p0_min <= options.p0_max)) {
      return wrong(cusum_errc::bad_rate, "p0_min is not above 0 and at most p0_max: ", options.p0_min);
    }
    if (!(options.confidence > 0.5 && options.confidence < 1)) {
      return wrong(cusum_errc::bad_rate, "confidence is not above 0.5 and below 1: ", options.confidence);
    }
    if (!(options.memory_calls >= 1 && options.memory_calls <= 1e12)) {
      return wrong(cusum_errc::bad_interval, "memory_calls are not from 1 to 1e12: ", options.memory_calls);
    }
    for (const double p0 : {options.p0_min, options.p0_max}) {
      if (const auto plan = plan_cusum(p0, options.p1, options.calls_between_alarms); !plan) return plan.error();
    }
    return HealthyRate(options);
  }

  /// Feeds the calls since the last window. True where `rate()` has changed, and so the plan has: by a quiet window, or
  /// by the second alarm without one.
  /// More failures than calls are taken for as many.
  bool observe(std::uint64_t calls, std::uint64_t failures, CallWindow window) {
    if (window == CallWindow::alarm) {
      held_ = {};
      return std::exchange(alarmed_, true) && doubt();
    }
    held_.calls += static_cast<double>(calls);
    held_.failures += static_cast<double>(std::min(failures, calls));
    if (window == CallWindow::unclear) return false;
    alarmed_ = false;
    learned_.calls += held_.calls;
    learned_.failures += held_.failures;
    held_ = {};
    // Fading counts vary less than as many calls drawn afresh, so the bound on them keeps its confidence.
    const double fade = std::min(1.0, options_.memory_calls / std::max(1.0, learned_.calls));
    learned_.calls *= fade;
    learned_.failures *= fade;
    return update();
  }

  /// The rate to plan with: the bound, rounded up by at most 5% so that the plan changes seldom.
  double rate() const noexcept { return rate_; }

  /// The CUSUM for it; costs what `plan_cusum` does. Adopt it where the score is 0.
  Result<CusumPlan> plan() const { return plan_cusum(rate_, options_.p1, options_.calls_between_alarms); }

  /// How many calls the estimate rests on, and how many of these failed.
  double calls() const noexcept { return learned_.calls; }
  double failures() const noexcept { return learned_.failures; }
  const HealthyRateOptions& options() const noexcept { return options_; }

  /// Back to knowing nothing: after a deployment, say.
  void forget() noexcept {
    learned_ = {};
    held_ = {};
    alarmed_ = false;
    rate_ = options_.p0_max;
  }

 private:
  struct Counts {
    double calls = 0;
    double failures = 0;
  };

  explicit HealthyRate(const HealthyRateOptions& options) noexcept : options_(options), rate_(options.p0_max) {}

  /// Alarm upon alarm without a quiet window between: what was learned may be no longer true. Each halves the weight of
  /// it, so that after some ten the rate is `p0_max` again, from where a new normal can be learned. Otherwise a service
  /// that has become a little worse for good would be given up for good, as nothing is learned from alarms.
  bool doubt() {
    learned_.calls /= 2;
    learned_.failures /= 2;
    return update();
  }
  bool update() {
    const double before = rate_;
    rate_ = std::clamp(on_grid(upper_bound()), options_.p0_min, options_.p0_max);
    return rate_ != before;
  }
  double upper_bound() const {
    if (learned_.calls - learned_.failures < 1) return 1;
    return boost::math::ibeta_inv(learned_.failures + 1, learned_.calls - learned_.failures, options_.confidence);
  }
  static double on_grid(double rate) { return std::pow(1.05, std::ceil(std::log(rate) / std::log(1.05))); }

  HealthyRateOptions options_;
  Counts learned_{};
  Counts held_{};
  bool alarmed_ = false;  // since the last quiet window
  double rate_;
};

}  // namespace aura
