// The ids of the last signals that were accepted, bounded by number and by age.
#pragma once

#include <aura/core/random.hpp>
#include <aura/core/time.hpp>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace aura::detail {

/// A ring of ids in order of arrival and an open-addressing table over it, half full at most. When a new id comes to a
/// full ring the oldest is forgotten. All in place: no allocation after construction.
class DedupWindow {
 public:
  DedupWindow(std::size_t ids_max, Duration span, std::uint64_t seed)
      : span_(span),
        seed_(seed),
        ring_(ids_max),
        table_(std::bit_ceil(std::max<std::size_t>(2 * ids_max, 2)), none) {}

  bool contains(std::uint64_t id, SteadyTime now) noexcept {
    forget_old(now);
    return find(id) != table_.size();
  }
  /// `id` is not in the window.
  void add(std::uint64_t id, SteadyTime now) noexcept {
    if (ring_.empty()) return;
    if (size_ == ring_.size()) forget_oldest();
    const std::size_t at = (begin_ + size_++) % ring_.size();
    ring_[at] = Seen{id, now, true};
    std::size_t place = home(id);
    while (table_[place] != none) place = next(place);
    table_[place] = static_cast<std::uint32_t>(at);
  }
  /// A signal that was dropped may be sent again.
  void forget(std::uint64_t id) noexcept {
    const std::size_t place = find(id);
    if (place == table_.size()) return;
    ring_[table_[place]].valid = false;
    erase(place);
  }

 private:
  struct Seen {
    std::uint64_t id = 0;
    SteadyTime at{};
    bool valid = false;
  };
  static constexpr std::uint32_t none = UINT32_MAX;

  std::size_t home(std::uint64_t id) const noexcept {
    return static_cast<std::size_t>(mix64(id ^ seed_)) & (table_.size() - 1);
  }
  std::size_t next(std::size_t place) const noexcept { return (place + 1) & (table_.size() - 1); }
  std::size_t find(std::uint64_t id) const noexcept {
    for (std::size_t place = home(id); table_[place] != none; place = next(place))
      if (ring_[table_[place]].id == id) return place;
    return table_.size();
  }
  void forget_old(SteadyTime now) noexcept {
    while (size_ > 0 && now - ring_[begin_].at >= span_) forget_oldest();
  }
  void forget_oldest() noexcept {
    if (ring_[begin_].valid)
      if (const std::size_t place = find(ring_[begin_].id); place != table_.size()) erase(place);
    begin_ = (begin_ + 1) % ring_.size();
    --size_;
  }
  /// By moving back what follows (Knuth 6.4, algorithm R): no tombstones, which would fill the table.
  void erase(std::size_t hole) noexcept {
    for (std::size_t place = next(hole); table_[place] != none; place = next(place)) {
      const std::size_t wanted = home(ring_[table_[place]].id);
      if (((place - wanted) & (table_.size() - 1)) >= ((place - hole) & (table_.size() - 1))) {
        table_[hole] = table_[place];
        hole = place;
      }
    }
    table_[hole] = none;
  }

  Duration span_;
  std::uint64_t seed_;
  std::vector<Seen> ring_;
  std::vector<std::uint32_t> table_;
  std::size_t begin_ = 0;
  std::size_t size_ = 0;
};

}  // namespace aura::detail
