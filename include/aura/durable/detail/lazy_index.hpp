// An ordered set that is sorted when somebody looks, and costs a push until then.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <set>
#include <vector>

namespace aura::detail {

/// Pointers to `Item`, ordered by `Less`. Most streams begin and end between two looks: they never reach the tree.
/// `Slot` is where an item keeps its place in here; what `Less` looks at must not change while the item is in.
template <class Item, class Less, std::uint32_t Item::*Slot>
class LazyIndex {
 public:
  static constexpr std::uint32_t in_tree = std::numeric_limits<std::uint32_t>::max();

  void insert(Item& item) {
    item.*Slot = static_cast<std::uint32_t>(fresh_.size());
    fresh_.push_back(&item);
  }

  void erase(Item& item) {
    if (item.*Slot == in_tree) {
      tree_.erase(&item);
      return;
    }
    Item* const last = fresh_.back();
    fresh_[item.*Slot] = last;
    last->*Slot = item.*Slot;
    fresh_.pop_back();
  }

  std::size_t size() const noexcept { return fresh_.size() + tree_.size(); }

  const std::set<Item*, Less>& sorted() {
    for (Item* item : fresh_) {
      item->*Slot = in_tree;
      tree_.insert(item);
    }
    fresh_.clear();
    return tree_;
  }

 private:
  std::vector<Item*> fresh_;
  std::set<Item*, Less> tree_;
};

}  // namespace aura::detail
