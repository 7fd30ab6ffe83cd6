// A CUSUM of failures: tells that an error rate has risen, with a rate of false alarms that the user sets.
#pragma once

#include <aura/core/error.hpp>
#include <aura/core/result.hpp>
#include <aura/stats/detail/cusum_run_length.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace aura {

/// Codes of the domain "cusum".
enum class cusum_errc : std::int32_t {
  bad_rate = 1,      ///< p0 or p1 is not a rate above 0 and below 1, or p1 is not above p0 (permanent)
  bad_interval = 2,  ///< the calls between false alarms are not a number from 1 to 1e12 (permanent)
  no_lattice = 3,  ///< the two rates are too close, or too high, for a failure to weigh whole successes (permanent)
  too_long = 4,  ///< rates so low or so close that the threshold would be over `cusum_threshold_max` (permanent)
};
constexpr std::string_view error_domain(cusum_errc) noexcept { return "cusum"; }

/// The largest threshold, in successes. It bounds what planning costs: about 10 ns for each.
inline constexpr std::uint32_t cusum_threshold_max = 1u << 20;

/// The numbers of a Bernoulli CUSUM (Reynolds and Stoumbos 1999). The score is counted in successes: a success takes 1
/// off it, down to 0, a failure adds `rise`, and at `threshold` or above it is an alarm.
///
/// The likelihood ratio gives a failure the weight ln(p1/p0) and a success ln((1-p0)/(1-p1)). `rise` is their quotient
/// rounded to a whole number, so the score lives on whole numbers and its run length is exact; `p1` is the rate for
/// which the rounded weights are the right ones. It is within 7% of the one asked for up to rates of 10%, within 16% up
/// to 20%, where p1 is 1.5 times p0 or more.
struct CusumPlan {
  double p0 = 0;  ///< the healthy failure rate
  double p1 = 0;  ///< the failure rate that this detects soonest; see above
  std::uint32_t rise = 1;  ///< what a failure adds, in successes
  std::uint32_t threshold = 1;  ///< the score that is an alarm
  /// Share of runs that have to alarm at `threshold - 1`, for the average to be exact: one whole number more or less
  /// changes the run length by the factor (1-p0)/(1-p1). See `BernoulliCusum::restart`.
  double early = 0;
  double calls_between_alarms = 0;  ///< at p0, from a score of 0: exact. More than asked only where 1/p0 is more.

  friend bool operator==(const CusumPlan&, const CusumPlan&) = default;
};

/// The average number of calls from a score of `start` to the alarm, where each call fails with the probability `p`
/// independently of others. Exact (Brook and Evans 1972). At p = 1 it is the fewest failures in a row that alarm.
/// O(threshold), some 10 ns each; allocates. Infinite where p is 0, NaN where p is no probability.
inline double cusum_run_length(const CusumPlan& plan, double p, std::uint32_t start = 0) {
  const auto at = [&](std::uint32_t threshold) { return detail::cusum_run_length(plan.rise, threshold, p, start); };
  const double late = at(plan.threshold);
  return plan.early > 0 ? plan.early * at(plan.threshold - 1) + (1 - plan.early) * late : late;
}

namespace detail {

inline Error cusum_error(cusum_errc code, std::string_view before, double p0, std::string_view between, double p1,
                         std::string_view after) {
  std::string text(before);
  text.append(std::to_string(p0)).append(between).append(std::to_string(p1)).append(after);
  return Error(code, ErrorClass::permanent, std::move(text));
}

/// A plan without its threshold.
inline Result<CusumPlan> plan_cusum_weights(double p0, double p1) {
  const auto is_rate = [](double p) { return p > 0 && p < 1; };  // false for NaN
  if (!is_rate(p0) || !is_rate(p1) || p0 >= p1) {
    return cusum_error(cusum_errc::bad_rate, "the healthy rate p0 of ", p0, " and the rate p1 of ", p1,
                       !is_rate(p0)   ? ": p0 is not in (0, 1)"
                       : !is_rate(p1) ? ": p1 is not in (0, 1)"
                                      : ": p0 is not below p1");
  }
  // Below the least the score would not climb at p1, above the most it would climb at p0.
  const double least = std::floor((1 - p1) / p1) + 1;
  const double most = std::ceil((1 - p0) / p0) - 1;
  const double rise = std::min(most, std::max(least, std::round(cusum_weight_quotient(p0, p1))));
  const double effective = rise >= std::max(1.0, least) ? cusum_rate_of_quotient(p0, rise) : 0;
  // Further off, a rate of p1 would take several times as long to be found as it need to.
  const double shift = (effective - p1) / (p1 - p0);
  if (!(shift > -0.8 && shift < 0.7)) {
    return cusum_error(cusum_errc::no_lattice, "the rates p0 of ", p0, " and p1 of ", p1,
                       " are too close together or too high");
  }
  if (rise > cusum_threshold_max) {
    return cusum_error(cusum_errc::too_long, "the rates p0 of ", p0, " and p1 of ", p1, " are too low");
  }
  CusumPlan plan;
  plan.p0 = p0;
  plan.p1 = effective;
  plan.rise = static_cast<std::uint32_t>(rise);
  return plan;
}

}  // namespace detail

