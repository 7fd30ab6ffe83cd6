// What a forecast may do, what the learned one learns from, and that it learns.
#include "support/catch.hpp"

#include <aura/core/random.hpp>
#include <aura/operational/breaker_forecast.hpp>

#include <chrono>
#include <cstdint>
#include <limits>
#include <vector>

namespace {

using aura::BreakerForecast;
using aura::Forecast;
using aura::ForecastOptions;
using aura::ForecastWindow;

using namespace std::chrono_literals;

ForecastWindow window(double error_rate, double load = 0.2, aura::Duration p50 = 10ms, std::uint64_t calls = 1000) {
  return {.calls = calls,
          .errors = static_cast<std::uint64_t>(error_rate * static_cast<double>(calls)),
          .p50 = p50,
          .p99 = 4 * p50,
          .in_flight = static_cast<std::uint32_t>(load * 1000),
          .limit = 1000};
}

/// A minute of health, then calls pile up for 30 ticks, then errors for 10.
ForecastWindow of_cycle(int tick) {
  if (tick < 100) return window(0.001);
  if (tick < 130) return window(0.001, 0.2 + 0.025 * (tick - 100), 10ms + 2ms * (tick - 100));
  return window(0.4, 1.0, 80ms);
}
constexpr int cycle_ticks = 140;

}  // namespace

static_assert(aura::forecast_model<aura::BreakerForecast>);
static_assert(aura::forecast_model<aura::EwmaForecast>);
static_assert(aura::forecast_model<aura::HoltForecast>);
static_assert(aura::forecast_model<aura::RuleForecast>);

TEMPLATE_TEST_CASE("a forecast throttles above its threshold only, and never more than its share", "",
                   aura::EwmaForecast, aura::HoltForecast, aura::RuleForecast, aura::BreakerForecast) {
  ForecastOptions options{.p1 = 0.05, .threshold = 0.3, .share_max = 0.4};
  TestType model(options);
  aura::Random dice(1);
  int throttled = 0;
  int idle = 0;
  for (int tick = 0; tick < 20'000; ++tick) {
    const bool bad = tick / 50 % 3 == 0;
    const Forecast forecast =
        model.observe(window(bad ? dice.uniform() * 0.5 : 0.002 * dice.uniform(), dice.uniform()));
    REQUIRE(forecast.probability >= 0);
    REQUIRE(forecast.probability <= 1);
    REQUIRE(forecast.throttle_share >= 0);
    REQUIRE(forecast.throttle_share <= 0.4);
    REQUIRE((forecast.throttle_share > 0) == (forecast.probability > 0.3));
    ++(forecast.throttle_share > 0 ? throttled : idle);
  }
  REQUIRE(throttled > 0);
  REQUIRE(idle > 0);
}

TEST_CASE("it foresees from calls that pile up what comes before any error") {
  BreakerForecast model({.threshold = 0.3});
  for (int cycle = 0; cycle < 100; ++cycle) {
    for (int tick = 0; tick < cycle_ticks; ++tick) model.observe(of_cycle(tick));
  }
  double healthy = 0;
  double soon = 0;
  int first_throttle = -1;
  for (int tick = 0; tick < 130; ++tick) {
    const Forecast forecast = model.observe(of_cycle(tick));
    if (tick >= 50 && tick < 95) healthy = std::max(healthy, forecast.probability);
    if (tick == 125) soon = forecast.probability;
    if (tick >= 50 && forecast.throttle_share > 0 && first_throttle < 0) first_throttle = tick;
  }
  CAPTURE(healthy, soon, first_throttle);
  REQUIRE(soon > 5 * healthy);
  REQUIRE(soon > 0.5);
  REQUIRE(first_throttle >= 100);
  REQUIRE(first_throttle <= 120);  // ten ticks before the first error

  // An error rate alone has nothing to say there.
  aura::EwmaForecast ewma({.threshold = 0.3});
  for (int tick = 0; tick < 130; ++tick) REQUIRE(ewma.observe(of_cycle(tick)).throttle_share == 0);
}

