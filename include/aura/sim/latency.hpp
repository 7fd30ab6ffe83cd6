// How long things take, as distributions to draw from.
#pragma once

#include <aura/core/random.hpp>
#include <aura/core/time.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <numbers>

namespace aura::sim {

/// Draws one latency. Any function will do; negative draws count as zero.
using Latency = std::function<Duration(Random&)>;

inline Latency constant_latency(Duration span) {
  return [span](Random&) { return span; };
}

/// Uniform in [least, most].
inline Latency uniform_latency(Duration least, Duration most) {
  return [least, most](Random& dice) {
    const Duration range = std::max(most - least, Duration::zero());
    return least + Duration(static_cast<Duration::rep>(dice.below(static_cast<std::uint64_t>(range.count()) + 1)));
  };
}

/// `least` and an exponential with mean `mean` on top: queueing.
inline Latency exponential_latency(Duration least, Duration mean) {
  return [least, mean](Random& dice) {
    const double beyond = -std::log1p(-dice.uniform()) * static_cast<double>(mean.count());
    return least + Duration(static_cast<Duration::rep>(beyond));
  };
}

/// Lognormal: half the draws are below `median`, and `sigma` is the deviation of the logarithm (0.5 is a usual
/// service, 1.5 one with a terrible tail). Box and Muller's method. At most a thousand hours.
inline Latency lognormal_latency(Duration median, double sigma) {
  return [median, sigma](Random& dice) {
    const double radius = std::sqrt(-2.0 * std::log1p(-dice.uniform()));
    const double normal = radius * std::cos(2.0 * std::numbers::pi * dice.uniform());
    const double drawn = static_cast<double>(median.count()) * std::exp(sigma * normal);
    return Duration(static_cast<Duration::rep>(std::min(drawn, 3.6e15)));
  };
}

}  // namespace aura::sim
