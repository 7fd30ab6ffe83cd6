// An online logistic regression that forgets nothing it needs and keeps no example: FTRL-Proximal.
#pragma once

#include <array>
#include <cmath>
#include <cstddef>

namespace aura {

/// As McMahan et al. name them, "Ad Click Prediction: a View from the Trenches" (KDD 2013), algorithm 1.
struct FtrlOptions {
  double alpha = 0.1;  ///< learning rate: above 0. The one that wants tuning; features of about 1 are assumed
  double beta = 1;     ///< softens the first steps; the paper finds 1 good enough. At least 0
  double l1 = 0;       ///< keeps weights at exactly 0 until there is this much gradient for them. At least 0
  double l2 = 0;       ///< pulls weights towards 0. At least 0

  friend bool operator==(const FtrlOptions&, const FtrlOptions&) = default;
};

/// 1/(1 + e^-x), without overflow at either end.
inline double logistic(double x) noexcept {
  if (x >= 0) return 1 / (1 + std::exp(-x));
  const double e = std::exp(x);
  return e / (1 + e);
}

/// The probability of an event from N features, learned one example at a time, each coordinate at its own rate.
///
/// A constant feature of 1 serves as the intercept. A feature that is not finite counts as 0. Predicting and learning
/// are O(N), allocate nothing and do not throw. Not shared between threads.
template <std::size_t N>
class FtrlLogistic {
  static_assert(N > 0, "a model needs a feature");

 public:
  using Features = std::array<double, N>;

  explicit FtrlLogistic(const FtrlOptions& options = {}) noexcept : options_(options) {}

  /// In [0, 1]; 0.5 before anything is learned.
  double predict(const Features& features) const noexcept {
    double sum = 0;
    for (std::size_t i = 0; i < N; ++i) sum += weight(i) * finite(features[i]);
    return logistic(sum);
  }

  /// One example. `importance` of 3 counts it as three at once; rare events may be given more. Returns what was
  /// predicted before, which is the honest thing to score.
  double learn(const Features& features, bool happened, double importance = 1) noexcept {
    const double before = predict(features);
    const double error = (before - (happened ? 1.0 : 0.0)) * importance;
    for (std::size_t i = 0; i < N; ++i) {
      const double gradient = error * finite(features[i]);
      const double squares = squares_[i] + gradient * gradient;
      const double sigma = (std::sqrt(squares) - std::sqrt(squares_[i])) / options_.alpha;
      gradients_[i] += gradient - sigma * weight(i);
      squares_[i] = squares;
    }
    return before;
  }

  double weight(std::size_t i) const noexcept {
    const double gradient = gradients_[i];
    if (!(std::fabs(gradient) > options_.l1)) return 0;
    const double scale = (options_.beta + std::sqrt(squares_[i])) / options_.alpha + options_.l2;
    return (std::copysign(options_.l1, gradient) - gradient) / scale;
  }

  const FtrlOptions& options() const noexcept { return options_; }

 private:
  static double finite(double feature) noexcept { return std::isfinite(feature) ? feature : 0; }

  FtrlOptions options_;
  std::array<double, N> gradients_{};  // z in the paper
  std::array<double, N> squares_{};  // n in the paper
};

}  // namespace aura
