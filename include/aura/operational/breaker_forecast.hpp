// Foresees that an error rate is about to be too high: a learned model, and the simple ones that it has to beat.
#pragma once

#include <aura/core/time.hpp>
#include <aura/stats/ftrl.hpp>
#include <aura/stats/trend.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace aura {

/// What happened in one tick: 100 ms to 1 s of calls.
struct ForecastWindow {
  std::uint64_t calls = 0;
  std::uint64_t errors = 0;
  Duration p50{};  ///< of the latencies; zero where there were no calls
  Duration p99{};
  std::uint32_t in_flight = 0;  ///< at the end of the tick
  std::uint32_t limit = 0;      ///< of calls in flight; zero where there is none, and load is then no feature
};

struct Forecast {
  double probability = 0;     ///< of trouble within the horizon; of a simple model: its score from 0 to 1
  double throttle_share = 0;  ///< of calls to reject as a precaution; a forecast never opens a breaker

  friend bool operator==(const Forecast&, const Forecast&) = default;
};

struct ForecastOptions {
  double p1 = 0.05;                  ///< the error rate that is trouble: above 0, below 1
  std::uint32_t horizon_ticks = 30;  ///< how far ahead trouble is looked for: 1 to 1024, held to it
  /// The probability above which calls are throttled. Trouble is rare, so the learned model seldom says more than 0.2;
  /// a simple model's score wants about 0.3.
  double threshold = 0.1;
  double share_max = 0.5;  ///< throttled at a probability of 1; in proportion between the two
  double calls_min = 20;  ///< an error rate of fewer calls is not looked at
  std::uint32_t troubles_min = 3;  ///< the learned model is silent until it has seen so many begin
  FtrlOptions learning{.alpha = 0.1, .beta = 1, .l1 = 0, .l2 = 1};
};

/// A model is fed once a tick and answers at once. `interrupt` says that the ticks to come do not follow on the last one
/// (the breaker was open, say). Pure, O(1) and without allocation for each tick. Not shared between threads.
template <class T>
concept forecast_model = requires(T& model, const ForecastWindow& window) {
  { model.observe(window) } -> std::same_as<Forecast>;
  { model.interrupt() };
};

namespace detail {

/// The error rate of about the last two ticks, pooled so that a quiet tick weighs little.
class RecentErrorRate {
 public:
  /// NaN where too few calls were made to say.
  double observe(const ForecastWindow& window, double calls_min) noexcept {
    calls_ = calls_ / 2 + static_cast<double>(window.calls);
    errors_ = errors_ / 2 + static_cast<double>(std::min(window.errors, window.calls));
    return calls_ < calls_min ? std::nan("") : errors_ / calls_;
  }

 private:
  double calls_ = 0;
  double errors_ = 0;
};

inline double load_of(const ForecastWindow& window) noexcept {
  return window.limit == 0 ? 0 : static_cast<double>(window.in_flight) / window.limit;
}

inline Forecast forecast_of(double probability, const ForecastOptions& options) noexcept {
  if (!(probability > options.threshold)) return {.probability = probability, .throttle_share = 0};
  const double excess = (probability - options.threshold) / (1 - options.threshold);
  return {.probability = probability, .throttle_share = options.share_max * std::min(1.0, excess)};
}

}  // namespace detail

/// A baseline: the smoothed error rate as a share of p1.
class EwmaForecast {
 public:
  explicit EwmaForecast(const ForecastOptions& options) noexcept : options_(options) {}

  Forecast observe(const ForecastWindow& window) noexcept {
    rate_.observe(recent_.observe(window, options_.calls_min));
    return detail::forecast_of(std::min(1.0, rate_.value() / options_.p1), options_);
  }
  void interrupt() noexcept { *this = EwmaForecast(options_); }

 private:
  ForecastOptions options_;
  detail::RecentErrorRate recent_{};
  Ewma rate_{0.1};
};

/// A baseline: where Holt's trend of the error rate will be at the horizon, as a share of p1.
class HoltForecast {
 public:
  explicit HoltForecast(const ForecastOptions& options) noexcept : options_(options) {}

  Forecast observe(const ForecastWindow& window) noexcept {
    rate_.observe(recent_.observe(window, options_.calls_min));
    const double ahead = rate_.forecast(options_.horizon_ticks) / options_.p1;
    return detail::forecast_of(std::clamp(ahead, 0.0, 1.0), options_);
  }
  void interrupt() noexcept { *this = HoltForecast(options_); }

 private:
  ForecastOptions options_;
  detail::RecentErrorRate recent_{};
  HoltTrend rate_{0.2, 0.02};
};

/// A plain rule that sees the load as well: the error rate as a share of p1, or three quarters of the calls in flight as a
/// share of their limit, whichever is more.
class RuleForecast {
 public:
  explicit RuleForecast(const ForecastOptions& options) noexcept : options_(options) {}

  Forecast observe(const ForecastWindow& window) noexcept {
    rate_.observe(recent_.observe(window, options_.calls_min));
    load_.observe(detail::load_of(window));
    const double score = std::max(rate_.value() / options_.p1, 0.75 * load_.value());
    return detail::forecast_of(std::min(1.0, score), options_);
  }
  void interrupt() noexcept { *this = RuleForecast(options_); }

