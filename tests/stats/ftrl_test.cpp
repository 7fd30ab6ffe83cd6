// FTRL against its definition, solved slowly elsewhere, and against the batch optimum.
#include "support/catch.hpp"

#include <aura/core/random.hpp>
#include <aura/stats/ftrl.hpp>

#include <array>
#include <cmath>
#include <limits>
#include <vector>

namespace {

using aura::FtrlLogistic;
using aura::FtrlOptions;

struct Example {
  std::array<double, 3> features;
  bool happened;
};

const std::array<Example, 12> sample = {{
    {{1, 0.027740156278, 0.175741303246}, false},
    {{1, -0.382696967572, 0.534533886705}, false},
    {{1, 0.895255850628, 0.171736301389}, true},
    {{1, 0.404462337494, 0.226430681068}, true},
    {{1, -0.010453106835, 0.12472031964}, false},
    {{1, -0.832202393562, 0.389647121076}, false},
    {{1, -0.445548405871, 0.368070719298}, false},
    {{1, 0.96687438339, 0.53539793985}, true},
    {{1, 0.531363805756, 0.646473150235}, true},
    {{1, 0.534277621657, 0.780236920808}, true},
    {{1, 0.645902844146, 0.151932293084}, true},
    {{1, 0.250953480601, 0.314684827346}, true},
}};

}  // namespace

TEST_CASE("each prediction and weight is the argmin that the paper defines") {
  // From a separate program, which keeps every gradient and minimises each round's objective by ternary search.
  struct Expected {
    FtrlOptions options;
    std::array<double, 12> predictions;
    std::array<double, 3> weights;
  };
  const std::array<Expected, 2> all = {{
      {{.alpha = 0.1},
       {0.5, 0.4907192, 0.4864579, 0.4946554, 0.4970643, 0.4778192, 0.474315, 0.4983582, 0.4984131, 0.5085486,
        0.5209822, 0.5128465},
       {0.021315, 0.170668, 0.030441}},
      {{.alpha = 0.5, .l1 = 0.4, .l2 = 0.3},
       {0.5, 0.4924248, 0.4592745, 0.5002156, 0.4996429, 0.4640916, 0.4414615, 0.5110777, 0.5250013, 0.5560321,
        0.58543, 0.5378688},
       {0.064319, 0.625315, 0.045115}},
  }};
  for (const Expected& expected : all) {
    FtrlLogistic<3> model(expected.options);
    for (std::size_t i = 0; i < sample.size(); ++i) {
      REQUIRE(model.learn(sample[i].features, sample[i].happened) == Approx(expected.predictions[i]).margin(2e-7));
    }
    for (std::size_t i = 0; i < 3; ++i) REQUIRE(model.weight(i) == Approx(expected.weights[i]).margin(2e-6));
  }
}

TEST_CASE("over many examples it comes to the weights of the batch optimum, and to the true probabilities") {
  aura::Random dice(3);
  const std::array<double, 3> truth = {-1.0, 2.0, -1.5};
  FtrlLogistic<3> model({.alpha = 0.5});
  double gradient[3] = {};
  std::vector<Example> all;
  for (int i = 0; i < 60'000; ++i) {
    Example example{{1, dice.uniform() * 2 - 1, dice.uniform() * 2 - 1}, false};
    double sum = 0;
    for (std::size_t k = 0; k < 3; ++k) sum += truth[k] * example.features[k];
    example.happened = dice.chance(1 / (1 + std::exp(-sum)));
    model.learn(example.features, example.happened);
    all.push_back(example);
  }
  for (std::size_t k = 0; k < 3; ++k) REQUIRE(model.weight(k) == Approx(truth[k]).margin(0.1));
  // At the batch optimum the mean gradient is 0.
  for (const Example& example : all) {
    const double error = model.predict(example.features) - (example.happened ? 1 : 0);
    for (std::size_t k = 0; k < 3; ++k) gradient[k] += error * example.features[k] / static_cast<double>(all.size());
  }
  for (const double mean : gradient) REQUIRE(std::fabs(mean) < 0.01);
}

TEST_CASE("L1 leaves the weight of a feature that says nothing at exactly nothing") {
  aura::Random dice(4);
  FtrlLogistic<3> sparse({.alpha = 0.1, .l1 = 100});
  FtrlLogistic<3> dense({.alpha = 0.1});
  for (int i = 0; i < 5000; ++i) {
    const double telling = dice.uniform() * 2 - 1;
    const std::array<double, 3> features = {1, telling, dice.uniform() * 2 - 1};
    const bool happened = dice.chance(telling > 0 ? 0.9 : 0.1);
    sparse.learn(features, happened);
    dense.learn(features, happened);
  }
  REQUIRE(sparse.weight(1) > 0.5);
  REQUIRE(sparse.weight(2) == 0);
  REQUIRE(dense.weight(2) != 0);
}

TEST_CASE("an example of importance three teaches what its gradient times three does") {
  FtrlLogistic<1> model({.alpha = 1, .beta = 1});
  model.learn({1.0}, true, 3);
  // g = -1.5, n = 2.25, z = -1.5, w = 1.5 / (1 + 1.5)
  REQUIRE(model.weight(0) == Approx(0.6));
}

TEST_CASE("no number breaks it: a probability stays one") {
  const double inf = std::numeric_limits<double>::infinity();
  const double nan = std::numeric_limits<double>::quiet_NaN();
  FtrlLogistic<2> model;
  REQUIRE(model.predict({1, 1}) == 0.5);
  model.learn({nan, inf}, true);
  REQUIRE(model.predict({1, 1}) == 0.5);
  for (int i = 0; i < 100; ++i) model.learn({1, 1e6}, i % 2 == 0);
  for (const double x : {-1e300, -1.0, 0.0, 1.0, 1e300, nan, inf}) {
    const double p = model.predict({1, x});
    REQUIRE(p >= 0);
    REQUIRE(p <= 1);
  }
  REQUIRE(aura::logistic(-1000) == 0);
  REQUIRE(aura::logistic(1000) == 1);
  REQUIRE(aura::logistic(0) == 0.5);
}
