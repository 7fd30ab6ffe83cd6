// The sketch against the sorted samples themselves, and against the Kaplan-Meier estimate where some are censored.
#include "support/catch.hpp"

#include <aura/core/random.hpp>
#include <aura/stats/quantile_sketch.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string>
#include <utility>
#include <vector>

namespace {

using aura::QuantileSketch;
using Json = nlohmann::json;

double normal(aura::Random& dice) {
  const double radius = std::sqrt(-2 * std::log1p(-dice.uniform()));
  return radius * std::cos(2 * std::numbers::pi * dice.uniform());
}

QuantileSketch sketch_of(aura::QuantileSketchOptions options) { return *QuantileSketch::make(std::move(options)); }

/// The quantile of samples in order of arrival, the k-th from the last weighing 2^(-k/half_life).
double exact(const std::vector<double>& samples, double half_life, double q) {
  std::vector<std::pair<double, double>> weighted;
  double total = 0;
  for (std::size_t i = 0; i < samples.size(); ++i) {
    const double weight = std::exp2(-static_cast<double>(samples.size() - 1 - i) / half_life);
    weighted.emplace_back(samples[i], weight);
    total += weight;
  }
  std::sort(weighted.begin(), weighted.end());
  double below = 0;
  for (const auto& [value, weight] : weighted) {
    below += weight;
    if (below >= q * total) return value;
  }
  return weighted.back().first;
}

/// Within the relative error of some quantile within 1e-4 of `q`: the weights are floats.
void require_quantile(double value, const std::vector<double>& samples, double half_life, double q) {
  INFO("q " << q << " of " << samples.size() << " samples, half-life " << half_life << ": " << value);
  REQUIRE(value >= exact(samples, half_life, q - 1e-4) * (1 - 0.010001));
  REQUIRE(value <= exact(samples, half_life, q + 1e-4) * (1 + 0.010001));
}

}  // namespace

TEST_CASE("a quantile is within a hundredth of the sample of that rank, the old ones weighing less") {
  aura::Random dice(1);
  for (int round = 0; round < 60; ++round) {
    const double half_life = round % 3 == 0 ? 20 : round % 3 == 1 ? 500 : 1e6;
    const double sigma = round % 2 == 0 ? 1 : 3;
    auto sketch = sketch_of({.half_life = half_life, .kept = {0.99, 0.5}});
    std::vector<double> samples(1 + dice.below(3000));  // up to 150 half-lives: several times renormalised
    for (double& sample : samples) {
      sample = std::clamp(1e7 * std::exp(sigma * normal(dice)), 1e3, 1e12);
      sketch.observe(sample);
    }
    for (const double q : {0.01, 0.25, 0.5, 0.9, 0.99, 0.999})
      require_quantile(sketch.quantile(q), samples, half_life, q);
    require_quantile(sketch.kept(0), samples, half_life, 0.99);
    require_quantile(sketch.kept(1), samples, half_life, 0.5);
  }
}

TEST_CASE("a kept quantile is at any time the one that is searched for") {
  aura::Random dice(2);
  auto sketch = sketch_of({.half_life = 50, .kept = {0.9}});
  for (int i = 0; i < 20'000; ++i) {
    const double scale = i / 1000 % 2 == 0 ? 1e6 : 1e9;  // it has far to go, up and down
    sketch.observe(scale * (1 + dice.uniform()));
    // Rounding of the running sums may leave it at the edge of the next bucket.
    REQUIRE(std::fabs(std::log(sketch.kept(0) / sketch.quantile(0.9))) < 0.021);
  }
}

TEST_CASE("what is outside of the range counts as its end") {
  auto sketch = sketch_of({.least = 10, .greatest = 1000, .kept = {0.5}});
  REQUIRE(sketch.quantile(0.5) == 0);
  REQUIRE(sketch.kept(0) == 0);
  for (const double low : {1.0, 0.0, -5.0}) sketch.observe(low);
  REQUIRE(sketch.quantile(1) == 10);
  REQUIRE(sketch.kept(0) == 10);
  sketch.observe(std::nan(""));
  REQUIRE(sketch.weight() < 3);
  for (int i = 0; i < 10; ++i) sketch.observe(i % 2 == 0 ? 1e9 : std::numeric_limits<double>::infinity());
  REQUIRE(sketch.quantile(0.9) == 1000);
  REQUIRE(sketch.quantile(-1) == 10);
  REQUIRE(sketch.quantile(7) == 1000);
}

