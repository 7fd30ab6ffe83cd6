// Counters over the last stretch of time, in parts that leave it one by one.
#pragma once

#include <aura/core/time.hpp>
#include <aura/operational/detail/cache_line.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <mutex>

namespace aura::detail {

/// `N` counters over a window of time, kept in `parts` parts. Counting is one increment where the part has not ended;
/// who finds that it has moves on, under a mutex. A call that straddles the end may count in the part after.
/// A clock that goes back counts in the part that is open.
template <std::size_t N>
class TimeWindow {
 public:
  static constexpr std::size_t parts = 16;

  explicit TimeWindow(Duration window) noexcept : part_(std::max(window / static_cast<int>(parts), Duration(1))) {}

  /// True where a part has ended: then the counts may have fallen.
  bool advance(SteadyTime now) noexcept {
    if (now.time_since_epoch().count() < part_end_.load(std::memory_order_relaxed)) [[likely]]
      return false;
    return move_on(now);
  }
  void add(std::size_t which, std::uint64_t count = 1) noexcept {
    parts_[at_.load(std::memory_order_relaxed)][which].fetch_add(count, std::memory_order_relaxed);
  }
  std::array<std::uint64_t, N> sums() const noexcept {
    std::array<std::uint64_t, N> all{};
    for (const auto& part : parts_)
      for (std::size_t i = 0; i < N; ++i) all[i] += part[i].load(std::memory_order_relaxed);
    return all;
  }
  void clear() noexcept {
    const std::lock_guard lock(mutex_);
    for (auto& part : parts_) empty(part);
    part_end_.store(unset, std::memory_order_relaxed);
  }

 private:
  using Part = std::array<std::atomic<std::uint64_t>, N>;
  static constexpr std::int64_t unset = std::numeric_limits<std::int64_t>::min();

  static void empty(Part& part) noexcept {
    for (auto& counter : part) counter.store(0, std::memory_order_relaxed);
  }

  [[gnu::noinline]] bool move_on(SteadyTime now) noexcept {
    const std::lock_guard lock(mutex_);
    const std::int64_t at = now.time_since_epoch().count();
    std::int64_t end = part_end_.load(std::memory_order_relaxed);
    if (at < end) return false;
    if (end == unset) {
      part_end_.store(saturating_add(now, part_).time_since_epoch().count(), std::memory_order_relaxed);
      return true;
    }
    std::size_t where = at_.load(std::memory_order_relaxed);
    std::size_t moved = 0;
    for (; at >= end && moved < parts; ++moved) {
      where = (where + 1) % parts;
      empty(parts_[where]);
      end = saturating_add(SteadyTime(Duration(end)), part_).time_since_epoch().count();
    }
    if (at >= end) end = saturating_add(now, part_).time_since_epoch().count();
    at_.store(where, std::memory_order_relaxed);
    part_end_.store(end, std::memory_order_relaxed);
    return true;
  }

  Duration part_;
  std::atomic<std::int64_t> part_end_{unset};
  std::atomic<std::size_t> at_{0};
  alignas(cache_line) std::array<Part, parts> parts_{};
  alignas(cache_line) std::mutex mutex_;
};

}  // namespace aura::detail
