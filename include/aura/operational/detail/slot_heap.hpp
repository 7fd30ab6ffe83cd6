// A priority queue over nodes that somebody else keeps, by their indices.
#pragma once

#include <aura/operational/detail/bounded_map.hpp>

#include <cstdint>
#include <utility>

namespace aura::detail {

struct HeapLinks {
  std::uint32_t child = no_index;
  std::uint32_t sibling = no_index;
};

/// A pairing heap (Fredman, Sedgewick, Sleator, Tarjan 1986): 4 bytes a heap and 8 a node, no allocation; push is
/// constant, pop amortised logarithmic. `links(i)` gives a node's links, `less(i, j)` their order.
class SlotHeap {
 public:
  bool empty() const noexcept { return root_ == no_index; }
  std::uint32_t top() const noexcept { return root_; }

  template <class Links, class Less>
  void push(std::uint32_t node, Links&& links, Less&& less) {
    links(node) = HeapLinks{};
    root_ = empty() ? node : meld(root_, node, links, less);
  }
  template <class Links, class Less>
  std::uint32_t pop(Links&& links, Less&& less) {
    const std::uint32_t out = root_;
    std::uint32_t pairs = no_index;
    for (std::uint32_t first = links(out).child; first != no_index;) {
      const std::uint32_t second = std::exchange(links(first).sibling, no_index);
      std::uint32_t rest = no_index, pair = first;
      if (second != no_index) {
        rest = std::exchange(links(second).sibling, no_index);
        pair = meld(first, second, links, less);
      }
      links(pair).sibling = std::exchange(pairs, pair);
      first = rest;
    }
    root_ = no_index;
    while (pairs != no_index) {
      const std::uint32_t next = std::exchange(links(pairs).sibling, no_index);
      root_ = empty() ? pairs : meld(root_, pairs, links, less);
      pairs = next;
    }
    return out;
  }

 private:
  template <class Links, class Less>
  static std::uint32_t meld(std::uint32_t a, std::uint32_t b, Links& links, Less& less) {
    if (less(b, a)) std::swap(a, b);
    links(b).sibling = std::exchange(links(a).child, b);
    return a;
  }

  std::uint32_t root_ = no_index;
};

}  // namespace aura::detail