/// The numbers for: healthy calls fail at the rate `p0`, `p1` is the rate that matters, and while calls are healthy and
/// independent an alarm is false once in `calls_between_alarms` calls on average. One false alarm a day at 1,000 calls
/// a second is 8.64e7.
///
/// Costs O(threshold), which is some 16/p1, at about 10 ns each: 3 µs at a p1 of 15%, 100 µs at 0.3%. Allocates.
inline Result<CusumPlan> plan_cusum(double p0, double p1, double calls_between_alarms) {
  auto plan = detail::plan_cusum_weights(p0, p1);
  if (!plan) return plan;
  if (!(calls_between_alarms >= 1 && calls_between_alarms <= 1e12)) {
    return Error(cusum_errc::bad_interval, ErrorClass::permanent,
                 "calls between false alarms are not from 1 to 1e12: " + std::to_string(calls_between_alarms));
  }
  detail::CusumRunLengths lengths(plan->rise, p0);
  double before = 0;
  while (lengths.value() < calls_between_alarms) {
    if (lengths.threshold() == cusum_threshold_max) {
      return detail::cusum_error(cusum_errc::too_long, "the rates p0 of ", p0, " and p1 of ", p1,
                                 " are too low or too close together for so few false alarms");
    }
    before = lengths.value();
    lengths.next();
  }
  plan->threshold = lengths.threshold();
  plan->calls_between_alarms = lengths.value();
  if (plan->threshold > 1 && lengths.value() > before) {
    plan->early = (lengths.value() - calls_between_alarms) / (lengths.value() - before);
    plan->calls_between_alarms = calls_between_alarms;
  }
  return plan;
}

/// The average number of calls to the alarm once calls fail at `plan.p1`, from a score of 0, where it takes longest.
inline double cusum_detection_delay(const CusumPlan& plan) { return cusum_run_length(plan, plan.p1); }

/// The score after `successes` and then one failure.
constexpr std::uint64_t cusum_after_failure(std::uint64_t score, std::uint64_t successes,
                                            std::uint32_t rise) noexcept {
  return score - std::min(score, successes) + rise;
}

/// The score of one stream of calls. Successes need no update: who feeds it counts them and hands them over with the
/// next failure. 40 bytes, 2 ns for a failure. Not shared between threads: the owner serialises it.
class BernoulliCusum {
 public:
  explicit BernoulliCusum(const CusumPlan& plan) noexcept : plan_(plan), limit_(plan.threshold) {}

  /// One failure, after so many successes since the last one or since the restart. True is an alarm, and goes on being
  /// one at each failure until the score is down or `restart` is called.
  bool on_failure(std::uint64_t successes_since_last_failure) noexcept {
    score_ = cusum_after_failure(score_, successes_since_last_failure, plan_.rise);
    return score_ >= limit_;
  }

  /// From a score of 0. `uniform`, a draw from [0, 1), decides whether this run is one of those that alarm one early:
  /// with it the false alarms are as many as asked, without it a few less (by a factor of at most (1-p0)/(1-p1)).
  void restart(double uniform = 0) noexcept {
    score_ = 0;
    limit_ = plan_.threshold - (uniform > 1 - plan_.early ? 1u : 0u);
  }

  /// Other numbers from here on, with a restart. Call it where `score(successes)` is 0: that forgets no evidence.
  void adopt(const CusumPlan& plan, double uniform = 0) noexcept {
    plan_ = plan;
    restart(uniform);
  }

  /// Now, after so many successes since the last failure; in successes, 0 is quiet.
  std::uint64_t score(std::uint64_t successes) const noexcept { return score_ - std::min(score_, successes); }
  /// The same as a share of the threshold: 1 and above is an alarm.
  double level(std::uint64_t successes) const noexcept {
    return static_cast<double>(score(successes)) / static_cast<double>(limit_);
  }
  const CusumPlan& plan() const noexcept { return plan_; }

 private:
  CusumPlan plan_;
  std::uint64_t score_ = 0;
  std::uint32_t limit_;
};

}  // namespace aura