 private:
  ForecastOptions options_;
  detail::RecentErrorRate recent_{};
  Ewma rate_{0.1};
  Ewma load_{0.3};
};

/// The learned model: logistic regression (FTRL) over the level and slope of the error rate, the spread and the rise of
/// latencies, and calls in flight against their limit with their slope.
///
/// It teaches itself: what a tick looked like is kept until it is known whether the error rate exceeded p1 within the
/// horizon. Ticks in trouble and within a horizon after it teach nothing: there is nothing left to foresee, and what is
/// about to pass would look like what is about to come. Trouble that a throttle averts looks like a false alarm to it, so
/// where it acts it grows slowly less sure. 72 bytes for each tick of the horizon.
class BreakerForecast {
 public:
  static constexpr std::size_t features_count = 7;
  using Model = FtrlLogistic<features_count>;

  explicit BreakerForecast(ForecastOptions options)
      : options_(clamped(options)), model_(options_.learning), past_(options_.horizon_ticks) {}

  Forecast observe(const ForecastWindow& window) noexcept {
    const double rate = recent_.observe(window, options_.calls_min);
    const bool trouble = rate > options_.p1;
    if (trouble && !in_trouble_) ++troubles_;
    in_trouble_ = trouble;
    if (trouble) last_trouble_ = tick_;

    Past& slot = past_[tick_ % past_.size()];
    if (slot.open) {  // it is of the tick a horizon ago
      const bool happened = last_trouble_ != never && last_trouble_ + past_.size() > tick_;
      model_.learn(slot.features, happened);
      ++examples_;
      positives_ += happened ? 1 : 0;
    }
    const bool settled = last_trouble_ == never || last_trouble_ + past_.size() <= tick_;
    slot = {.features = features(window, rate), .open = settled};
    ++tick_;
    if (troubles_ < options_.troubles_min) return {};
    return detail::forecast_of(model_.predict(slot.features), options_);
  }

  /// What was learned stays; what was pending is dropped.
  void interrupt() noexcept {
    for (Past& past : past_) past.open = false;
    recent_ = {};
    signals_ = {};
    last_trouble_ = never;
    in_trouble_ = false;
  }

  const Model& model() const noexcept { return model_; }
  /// How many times the error rate was seen to exceed p1.
  std::uint64_t troubles() const noexcept { return troubles_; }
  /// From how many ticks it has learned, and after how many of them trouble came.
  std::uint64_t examples() const noexcept { return examples_; }
  std::uint64_t positives() const noexcept { return positives_; }

 private:
  struct Past {
    Model::Features features{};
    bool open = false;  ///< not known yet what became of it
  };
  /// Fast averages against slow ones: what is usual differs from one service to the next.
  struct Signals {
    HoltTrend rate{0.15, 0.05};
    HoltTrend load{0.3, 0.1};
    Ewma spread{0.3}, usual_spread{0.003};
    Ewma median{0.3}, usual_median{0.003};
  };
  static constexpr std::uint64_t never = ~std::uint64_t{0};

  static ForecastOptions clamped(ForecastOptions options) noexcept {
    options.horizon_ticks = std::clamp<std::uint32_t>(options.horizon_ticks, 1, 1024);
    return options;
  }

  Model::Features features(const ForecastWindow& window, double rate) noexcept {
    const double horizon = options_.horizon_ticks;
    signals_.rate.observe(rate);
    signals_.load.observe(detail::load_of(window));
    if (window.p50 > Duration::zero() && window.p99 >= window.p50) {
      const double median = std::log(static_cast<double>(window.p50.count()));
      const double spread = std::log(static_cast<double>(window.p99.count())) - median;
      for (Ewma* average : {&signals_.spread, &signals_.usual_spread}) average->observe(spread);
      for (Ewma* average : {&signals_.median, &signals_.usual_median}) average->observe(median);
    }
    const double level = std::max(signals_.rate.level() / options_.p1, 0.01);
    return {1,
            std::clamp(std::log(level), -5.0, 1.0),
            std::clamp(signals_.rate.slope() * horizon / options_.p1, -3.0, 3.0),
            std::clamp(signals_.spread.value() - signals_.usual_spread.value(), -3.0, 3.0),
            std::clamp(signals_.median.value() - signals_.usual_median.value(), -3.0, 3.0),
            std::clamp(signals_.load.level(), 0.0, 2.0),
            std::clamp(signals_.load.slope() * horizon, -2.0, 2.0)};
  }

  ForecastOptions options_;
  Model model_;
  std::vector<Past> past_;  // a ring: a tick and the one a horizon before it share a slot
  detail::RecentErrorRate recent_{};
  Signals signals_{};
  std::uint64_t tick_ = 0;
  std::uint64_t last_trouble_ = never;
  std::uint64_t troubles_ = 0;
  std::uint64_t examples_ = 0;
  std::uint64_t positives_ = 0;
  bool in_trouble_ = false;
};

}  // namespace aura
