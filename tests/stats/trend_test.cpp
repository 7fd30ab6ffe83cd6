// EWMA and Holt's trend against their definitions.
#include "support/catch.hpp"

#include <aura/core/random.hpp>
#include <aura/stats/trend.hpp>

#include <cmath>
#include <limits>
#include <vector>

TEST_CASE("an average weighs each sample by its age") {
  aura::Random dice(1);
  std::vector<double> samples;
  aura::Ewma average(0.2);
  for (int i = 0; i < 50; ++i) {
    samples.push_back(dice.uniform());
    average.observe(samples.back());
    double sum = std::pow(0.8, i) * samples[0];  // the first one stands for all before it
    for (int age = 0; age < i; ++age) sum += 0.2 * std::pow(0.8, age) * samples[static_cast<std::size_t>(i - age)];
    REQUIRE(average.value() == Approx(sum));
  }
}

TEST_CASE("a sample weighs half after its half-life") {
  aura::Ewma average(aura::Ewma::alpha_of_half_life(10));
  average.observe(1);
  for (int i = 0; i < 10; ++i) average.observe(0);
  REQUIRE(average.value() == Approx(0.5));
}

TEST_CASE("a straight line is forecast exactly, as far as one likes") {
  for (const double slope : {-3.0, 0.0, 0.25}) {
    aura::HoltTrend trend(0.3, 0.1);
    for (int i = 0; i < 20; ++i) trend.observe(5 + slope * i);
    REQUIRE(trend.level() == Approx(5 + slope * 19));
    REQUIRE(trend.slope() == Approx(slope).margin(1e-12));
    REQUIRE(trend.forecast(100) == Approx(5 + slope * 119));
  }
}

TEST_CASE("the trend is Holt's, computed by hand") {
  aura::HoltTrend trend(0.5, 0.25);
  trend.observe(10);
  REQUIRE(trend.forecast(3) == 10);
  trend.observe(14);  // level 14, slope 4
  REQUIRE(trend.forecast(1) == Approx(18));
  trend.observe(16);  // level (16 + 18)/2 = 17, slope 3/4 + 3 = 3.75
  REQUIRE(trend.level() == Approx(17));
  REQUIRE(trend.slope() == Approx(3.75));
  trend.observe(10);  // level (10 + 20.75)/2 = 15.375, slope -1.625/4 + 2.8125
  REQUIRE(trend.forecast(2) == Approx(15.375 + 2 * 2.40625));
}

TEST_CASE("a sample that is no number is passed over") {
  aura::Ewma average(0.5);
  aura::HoltTrend trend(0.5, 0.5);
  REQUIRE(average.value() == 0);
  REQUIRE(trend.forecast(5) == 0);
  for (const double sample :
       {1.0, std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity(), 2.0}) {
    average.observe(sample);
    trend.observe(sample);
  }
  REQUIRE(average.value() == 1.5);
  REQUIRE(average.samples() == 2);
  REQUIRE(trend.forecast(1) == 3);
}
