// Where a deadline queue keeps what is due beyond its ring: coarse slots that are split as their time comes near.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace aura::detail {

/// Members of a pool, linked in the order in which they came. The links are the pool's: `next[node]`. The last one's
/// link means nothing, so that appending writes one link and not two.
struct NodeList {
  std::uint32_t first;
  std::uint32_t last;
};

/// A hierarchical timing wheel (Varghese and Lauck, "Hashed and Hierarchical Timing Wheels", 1987) of eight levels of
/// 64 slots over block numbers below 2^48. Holds blocks from `limit()` on. A node is in the level of the highest
/// base-64 digit in which its block differs from the limit, so all nodes of a block are in one slot at any time, and
/// moving slots keeps the order in which nodes of a block came. Adding is O(1); a node is moved at most once a level.
class FarWheel {
 public:
  bool empty() const noexcept { return levels_ == 0; }
  std::uint64_t limit() const noexcept { return limit_; }

  /// `block >= limit()`.
  void insert(std::uint32_t node, std::uint64_t block, std::uint32_t* next) noexcept {
    const unsigned level = level_of(block);
    append(level, digit(block, level), {node, node}, next);
  }

  /// No block is before this one. Something is in the wheel.
  std::uint64_t earliest() const noexcept { return start_of(lowest_level()); }

  /// Raises the limit, and calls `take(node)` for all nodes before it, each block's in their order.
  /// `block_of(node)` is the block that the node was inserted with.
  template <class BlockOf, class Take>
  void advance(std::uint64_t limit, std::uint32_t* next, const BlockOf& block_of, const Take& take) {
    while (levels_ != 0) {
      const unsigned level = lowest_level();
      const std::uint64_t start = start_of(level);
      if (start > limit || (start == limit && level == 0)) break;
      const NodeList list = detach(level, digit(start, level));
      limit_ = start;
      for (std::uint32_t node = list.first;;) {
        const std::uint32_t following = next[node];
        const bool last = node == list.last;
        const std::uint64_t block = block_of(node);
        if (block < limit)
          take(node);
        else
          insert(node, block, next);
        if (last) break;
        node = following;
      }
    }
    limit_ = limit;
  }

  /// Lowers the limit. What stood in levels below the highest digit that changes now differs from the limit in that one.
  void retreat(std::uint64_t limit, std::uint32_t* next) noexcept {
    const unsigned target = level_of(limit);
    const std::uint64_t target_slot = digit(limit_, target);
    while (levels_ != 0 && lowest_level() < target) {
      const unsigned level = lowest_level();
      const NodeList list = detach(level, lowest_slot(level));
      append(target, target_slot, list, next);
    }
    limit_ = limit;
  }

  void clear() noexcept {
    levels_ = 0;
    occupied_ = {};
  }

 private:
  static constexpr unsigned levels = 8;
  static constexpr unsigned digit_bits = 6;
  static constexpr std::uint64_t slots = std::uint64_t{1} << digit_bits;

  static constexpr std::uint64_t digit(std::uint64_t block, unsigned level) noexcept {
    return block >> (level * digit_bits) & (slots - 1);
  }
  unsigned level_of(std::uint64_t block) const noexcept {
    return (static_cast<unsigned>(std::bit_width((block ^ limit_) | 1)) - 1) / digit_bits;
  }
  unsigned lowest_level() const noexcept { return static_cast<unsigned>(std::countr_zero(levels_)); }
  std::uint64_t lowest_slot(unsigned level) const noexcept {
    return static_cast<std::uint64_t>(std::countr_zero(occupied_[level]));
  }
  std::uint64_t start_of(unsigned level) const noexcept {
    const unsigned above = (level + 1) * digit_bits;
    return (limit_ >> above << above) | lowest_slot(level) << (level * digit_bits);
  }

  void append(unsigned level, std::uint64_t slot, NodeList added, std::uint32_t* next) noexcept {
    NodeList& list = lists_[level * slots + slot];
    const std::uint64_t mask = std::uint64_t{1} << slot;
    if ((occupied_[level] & mask) != 0) {
      next[list.last] = added.first;
      list.last = added.last;
      return;
    }
    list = added;
    occupied_[level] |= mask;
    levels_ |= 1u << level;
  }

  NodeList detach(unsigned level, std::uint64_t slot) noexcept {
    occupied_[level] &= ~(std::uint64_t{1} << slot);
    if (occupied_[level] == 0) levels_ &= ~(1u << level);
    return lists_[level * slots + slot];
  }

  std::uint64_t limit_ = 0;
  std::uint32_t levels_ = 0;  // bit: the level has an occupied slot
  std::array<std::uint64_t, levels> occupied_{};
  std::array<NodeList, levels * slots> lists_;
};

}  // namespace aura::detail
