// A hash table of a fixed size whose entries are known by their index.
#pragma once

#include <aura/core/random.hpp>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

namespace aura::detail {

inline constexpr std::uint32_t no_index = UINT32_MAX;

/// Chained within one array. Nothing is allocated after construction but what a `Key` allocates by itself. The hash is
/// mixed with a seed, so that senders cannot choose keys that collide where std::hash is the identity.
template <class Key, class Value, class Hash = std::hash<Key>>
class BoundedMap {
 public:
  BoundedMap(std::size_t capacity_max, std::uint64_t seed)
      : seed_(seed), heads_(std::bit_ceil(std::max<std::size_t>(capacity_max, 2)), no_index), entries_(capacity_max) {
    for (std::size_t i = 0; i < capacity_max; ++i)
      entries_[i].next = i + 1 < capacity_max ? static_cast<std::uint32_t>(i + 1) : no_index;
    free_ = capacity_max > 0 ? 0 : no_index;
  }

  /// no_index where it is not there.
  std::uint32_t find(const Key& key) const noexcept {
    std::uint32_t at = heads_[bucket_of(key)];
    while (at != no_index && !(entries_[at].key == key)) at = entries_[at].next;
    return at;
  }
  /// The entry of `key`, made with a default value where there is none; no_index where the table is full.
  std::uint32_t find_or_add(const Key& key) {
    const std::size_t bucket = bucket_of(key);
    std::uint32_t at = heads_[bucket];
    while (at != no_index && !(entries_[at].key == key)) at = entries_[at].next;
    if (at != no_index || free_ == no_index) return at;
    at = free_;
    entries_[at].key = key;
    entries_[at].value = Value{};
    free_ = std::exchange(entries_[at].next, heads_[bucket]);
    heads_[bucket] = at;
    return at;
  }
  void erase(std::uint32_t index) noexcept {
    std::uint32_t* link = &heads_[bucket_of(entries_[index].key)];
    while (*link != index) link = &entries_[*link].next;
    *link = entries_[index].next;
    entries_[index].next = std::exchange(free_, index);
  }

  Value& operator[](std::uint32_t index) noexcept { return entries_[index].value; }
  const Key& key(std::uint32_t index) const noexcept { return entries_[index].key; }

 private:
  struct Entry {
    Key key{};
    Value value{};
    std::uint32_t next = no_index;
  };
  std::size_t bucket_of(const Key& key) const noexcept {
    return static_cast<std::size_t>(mix64(Hash{}(key) ^ seed_)) & (heads_.size() - 1);
  }

  std::uint64_t seed_;
  std::vector<std::uint32_t> heads_;
  std::vector<Entry> entries_;
  std::uint32_t free_ = no_index;
};

}  // namespace aura::detail
