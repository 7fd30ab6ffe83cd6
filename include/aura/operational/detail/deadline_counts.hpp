// How many signals wait with a deadline no later than a given one: a Fenwick tree over a ring of time buckets.
#pragma once

#include <aura/core/time.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <vector>

namespace aura::detail {

/// Counts by deadline to `width`, over the next `buckets · width` (4 s); what is later is one lump, what is past another.
/// Adding, removing and asking cost at most 11 steps each (Fenwick 1994); the passing of time one step a bucket.
class DeadlineCounts {
 public:
  static constexpr std::size_t buckets = 2048;
  static constexpr Duration width = std::chrono::milliseconds(2);

  DeadlineCounts() : tree_(buckets + 1), held_(buckets) {}

  /// Returns where it was put, which `remove` wants back.
  std::int64_t add(SteadyTime deadline, SteadyTime now) noexcept {
    advance(now);
    const std::int64_t bucket = bucket_of(deadline);
    ++all_;
    if (bucket < base_) return ++past_, bucket;
    if (bucket >= base_ + std::int64_t{buckets}) return far;
    ++held_[slot(bucket)];
    change(slot(bucket), +1);
    return bucket;
  }
  void remove(std::int64_t bucket) noexcept {
    --all_;
    if (bucket == far) return;
    if (bucket < base_) return void(--past_);
    --held_[slot(bucket)];
    change(slot(bucket), -1);
  }
  /// At `deadline` or before, to a bucket. Beyond the horizon: all.
  std::int64_t up_to(SteadyTime deadline, SteadyTime now) noexcept {
    advance(now);
    const std::int64_t bucket = bucket_of(deadline);
    if (bucket >= base_ + std::int64_t{buckets}) return all_;
    if (bucket < base_) return past_;
    const std::size_t first = slot(base_), last = slot(bucket);
    if (first <= last) return past_ + prefix(last + 1) - prefix(first);
    return past_ + prefix(buckets) - prefix(first) + prefix(last + 1);
  }
  std::int64_t all() const noexcept { return all_; }

 private:
  static constexpr std::int64_t far = INT64_MAX;

  static std::int64_t bucket_of(SteadyTime at) noexcept {
    const std::int64_t span = at.time_since_epoch().count(), step = width.count();
    return span >= 0 ? span / step : -((-(span + 1)) / step) - 1;
  }
  static std::size_t slot(std::int64_t bucket) noexcept {
    return static_cast<std::size_t>(bucket & std::int64_t{buckets - 1});
  }
  void advance(SteadyTime now) noexcept {
    const std::int64_t to = bucket_of(now);
    if (to <= base_) return;
    if (all_ != past_) {
      const std::int64_t end = std::min(to, base_ + std::int64_t{buckets});
      for (std::int64_t bucket = base_; bucket < end; ++bucket) {
        if (std::int32_t& here = held_[slot(bucket)]; here != 0) {
          change(slot(bucket), -here);
          past_ += here;
          here = 0;
        }
      }
    }
    base_ = to;
  }
  void change(std::size_t at, std::int32_t by) noexcept {
    for (std::size_t i = at + 1; i <= buckets; i += i & (0 - i)) tree_[i] += by;
  }
  std::int64_t prefix(std::size_t count) const noexcept {
    std::int64_t sum = 0;
    for (std::size_t i = count; i > 0; i -= i & (0 - i)) sum += tree_[i];
    return sum;
  }

  std::vector<std::int32_t> tree_;
  std::vector<std::int32_t> held_;
  std::int64_t base_ = INT64_MIN / 2;
  std::int64_t past_ = 0;
  std::int64_t all_ = 0;
};

}  // namespace aura::detail
