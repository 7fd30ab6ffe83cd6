// What the virtual-time runtime has yet to run: what is ready now, and a heap of what comes later.
#pragma once

#include <aura/core/random.hpp>
#include <aura/core/time.hpp>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

namespace aura::sim::detail {

enum class EventKind : std::uint8_t { work = 1, blocking_work = 2, timer = 3, cancelled_timer = 4 };

/// One thing to run, once. `run` frees the event before it calls what it held, so that the call may reuse its memory.
class Event {
 public:
  explicit Event(EventKind of_kind) noexcept : kind(of_kind) {}
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  virtual ~Event() = default;

  virtual void run() = 0;

  static constexpr std::uint32_t no_slot = std::numeric_limits<std::uint32_t>::max();
  std::uint64_t sequence = 0;  ///< counts events in the order in which they were made
  std::uint32_t slot = no_slot;  ///< of the queue's, while it waits for its time
  EventKind kind;
};

/// Owns its events. Ready ones leave it in the order they came or in an order the dice choose; later ones become
/// ready when their time has come. Adding and taking cost O(log n), for ready ones O(1). Waking a later event early
/// costs O(1) and leaves an empty entry behind; the entries are swept when more than half of them are empty.
class EventQueue {
 public:
  EventQueue() = default;
  EventQueue(const EventQueue&) = delete;
  EventQueue& operator=(const EventQueue&) = delete;
  ~EventQueue() { clear(); }

  std::size_t size() const noexcept { return ready_.size() + heap_.size() - empty_; }
  /// Entries of the heap, the empty ones too: at most twice what waits, and one.
  std::size_t entries() const noexcept { return heap_.size(); }
  bool has_ready() const noexcept { return !ready_.empty(); }
  /// When the earliest of the later ones is due; the end of time where there is none.
  SteadyTime next_due() const noexcept { return heap_.empty() ? SteadyTime::max() : heap_.front().due; }

  void add_ready(std::unique_ptr<Event> event) { ready_.push_back(std::move(event)); }

  void add_later(SteadyTime due, std::unique_ptr<Event> event) {
    const std::uint32_t slot = free_slot();
    heap_.push_back({due, static_cast<std::uint32_t>(event->sequence), slot});
    event->slot = slot;
    slots_[slot].event = event.release();
    sift_up(heap_.size() - 1, heap_.back());
  }

  /// Makes ready what is due at `now` or before.
  void wake(SteadyTime now) {
    while (!heap_.empty() && heap_.front().due <= now) {
      ready_.push_back(take_earliest());
      drop_empty();
    }
  }

  /// Makes a later event ready before its time. False where it is ready already.
  bool wake_early(Event& event) {
    if (event.slot == Event::no_slot) return false;
    slots_[std::exchange(event.slot, Event::no_slot)].event = nullptr;
    ready_.emplace_back(&event);
    ++empty_;
    drop_empty();
    return true;
  }

  /// Some event is ready.
  std::unique_ptr<Event> take_first() {
    std::unique_ptr<Event> event = std::move(ready_.front());
    ready_.pop_front();
    return event;
  }
  std::unique_ptr<Event> take_any(Random& dice) {
    if (ready_.size() > 1) std::swap(ready_.front(), ready_[static_cast<std::size_t>(dice.below(ready_.size()))]);
    return take_first();
  }

  /// Destroys everything, also what the destructors of handlers add meanwhile.
  void clear() noexcept {
    while (!ready_.empty() || !heap_.empty()) {
      if (!ready_.empty())
        take_first();
      else
        take_earliest();
    }
  }

 private:
  // Sixteen bytes, four to a cache line, and no look at the event itself: at a million timers, memory is the cost.
  struct Later {
    SteadyTime due;
    std::uint32_t sequence;  // its low half: decides between entries of one instant
    std::uint32_t slot;

    // Without a branch: nobody can predict which of two is the earlier.
    bool before(const Later& other) const noexcept {
      const auto first = static_cast<std::int32_t>(sequence - other.sequence) < 0;
      return static_cast<bool>(static_cast<int>(due < other.due) |
                               (static_cast<int>(due == other.due) & static_cast<int>(first)));
    }
  };
  union Slot {
    Event* event;  // null: woken early
    std::uint32_t next_free;
  };
  static constexpr std::size_t children = 4;

  std::uint32_t free_slot() {
    if (first_free_ == Event::no_slot) {
      slots_.push_back({});
      return static_cast<std::uint32_t>(slots_.size() - 1);
    }
    return std::exchange(first_free_, slots_[first_free_].next_free);
  }

  // Null where it was woken early.
  std::unique_ptr<Event> take_earliest() noexcept {
    const std::uint32_t slot = heap_.front().slot;
    std::unique_ptr<Event> event(slots_[slot].event);
    slots_[slot].next_free = std::exchange(first_free_, slot);
    if (event)
      event->slot = Event::no_slot;
    else
      --empty_;

    const Later last = heap_.back();
    heap_.pop_back();
    if (!heap_.empty()) sift_up(sift_hole_down(0), last);
    return event;
  }

  // The front entry is never an empty one, so that `next_due` tells the truth, and at most half of all are.
  void drop_empty() noexcept {
    while (!heap_.empty() && slots_[heap_.front().slot].event == nullptr) take_earliest();
    if (empty_ > heap_.size() / 2) sweep();
  }

  void sweep() noexcept {
    std::size_t kept = 0;
    for (const Later& later : heap_) {
      if (slots_[later.slot].event != nullptr)
        heap_[kept++] = later;
      else
        slots_[later.slot].next_free = std::exchange(first_free_, later.slot);
    }
    heap_.resize(kept);
    empty_ = 0;
    for (std::size_t place = kept; place-- != 0;) {
      const Later sinking = heap_[place];
      sift_up(sift_hole_down(place), sinking, place);
    }
  }

  void sift_up(std::size_t place, const Later rising, std::size_t top = 0) noexcept {
    while (place != top) {
      const std::size_t parent = (place - 1) / children;
      if (!rising.before(heap_[parent])) break;
      heap_[place] = heap_[parent];
      place = parent;
    }
    heap_[place] = rising;
  }

  // Moves the earliest child up all the way, and says where the hole ends. What will fill it came from the bottom and
  // mostly belongs there: cheaper than comparing it at each level (Wegener, "Bottom-up heapsort", 1993).
  std::size_t sift_hole_down(std::size_t place) noexcept {
    for (;;) {
      const std::size_t first = place * children + 1;
      if (first >= heap_.size()) return place;
      const std::size_t end = first + children < heap_.size() ? first + children : heap_.size();
      std::size_t earliest = first;
      for (std::size_t child = first + 1; child < end; ++child)
        earliest = heap_[child].before(heap_[earliest]) ? child : earliest;
      heap_[place] = heap_[earliest];
      place = earliest;
    }
  }

  std::deque<std::unique_ptr<Event>> ready_;
  std::vector<Later> heap_;
  std::vector<Slot> slots_;
  std::uint32_t first_free_ = Event::no_slot;
  std::size_t empty_ = 0;  // entries of the heap whose event was woken early
};

}  // namespace aura::sim::detail