TEST_CASE("sketches add: two halves that were observed at the same time are the whole") {
  aura::Random dice(3);
  auto left = sketch_of({.half_life = 1e6, .kept = {0.99}});
  auto right = left;
  auto whole = left;
  for (int i = 0; i < 4000; ++i) {
    const double sample = 1e6 * std::exp(normal(dice));
    (i % 2 == 0 ? left : right).observe(sample);
    whole.observe(sample);
  }
  REQUIRE(left.merge(right).has_value());
  REQUIRE(left.weight() == Approx(4000).epsilon(0.01));
  for (const double q : {0.05, 0.5, 0.95, 0.99})
    REQUIRE(left.quantile(q) == Approx(whole.quantile(q)).epsilon(0.0201));
  REQUIRE(left.kept(0) == left.quantile(0.99));
}

TEST_CASE("sketches add by what is left of each, however long each has run") {
  auto left = sketch_of({.half_life = 100, .kept = {0.5}});
  auto right = left;
  for (int i = 0; i < 1500; ++i) left.observe(1e6);  // 15 half-lives: what is left is 144.8 observations
  for (int i = 0; i < 100; ++i) right.observe(1e9);  // 72.4
  const double share = right.weight() / (left.weight() + right.weight());
  REQUIRE(left.merge(right).has_value());
  REQUIRE(left.weight() == Approx(144.8 + 72.4).epsilon(0.01));
  REQUIRE(left.share_above(1e7) == Approx(share).epsilon(1e-4));
  REQUIRE(share == Approx(1.0 / 3).epsilon(0.01));
}

TEST_CASE("sketches of different buckets or memories do not add, and neither changes") {
  auto one = sketch_of({});
  one.observe(1e6);
  for (const aura::QuantileSketchOptions& other :
       {aura::QuantileSketchOptions{.least = 1e4}, {.greatest = 1e9}, {.relative_error = 0.02}, {.half_life = 10}}) {
    auto two = sketch_of(other);
    two.observe(1e8);
    const auto merged = one.merge(two);
    REQUIRE(merged.error().is(aura::sketch_errc::differs));
    REQUIRE(one.weight() == 1);
    REQUIRE(one.quantile(1) == Approx(1e6).epsilon(0.0101));
  }
}