TEST_CASE("it is silent until it has seen trouble as often as was asked") {
  BreakerForecast model({.threshold = 0.01, .troubles_min = 3});
  std::uint64_t troubles = 0;
  for (int cycle = 0; cycle < 5; ++cycle) {
    for (int tick = 0; tick < cycle_ticks; ++tick) {
      const Forecast forecast = model.observe(of_cycle(tick));
      if (tick == 130) ++troubles;
      REQUIRE(model.troubles() == troubles);
      if (troubles < 3) REQUIRE(forecast == Forecast{});
    }
  }
  REQUIRE(troubles == 5);
}

TEST_CASE(
    "a tick teaches once it is known what came within the horizon, and ticks in or after trouble teach nothing") {
  const double calls_min = 20;
  for (const std::uint32_t horizon : {1u, 2u, 7u, 30u}) {
    BreakerForecast model({.p1 = 0.05, .horizon_ticks = horizon, .calls_min = calls_min});
    aura::Random dice(horizon);
    std::vector<bool> trouble;
    double calls = 0;
    double errors = 0;
    for (std::size_t tick = 0; tick < 3000; ++tick) {
      const ForecastWindow fed = window(dice.chance(0.02) ? 0.5 : 0.0, 0.2, 10ms, dice.chance(0.1) ? 0 : 1000);
      model.observe(fed);
      calls = calls / 2 + static_cast<double>(fed.calls);
      errors = errors / 2 + static_cast<double>(fed.errors);
      trouble.push_back(calls >= calls_min && errors / calls > 0.05);
    }
    // The slow way: look back and ahead from every tick whose horizon has passed.
    std::uint64_t examples = 0;
    std::uint64_t positives = 0;
    for (std::size_t tick = 0; tick + horizon < trouble.size(); ++tick) {
      bool settled = true;
      for (std::size_t back = 0; back < horizon && back <= tick; ++back) settled = settled && !trouble[tick - back];
      if (!settled) continue;
      bool comes = false;
      for (std::size_t ahead = 1; ahead <= horizon; ++ahead) comes = comes || trouble[tick + ahead];
      ++examples;
      positives += comes ? 1 : 0;
    }
    CAPTURE(horizon);
    REQUIRE(positives > 0);
    REQUIRE(model.examples() == examples);
    REQUIRE(model.positives() == positives);
  }
}

TEST_CASE("an interruption drops what is pending and keeps what was learned") {
  BreakerForecast model({.horizon_ticks = 10});
  for (int i = 0; i < 15; ++i) model.observe(window(0));
  REQUIRE(model.examples() == 5);
  const double weight = model.model().weight(0);
  REQUIRE(weight != 0);
  model.interrupt();
  for (int i = 0; i < 10; ++i) model.observe(window(0.5));
  REQUIRE(model.examples() == 5);
  REQUIRE(model.positives() == 0);
  REQUIRE(model.model().weight(0) == weight);
}

TEMPLATE_TEST_CASE("windows that say nothing, or nonsense, do no harm", "", aura::EwmaForecast, aura::HoltForecast,
                   aura::RuleForecast, aura::BreakerForecast) {
  TestType model(ForecastOptions{.horizon_ticks = std::numeric_limits<std::uint32_t>::max(), .troubles_min = 0});
  const std::uint64_t most = std::numeric_limits<std::uint64_t>::max();
  for (const ForecastWindow& odd :
       {ForecastWindow{}, ForecastWindow{.calls = 5, .errors = 50}, ForecastWindow{.calls = most, .errors = most},
        ForecastWindow{.in_flight = 7}, ForecastWindow{.calls = 100, .p50 = 10ms, .p99 = 5ms},
        ForecastWindow{.calls = 100, .p50 = -10ms, .p99 = -5ms, .in_flight = ~0u, .limit = 1}}) {
    for (int i = 0; i < 1500; ++i) {
      const Forecast forecast = model.observe(odd);
      REQUIRE(forecast.probability >= 0);
      REQUIRE(forecast.probability <= 1);
      REQUIRE(forecast.throttle_share <= 0.5);
    }
  }
  model.interrupt();
}
