// A binary heap whose members know their place, so that one can be moved or taken out in O(log n).
#pragma once

#include <aura/core/time.hpp>

#include <cstddef>
#include <utility>
#include <vector>

namespace aura::detail {

inline constexpr std::size_t not_in_heap = static_cast<std::size_t>(-1);

/// `T` has `SteadyTime timer_when` and `std::size_t timer_slot` (initially not_in_heap), which belong to the heap.
/// Holds no ownership: a member must be taken out before it dies. Not shared between threads.
template <class T>
class TimerHeap {
 public:
  bool empty() const noexcept { return heap_.empty(); }
  T* top() const noexcept { return heap_.front(); }

  /// Puts it in, or moves it to another time.
  void set(T& member, SteadyTime when) {
    if (member.timer_slot == not_in_heap) {
      member.timer_when = when;
      member.timer_slot = heap_.size();
      heap_.push_back(&member);
      return rise(member.timer_slot);
    }
    const bool earlier = when < member.timer_when;
    member.timer_when = when;
    earlier ? rise(member.timer_slot) : sink(member.timer_slot);
  }

  void remove(T& member) noexcept {
    const std::size_t slot = member.timer_slot;
    if (slot == not_in_heap) return;
    place(slot, heap_.back());
    heap_.pop_back();
    member.timer_slot = not_in_heap;
    if (slot == heap_.size()) return;
    rise(slot);
    sink(slot);
  }

  void clear() noexcept {
    for (T* member : heap_) member->timer_slot = not_in_heap;
    heap_.clear();
  }

 private:
  void place(std::size_t slot, T* member) noexcept {
    heap_[slot] = member;
    member->timer_slot = slot;
  }
  void rise(std::size_t slot) noexcept {
    T* const member = heap_[slot];
    for (; slot > 0; slot = (slot - 1) / 2) {
      T* const parent = heap_[(slot - 1) / 2];
      if (parent->timer_when <= member->timer_when) break;
      place(slot, parent);
    }
    place(slot, member);
  }
  void sink(std::size_t slot) noexcept {
    T* const member = heap_[slot];
    for (;;) {
      std::size_t child = 2 * slot + 1;
      if (child >= heap_.size()) break;
      if (child + 1 < heap_.size() && heap_[child + 1]->timer_when < heap_[child]->timer_when) ++child;
      if (heap_[child]->timer_when >= member->timer_when) break;
      place(slot, heap_[child]);
      slot = child;
    }
    place(slot, member);
  }

  std::vector<T*> heap_;
};

}  // namespace aura::detail
