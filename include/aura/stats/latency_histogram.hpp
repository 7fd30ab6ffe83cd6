// A histogram of durations that many threads may feed at once.
#pragma once

#include <aura/core/time.hpp>

#include <array>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstdint>

namespace aura {

/// Log-linear buckets, eight to each power of two (as HdrHistogram's, 3 bits of precision): a quantile is within 6.25%
/// of an observed value, from 1 ns to 292 years. 4 KiB; observing is one relaxed increment. May be shared.
class LatencyHistogram {
 public:
  void observe(Duration latency) noexcept {
    const auto value = static_cast<std::uint64_t>(latency.count() < 0 ? 0 : latency.count());
    counts_[bucket_of(value)].fetch_add(1, std::memory_order_relaxed);
  }

  std::uint64_t count() const noexcept {
    std::uint64_t all = 0;
    for (const auto& bucket : counts_) all += bucket.load(std::memory_order_relaxed);
    return all;
  }

  /// The middle of the bucket that holds the quantile `q` of 0 to 1 (nearest rank); zero where nothing was observed.
  Duration quantile(double q) const noexcept {
    const std::uint64_t all = count();
    if (all == 0) return Duration::zero();
    const double clamped = q < 0 ? 0 : q > 1 ? 1 : q;
    auto rank = static_cast<std::uint64_t>(std::ceil(clamped * static_cast<double>(all)));  // 1 is the least
    rank = rank == 0 ? 0 : rank > all ? all - 1 : rank - 1;
    std::uint64_t below = 0;
    for (std::size_t i = 0; i < counts_.size(); ++i) {
      below += counts_[i].load(std::memory_order_relaxed);
      if (below > rank) return Duration(static_cast<Duration::rep>(middle_of(i)));
    }
    return Duration(static_cast<Duration::rep>(middle_of(counts_.size() - 1)));
  }

 private:
  static constexpr unsigned precision = 3;
  static constexpr std::size_t per_octave = std::size_t{1} << precision;

  static constexpr std::size_t bucket_of(std::uint64_t value) noexcept {
    if (value < per_octave) return static_cast<std::size_t>(value);
    const unsigned octave = static_cast<unsigned>(std::bit_width(value)) - 1 - precision;
    return (octave + 1) * per_octave + static_cast<std::size_t>((value >> octave) & (per_octave - 1));
  }
  static constexpr std::uint64_t middle_of(std::size_t bucket) noexcept {
    if (bucket < per_octave) return bucket;
    const unsigned octave = static_cast<unsigned>(bucket / per_octave) - 1;
    const std::uint64_t low = (per_octave + bucket % per_octave) << octave;
    return low + ((std::uint64_t{1} << octave) >> 1);
  }

  std::array<std::atomic<std::uint64_t>, (64 - precision + 1) * per_octave> counts_{};
};

}  // namespace aura
