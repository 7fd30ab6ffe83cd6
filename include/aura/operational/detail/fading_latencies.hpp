// A quantile of recent latencies: a histogram that forgets.
#pragma once

#include <aura/core/time.hpp>

#include <array>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>

namespace aura::detail {

/// Log-linear buckets, eight to each power of two, as LatencyHistogram's. After every `window` observations the quantile
/// is computed anew and every count is halved, so what was seen n windows ago weighs 2⁻ⁿ. 2 KiB. May be shared:
/// observing is two relaxed increments, and one in `window` walks the buckets; reading is one load.
class FadingLatencies {
 public:
  FadingLatencies(double quantile, std::uint32_t window) noexcept
      : quantile_(quantile), window_(window == 0 ? 1 : window) {}

  void observe(Duration latency) noexcept {
    const auto value = static_cast<std::uint64_t>(latency.count() < 0 ? 0 : latency.count());
    counts_[bucket_of(value)].fetch_add(1, std::memory_order_relaxed);
    if ((observed_.fetch_add(1, std::memory_order_relaxed) + 1) % window_ == 0) fade();
  }

  /// The upper end of the bucket that holds the quantile, as of the last full window; zero before the first.
  Duration value() const noexcept { return Duration(value_.load(std::memory_order_relaxed)); }

 private:
  static constexpr unsigned precision = 3;
  static constexpr std::size_t per_octave = std::size_t{1} << precision;
  static constexpr std::size_t buckets = (64 - precision + 1) * per_octave;

  static constexpr std::size_t bucket_of(std::uint64_t value) noexcept {
    if (value < per_octave) return static_cast<std::size_t>(value);
    const unsigned octave = static_cast<unsigned>(std::bit_width(value)) - 1 - precision;
    return (octave + 1) * per_octave + static_cast<std::size_t>((value >> octave) & (per_octave - 1));
  }
  static constexpr std::uint64_t end_of(std::size_t bucket) noexcept {
    if (bucket < per_octave) return bucket;
    const auto octave = static_cast<unsigned>(bucket / per_octave) - 1;
    return ((per_octave + bucket % per_octave + 1) << octave) - 1;
  }

  void fade() noexcept {
    std::uint64_t all = 0;
    for (const auto& count : counts_) all += count.load(std::memory_order_relaxed);
    const auto rank = static_cast<std::uint64_t>(std::ceil(quantile_ * static_cast<double>(all)));
    std::uint64_t below = 0;
    bool found = false;
    for (std::size_t i = 0; i < buckets; ++i) {
      const std::uint32_t count = counts_[i].load(std::memory_order_relaxed);
      below += count;
      if (!found && below >= rank && below != 0) {
        found = true;
        value_.store(static_cast<std::int64_t>(end_of(i)), std::memory_order_relaxed);
      }
      counts_[i].fetch_sub(count - count / 2, std::memory_order_relaxed);
    }
  }

  double quantile_;
  std::uint32_t window_;
  std::array<std::atomic<std::uint32_t>, buckets> counts_{};
  std::atomic<std::uint64_t> observed_{0};
  std::atomic<std::int64_t> value_{0};
};

}  // namespace aura::detail
