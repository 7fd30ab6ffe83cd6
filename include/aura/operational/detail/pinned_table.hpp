// A bounded hash table from keys to values that never move, looked up without a lock.
#pragma once

#include <aura/core/random.hpp>
#include <aura/core/time.hpp>

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace aura::detail {

/// Who finds a value pins it, and it stays until the last pin is gone. What nobody has pinned or used for a while makes
/// room for other keys. Finding costs two atomic increments and the hash of the key; only a key that is not there takes
/// the mutex. `V` is made in place.
template <class V>
class PinnedTable {
  struct Node;

 public:
  /// Keeps the value. Empty where nothing was found.
  class Pin {
   public:
    Pin() = default;
    Pin(Pin&& other) noexcept : node_(std::exchange(other.node_, nullptr)) {}
    Pin& operator=(Pin&& other) noexcept {
      std::swap(node_, other.node_);
      return *this;
    }
    ~Pin() {
      if (node_ != nullptr) node_->users.fetch_sub(1, std::memory_order_release);
    }
    explicit operator bool() const noexcept { return node_ != nullptr; }
    V& operator*() const noexcept { return *node_->value; }
    V* operator->() const noexcept { return &*node_->value; }

   private:
    friend class PinnedTable;
    explicit Pin(Node& node) noexcept : node_(&node) {}
    Node* node_ = nullptr;
  };

  PinnedTable(std::size_t keys_max, std::uint64_t seed)
      : seed_(seed),
        nodes_(std::make_unique<Node[]>(keys_max)),
        keys_max_(keys_max),
        slots_(std::bit_ceil(2 * keys_max + 2)) {}

  /// What is there under this key. Any thread, without a lock.
  Pin find(std::string_view key, SteadyTime now) const noexcept { return probe(key, hash_of(key), now); }

  /// What is there, or else what `make(std::optional<V>&)` puts there: in a free place, or in that of the value that has
  /// been unused for the longest time, at least `idle_after`, and of which `retires(V&)` holds. Empty where there is no
  /// place.
  template <class Make, class Retires>
  Pin find_or_make(std::string_view key, SteadyTime now, Duration idle_after, Make make, Retires retires) {
    const std::uint64_t hash = hash_of(key);
    if (Pin found = probe(key, hash, now)) return found;
    const std::lock_guard lock(mutex_);
    if (Pin found = probe(key, hash, now)) return found;
    Node* const node = place_for(now, idle_after, retires);
    if (node == nullptr) return {};
    try {
      make(node->value);
      node->key = key;
    } catch (...) {
      node->value.reset();
      free_.push_back(node);
      throw;
    }
    node->hash.store(hash, std::memory_order_relaxed);
    node->last_used.store(now.time_since_epoch().count(), std::memory_order_relaxed);
    node->users.fetch_add(1, std::memory_order_relaxed);
    if (removed_ > slots_.size() / 4) rebuild();
    node->users.fetch_and(~gone, std::memory_order_release);
    put(*node);
    ++size_;
    return Pin(*node);
  }

  /// Lets go of what has been idle. How many.
  template <class Retires>
  std::size_t retire_idle(SteadyTime now, Duration idle_after, Retires retires) {
    const std::lock_guard lock(mutex_);
    std::size_t count = 0;
    for (std::size_t i = 0; i < used_; ++i)
      if (idle_for(nodes_[i], now) >= idle_after && retire(nodes_[i], retires)) {
        free_.push_back(&nodes_[i]);
        ++count;
      }
    return count;
  }

  std::size_t size() const {
    const std::lock_guard lock(mutex_);
    return size_;
  }
  /// `f(key, value)` of each, under the lock: it must not come back here.
  template <class F>
  void for_each(F f) const {
    const std::lock_guard lock(mutex_);
    for (std::size_t i = 0; i < used_; ++i)
      if (nodes_[i].value) f(std::string_view(nodes_[i].key), *nodes_[i].value);
  }

 private:
  static constexpr std::uint32_t gone = 1u << 31;

  struct Node {
    std::atomic<std::uint32_t> users{gone};  // pins, and a bit that says that what is here is not for finding
    std::atomic<std::uint64_t> hash{0};
    std::atomic<std::int64_t> last_used{0};
    std::string key;
    std::optional<V> value;
  };

  std::uint64_t hash_of(std::string_view key) const noexcept {
    return mix64(std::hash<std::string_view>()(key) ^ seed_);
  }
  std::size_t next(std::size_t slot) const noexcept { return (slot + 1) & (slots_.size() - 1); }

  /// A slot is empty, the index of a node, or tells that something was there once: then the search goes on.
  Pin probe(std::string_view key, std::uint64_t hash, SteadyTime now) const noexcept {
    std::size_t slot = hash & (slots_.size() - 1);
    for (std::size_t i = 0; i < slots_.size(); ++i, slot = next(slot)) {
      const std::uint32_t what = slots_[slot].load(std::memory_order_acquire);
      if (what == empty) return {};
      if (what == removed) continue;
      Node& node = nodes_[what - first_node];
      if (node.hash.load(std::memory_order_relaxed) != hash) continue;
      Pin pin = pin_if_there(node);
      if (!pin || node.key != key) continue;
      const std::int64_t at = now.time_since_epoch().count();
      if (node.last_used.load(std::memory_order_relaxed) < at) node.last_used.store(at, std::memory_order_relaxed);
      return pin;
    }
    return {};
  }
  /// What was pinned before it was marked as gone stays; what was marked first is not touched.
  static Pin pin_if_there(Node& node) noexcept {
    Pin pin(node);
    if ((node.users.fetch_add(1, std::memory_order_acquire) & gone) != 0) return {};  // gives its pin back
    return pin;
  }

  Duration idle_for(const Node& node, SteadyTime now) const noexcept {
    return now - SteadyTime(Duration(node.last_used.load(std::memory_order_relaxed)));
  }
  template <class Retires>
  bool retire(Node& node, Retires& retires) {
    std::uint32_t nobody = 0;
    if (!node.value || !retires(*node.value)) return false;
    if (!node.users.compare_exchange_strong(nobody, gone, std::memory_order_acq_rel)) return false;
    remove(node);
    node.value.reset();
    --size_;
    return true;
  }
  template <class Retires>
  Node* place_for(SteadyTime now, Duration idle_after, Retires& retires) {
    if (!free_.empty()) {
      Node* const node = free_.back();
      free_.pop_back();
      return node;
    }
    if (used_ < keys_max_) return &nodes_[used_++];
    Node* oldest = nullptr;
    for (std::size_t i = 0; i < used_; ++i)
      if (idle_for(nodes_[i], now) >= idle_after && retires(*nodes_[i].value) &&
          (oldest == nullptr || idle_for(nodes_[i], now) > idle_for(*oldest, now)))
        oldest = &nodes_[i];
    return oldest != nullptr && retire(*oldest, retires) ? oldest : nullptr;
  }

  void put(Node& node) noexcept {
    std::size_t slot = node.hash.load(std::memory_order_relaxed) & (slots_.size() - 1);
    while (slots_[slot].load(std::memory_order_relaxed) > removed) slot = next(slot);
    if (slots_[slot].load(std::memory_order_relaxed) == removed) --removed_;
    slots_[slot].store(static_cast<std::uint32_t>(&node - nodes_.get()) + first_node, std::memory_order_release);
  }
  void remove(const Node& node) noexcept {
    const auto what = static_cast<std::uint32_t>(&node - nodes_.get()) + first_node;
    std::size_t slot = node.hash.load(std::memory_order_relaxed) & (slots_.size() - 1);
    while (slots_[slot].load(std::memory_order_relaxed) != what) slot = next(slot);
    slots_[slot].store(removed, std::memory_order_release);
    ++removed_;
  }
  /// Who looks meanwhile may miss what is there, and then looks again under the mutex.
  void rebuild() noexcept {
    for (auto& slot : slots_) slot.store(empty, std::memory_order_relaxed);
    removed_ = 0;
    for (std::size_t i = 0; i < used_; ++i)
      if ((nodes_[i].users.load(std::memory_order_relaxed) & gone) == 0) put(nodes_[i]);
  }

  static constexpr std::uint32_t empty = 0, removed = 1, first_node = 2;

  const std::uint64_t seed_;
  std::unique_ptr<Node[]> nodes_;
  const std::size_t keys_max_;
  std::vector<std::atomic<std::uint32_t>> slots_;

  mutable std::mutex mutex_;
  std::vector<Node*> free_;
  std::size_t used_ = 0, size_ = 0, removed_ = 0;
};

}  // namespace aura::detail
