// What the writer remembers of streams, so that a hot append reads nothing.
#pragma once

#include <aura/core/journal.hpp>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

namespace aura::sqlite::detail {

struct CachedHead {
  std::int64_t id = 0;
  std::uint64_t version = 0;
  FencingToken token{};
  std::optional<std::int64_t> due;
  std::string kind, state;
  bool open = true;
};

/// The heads used last, by name; at most `heads_max`. Two generations: what the young one cannot hold pushes out the
/// old one, and a hit there makes it young again. A pointer is good until `trim` or `erase`.
class HeadCache {
 public:
  explicit HeadCache(std::size_t heads_max) : generation_max_(heads_max / 2) {}

  CachedHead* find(std::string_view name) {
    if (const auto young = young_.find(name); young != young_.end()) return &young->second;
    const auto old = old_.find(name);
    if (old == old_.end()) return nullptr;
    return &young_.insert(old_.extract(old)).position->second;
  }

  CachedHead* insert(std::string_view name, CachedHead head) {
    return &young_.insert_or_assign(std::string(name), std::move(head)).first->second;
  }

  void erase(std::string_view name) {
    if (const auto young = young_.find(name); young != young_.end()) young_.erase(young);
    if (const auto old = old_.find(name); old != old_.end()) old_.erase(old);
  }

  void clear() {
    young_.clear();
    old_.clear();
  }

  /// Between two batches.
  void trim() {
    if (young_.size() < generation_max_) return;
    old_ = std::move(young_);
    young_.clear();
  }

 private:
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view name) const noexcept { return std::hash<std::string_view>{}(name); }
  };
  using Heads = std::unordered_map<std::string, CachedHead, Hash, std::equal_to<>>;

  std::size_t generation_max_;
  Heads young_, old_;
};

}  // namespace aura::sqlite::detail
