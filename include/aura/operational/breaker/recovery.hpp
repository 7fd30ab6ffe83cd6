// The way back from open to closed: in steps, each of which has to be earned.
#pragma once

#include <aura/core/time.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>

namespace aura {

/// A stage of admission while a breaker is half-open.
struct RecoveryStep {
  /// Of the calls, in (0, 1], that are tried as probes; besides, one in each `probe_retry_after`.
  double share = 1;
  std::uint32_t probes_in_flight_max = 1;
};

/// How an open breaker comes back.
///
/// Each step is judged by a sequential probability ratio test (Wald 1945) of a failure rate of `failing_rate` against
/// one of `healthy_rate`: it ends when one is more likely than the other by a factor of 1/`error_rate`, so about that
/// share of the steps is decided wrongly. By the defaults five successes in a row are enough, and a failure of the first
/// probe is too much.
struct RecoveryOptions {
  Duration open_for = std::chrono::seconds(5);  ///< the first time
  double factor = 2;  ///< longer, at each relapse
  Duration open_max = std::chrono::seconds(60);  ///< before jitter
  /// Each opening is longer by a random part of up to this share, so that a fleet does not probe in step.
  double jitter = 0.3;
  /// A breaker that stays closed for so long has recovered: the next opening is a first one again.
  Duration settled_after = std::chrono::seconds(60);
  double healthy_rate = 0.02;  ///< of failed or slow probes
  double failing_rate = 0.5;
  double error_rate = 0.05;
  /// A step whose probes do not answer for so long is a relapse: they would hold their places for ever.
  Duration probe_timeout = std::chrono::seconds(30);
  /// What a call is told that finds no place among the probes.
  Duration probe_retry_after = std::chrono::milliseconds(100);
  static constexpr std::size_t steps_max = 8;
  std::array<RecoveryStep, steps_max> steps{RecoveryStep{}};
  std::size_t step_count = 1;  ///< 0: closes without probing when its time is over

  /// One step: up to `probes` at once.
  static RecoveryOptions single(std::uint32_t probes) {
    RecoveryOptions options;
    options.steps[0].probes_in_flight_max = probes;
    return options;
  }
  /// From a twentieth over a quarter to half of the calls.
  static RecoveryOptions gradual() {
    RecoveryOptions options;
    options.steps = {RecoveryStep{0.05, 4}, RecoveryStep{0.25, 16}, RecoveryStep{0.5, 64}};
    options.step_count = 3;
    return options;
  }
  /// Throws std::invalid_argument that names the culprit.
  void validate() const {
    const auto demand = [](bool holds, const char* culprit) {
      if (!holds) throw std::invalid_argument(std::string("circuit breaker: recovery.") + culprit);
    };
    demand(open_for > Duration::zero(), "open_for must be positive");
    demand(open_max >= open_for, "open_max must not be less than open_for");
    demand(factor >= 1 && std::isfinite(factor), "factor must be at least 1");
    demand(jitter >= 0 && jitter <= 1, "jitter must lie in [0, 1]");
    demand(0 < healthy_rate && healthy_rate < failing_rate && failing_rate < 1,
           "healthy_rate must be positive and less than failing_rate, and that less than 1");
    demand(0 < error_rate && error_rate < 0.5, "error_rate must lie in (0, 0.5)");
    demand(probe_timeout > Duration::zero(), "probe_timeout must be positive");
    demand(step_count <= steps_max, "step_count is more than steps_max");
    for (const RecoveryStep& step : std::span(steps).first(step_count)) {
      demand(step.share > 0 && step.share <= 1, "steps: a share must lie in (0, 1]");
      demand(step.probes_in_flight_max > 0, "steps: probes_in_flight_max must be positive");
    }
  }
};

/// The pure machine behind it. Its owner serialises it.
class Recovery {
 public:
  enum class Step : std::uint8_t { stays, next, closes, relapses };

  explicit Recovery(const RecoveryOptions& options)
      : options_(options),
        success_weight_(std::log((1 - options.failing_rate) / (1 - options.healthy_rate))),
        failure_weight_(std::log(options.failing_rate / options.healthy_rate)),
        bound_(std::log(1 / options.error_rate)) {
    options.validate();
  }

  const RecoveryOptions& options() const noexcept { return options_; }

  /// When an opening at `now` ends. `asked`: by the policy, in place of what is due; `die` in [0, 1).
  SteadyTime opened(SteadyTime now, Duration asked, double die) noexcept {
    if (closed_at_ && now - *closed_at_ >= options_.settled_after) relapses_ = 0;
    closed_at_.reset();
    const double span = asked > Duration::zero() ? static_cast<double>(asked.count()) : backoff();
    ++relapses_;
    const double most = 9e18;  // what a Duration holds; an `open_max` of for ever is none of the jitter's business
    return saturating_add(now,
                          Duration(static_cast<Duration::rep>(std::min(span * (1 + options_.jitter * die), most))));
  }
  /// Its time is over. False where there is no step: it closes at once.
  bool half_opened(SteadyTime now) noexcept {
    begin_step(0, now);
    return options_.step_count > 0;
  }
  void closed(SteadyTime now) noexcept { closed_at_ = now; }
  void forget() noexcept {
    relapses_ = 0;
    closed_at_.reset();
  }

  /// Takes a place for a probe; false where there is none.
  bool begin_probe(SteadyTime now) noexcept {
    if (probes_ >= step().probes_in_flight_max) return false;
    ++probes_;
    last_probe_ = now;
    return true;
  }
  /// True where the probes of this step have all been silent for too long.
  bool silent(SteadyTime now) const noexcept {
    return probes_ >= step().probes_in_flight_max && now - last_probe_ >= options_.probe_timeout;
  }
  void cancel_probe() noexcept { --probes_; }
  Step end_probe(bool bad, SteadyTime now) noexcept {
    --probes_;
    score_ += bad ? failure_weight_ : success_weight_;
    if (score_ >= bound_) return Step::relapses;
    if (score_ > -bound_) return Step::stays;
    if (index_ + 1 == options_.step_count) return Step::closes;
    begin_step(index_ + 1, now);
    return Step::next;
  }

  double share() const noexcept { return step().share; }
  std::uint32_t step_index() const noexcept { return static_cast<std::uint32_t>(index_); }
  std::uint32_t probes_in_flight() const noexcept { return probes_; }
  std::uint32_t relapses() const noexcept { return relapses_; }

 private:
  const RecoveryStep& step() const noexcept { return options_.steps[index_]; }

  double backoff() const noexcept {
    const double most = static_cast<double>(options_.open_max.count());
    double span = static_cast<double>(options_.open_for.count());
    for (std::uint32_t i = 0; i < relapses_ && span < most && options_.factor > 1; ++i) span *= options_.factor;
    return std::min(span, most);
  }
  /// Probes of the step before keep their places until they end: the bound holds over all of them.
  void begin_step(std::size_t index, SteadyTime now) noexcept {
    if (index == 0) probes_ = 0;  // those of an earlier opening are of another epoch, and not heard any more
    index_ = index;
    score_ = 0;
    last_probe_ = now;
  }

  RecoveryOptions options_;
  double success_weight_, failure_weight_, bound_;
  std::size_t index_ = 0;
  double score_ = 0;
  std::uint32_t probes_ = 0;
  std::uint32_t relapses_ = 0;
  SteadyTime last_probe_{};
  std::optional<SteadyTime> closed_at_;
};

}  // namespace aura