TEST_CASE("values known to be at least something are shared out as Kaplan and Meier would, erring to the high side") {
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    aura::Random dice(seed);
    auto sketch = sketch_of({.half_life = 1e6, .kept = {0.99}});
    auto blind = sketch;  // takes the timeout for the latency
    std::vector<std::pair<double, bool>> samples;  // value, was it an event
    for (int i = 0; i < 20'000; ++i) {
      const double latency = 1e7 * std::exp(normal(dice));
      const double limit = 3e7 * std::exp(normal(dice));  // one in five is given up
      samples.emplace_back(std::min(latency, limit), latency <= limit);
      blind.observe(samples.back().first);
      latency <= limit ? sketch.observe(latency) : sketch.observe_at_least(limit);
    }
    std::sort(samples.begin(), samples.end());
    double surviving = 1;
    double kaplan_meier = 0;
    for (std::size_t i = 0; i < samples.size() && kaplan_meier == 0; ++i) {
      if (samples[i].second) surviving *= 1 - 1 / static_cast<double>(samples.size() - i);
      if (surviving <= 0.05) kaplan_meier = samples[i].first;
    }
    REQUIRE(kaplan_meier == Approx(1e7 * std::exp(1.645)).epsilon(0.12));  // the oracle itself
    REQUIRE(sketch.quantile(0.95) > 0.98 * kaplan_meier);
    REQUIRE(sketch.quantile(0.95) < 1.5 * kaplan_meier);
    REQUIRE(sketch.kept(0) >= 0.95 * 1e7 * std::exp(2.326));
    REQUIRE(blind.quantile(0.95) < 0.8 * kaplan_meier);
    REQUIRE(sketch.kept(0) == sketch.quantile(0.99));
    REQUIRE(sketch.weight() == Approx(20'000).epsilon(0.01));
  }
}

TEST_CASE("where nothing longer than the timeout was ever seen, nothing is known above it") {
  auto sketch = sketch_of({.kept = {0.99}});
  for (int i = 0; i < 1000; ++i) i % 20 == 0 ? sketch.observe_at_least(1e8) : sketch.observe(1e7);
  REQUIRE(sketch.kept(0) == sketch.options().greatest);
  REQUIRE(sketch.quantile(0.9) == Approx(1e7).epsilon(0.0101));
  REQUIRE(sketch.share_above(1e8) == Approx(0.05).epsilon(0.1));
}

TEST_CASE("a past that fades to a few observations soon counts for nothing") {
  auto sketch = sketch_of({.kept = {0.5}});
  for (int i = 0; i < 5000; ++i) sketch.observe(1e9);
  sketch.fade_to(10);
  REQUIRE(sketch.weight() == Approx(10));
  REQUIRE(sketch.kept(0) == Approx(1e9).epsilon(0.0101));
  for (int i = 0; i < 11; ++i) sketch.observe(1e6);
  REQUIRE(sketch.kept(0) == Approx(1e6).epsilon(0.0101));
  sketch.fade_to(1e6);  // more than there is
  REQUIRE(sketch.weight() == Approx(21).epsilon(0.01));
}

TEST_CASE("what is borrowed has the shape of the other, scaled, and the weight asked for") {
  aura::Random dice(5);
  auto other = sketch_of({});
  for (int i = 0; i < 5000; ++i) other.observe(1e7 * std::exp(normal(dice)));
  auto sketch = sketch_of({.kept = {0.99}});
  sketch.borrow(other, 50, 3);
  REQUIRE(sketch.weight() == Approx(50));
  for (const double q : {0.1, 0.5, 0.99}) REQUIRE(sketch.quantile(q) == Approx(3 * other.quantile(q)).epsilon(0.03));
  sketch.borrow(sketch_of({}), 50);  // knows nothing
  sketch.borrow(sketch_of({.least = 1}), 50);
  REQUIRE(sketch.weight() == Approx(50));
}

TEST_CASE("a sketch that was written down goes on as the one that was not") {
  aura::Random dice(6);
  auto sketch = sketch_of({.half_life = 300, .kept = {0.99, 0.5}});
  for (int i = 0; i < 10'000; ++i) sketch.observe(1e7 * std::exp(normal(dice)));
  auto copy = aura::import_sketch(Json::parse(aura::export_sketch<Json>(sketch).dump()));
  REQUIRE(copy.has_value());
  REQUIRE(copy->options() == sketch.options());
  for (int i = 0; i < 500; ++i) {
    REQUIRE(copy->kept(0) == Approx(sketch.kept(0)).epsilon(0.0201));
    REQUIRE(copy->weight() == Approx(sketch.weight()).epsilon(1e-4));
    const double sample = 2e7 * std::exp(normal(dice));
    sketch.observe(sample);
    copy->observe(sample);
  }
}

TEST_CASE("a sketch kept from schema 1 is read, a newer one refused, and nonsense is an error") {
  const std::string kept = R"({"format":"aura.quantile_sketch","schema":1,"least":1000.0,"greatest":1e12,
    "half_life":5000.0,"relative_error":0.01,"kept":[0.5],"weights":[[346,1.0],[465,2.5]]})";
  const auto read = aura::import_sketch(Json::parse(kept));
  REQUIRE(read.has_value());
  REQUIRE(read->weight() == Approx(3.5));
  REQUIRE(read->kept(0) == Approx(1e7).epsilon(0.02));

  Json newer = Json::parse(kept);
  newer["schema"] = 2;
  REQUIRE(aura::import_sketch(newer).error().is(aura::core_errc::newer_format));

  for (const char* patch : {R"({"format":"other"})", R"({"weights":[[99999,1.0]]})", R"({"weights":[[-1,1.0]]})",
                            R"({"weights":[[1,-1.0]]})", R"({"weights":[[1,1e300]]})", R"({"weights":[[1]]})",
                            R"({"weights":[[1e300,1.0]]})", R"({"schema":1e300})", R"({"weights":7})",
                            R"({"least":null})", R"({"kept":"x"})"}) {
    Json bad = Json::parse(kept);
    bad.merge_patch(Json::parse(patch));
    INFO(patch);
    REQUIRE(aura::import_sketch(bad).error().is(aura::core_errc::bad_encoding));
  }
  for (const char* patch :
       {R"({"relative_error":1e-9})", R"({"half_life":0})", R"({"greatest":1})", R"({"kept":[1.5]})"}) {
    Json bad = Json::parse(kept);
    bad.merge_patch(Json::parse(patch));
    INFO(patch);
    REQUIRE(aura::import_sketch(bad).error().is(aura::sketch_errc::bad_options));
  }
  REQUIRE(!aura::import_sketch(Json(3)).has_value());
  REQUIRE(!aura::import_sketch(Json::object()).has_value());
}

TEST_CASE("options that no sketch can have are refused") {
  const double nan = std::nan("");
  for (const aura::QuantileSketchOptions& options : {aura::QuantileSketchOptions{.least = 0},
                                                     {.least = 1e13},
                                                     {.greatest = nan},
                                                     {.relative_error = 0.5},
                                                     {.relative_error = nan},
                                                     {.half_life = 0.5},
                                                     {.half_life = 2e6},
                                                     {.kept = {0.5, 1}},
                                                     {.relative_error = 1e-4}})
    REQUIRE(QuantileSketch::make(options).error().is(aura::sketch_errc::bad_options));
}
