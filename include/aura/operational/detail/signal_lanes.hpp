// The signals that wait: in slots, by key one at a time, in lanes that stand in their class's queue as one.
#pragma once

#include <aura/core/time.hpp>
#include <aura/operational/detail/bounded_map.hpp>
#include <aura/operational/detail/slot_heap.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace aura::detail {

/// What stands in a class's queue for a lane. One whose generation is not the lane's is stale.
struct LaneToken {
  std::uint32_t lane = no_index;
  std::uint32_t generation = 0;
};

/// Signals of one class that go one after the other, since they have one key, or together, since they have one batch
/// key. Ordered by deadline, or by arrival where the class is FIFO per key.
struct SignalLane {
  SlotHeap heap{};
  std::uint32_t waiting = 0;
  std::uint32_t generation = 0;  // survives reuse
  std::uint32_t owner = no_index;  // key or group
  std::uint32_t next = no_index;  // of the key's lanes, or of the free ones
  std::uint8_t class_index = 0;
  bool group = false;
  bool by_arrival = false;
  bool has_token = false;
  bool gathering = false;
  SteadyTime token_order{};
  SteadyTime earliest = SteadyTime::max();  // by which what waits is ordered
  SteadyTime due = SteadyTime::max();  // no deadline of what waits is earlier; patience is none
  SteadyTime opened{};
  double joined_ns = 0;  // sum of the times at which the gathering signals joined, since `opened`
};

/// Bounded by `capacity_max` signals and `keys_max` keys; nothing is allocated after construction but by keys.
template <class S, class Extra>
class SignalLanes {
 public:
  struct Slot {
    S signal{};
    Extra extra{};
    SteadyTime order_by{}, offered{};
    std::uint64_t sequence = 0;
    std::int64_t bucket = 0;  // in the class's deadline counts
    std::uint32_t key = no_index;
    HeapLinks links{};
  };
  struct KeyState {
    std::uint32_t lanes = no_index;  // first of its lanes
    std::uint32_t waiting = 0;
    bool busy = false;
    SteadyTime latest = SteadyTime::min();
  };

  SignalLanes(std::size_t capacity_max, std::size_t keys_max, std::uint64_t seed)
      : slots_(capacity_max), lanes_(2 * capacity_max), keys_(keys_max, seed), groups_(capacity_max, seed ^ 1) {
    for (std::size_t i = 0; i < slots_.size(); ++i) slots_[i].links.sibling = index(i + 1, slots_.size());
    for (std::size_t i = 0; i < lanes_.size(); ++i) lanes_[i].next = index(i + 1, lanes_.size());
    free_slot_ = slots_.empty() ? no_index : 0;
    free_lane_ = lanes_.empty() ? no_index : 0;
  }

  Slot& slot(std::uint32_t i) noexcept { return slots_[i]; }
  SignalLane& lane(std::uint32_t i) noexcept { return lanes_[i]; }
  const SignalLane& lane(std::uint32_t i) const noexcept { return lanes_[i]; }
  KeyState& key(std::uint32_t i) noexcept { return keys_[i]; }
  std::size_t lane_count() const noexcept { return lanes_.size(); }
  std::uint32_t find_key(const typename S::key_type& key) const noexcept { return keys_.find(key); }

  /// A place for a signal and for its key; no_index where there is none.
  std::uint32_t take_slot(const typename S::key_type& key) {
    if (free_slot_ == no_index) return no_index;
    const std::uint32_t owner = keys_.find_or_add(key);
    if (owner == no_index) return no_index;
    const std::uint32_t taken = std::exchange(free_slot_, slots_[free_slot_].links.sibling);
    slots_[taken].key = owner;
    ++keys_[owner].waiting;
    return taken;
  }
  /// The signal has been moved out. Its key stays while it is busy.
  void free_slot(std::uint32_t i) noexcept {
    const std::uint32_t owner = slots_[i].key;
    --keys_[owner].waiting;
    slots_[i].links.sibling = std::exchange(free_slot_, i);
    release_key(owner);
  }
  void release_key(std::uint32_t owner) noexcept {
    const KeyState& state = keys_[owner];
    if (!state.busy && state.waiting == 0 && state.lanes == no_index) keys_.erase(owner);
  }

  std::uint32_t key_lane(std::uint32_t owner, std::uint8_t class_index, bool by_arrival) noexcept {
    std::uint32_t at = keys_[owner].lanes;
    while (at != no_index && lanes_[at].class_index != class_index) at = lanes_[at].next;
    if (at != no_index) return at;
    at = take_lane(owner, class_index, false, by_arrival);
    lanes_[at].next = std::exchange(keys_[owner].lanes, at);
    return at;
  }
  std::uint32_t group_lane(std::uint64_t batch_key, std::uint8_t class_index, bool by_arrival) {
    const std::uint32_t group = groups_.find_or_add(GroupKey{batch_key, class_index});
    if (groups_[group].at == no_index) groups_[group].at = take_lane(group, class_index, true, by_arrival);
    return groups_[group].at;
  }
  /// It is empty.
  void free_lane(std::uint32_t i) noexcept {
    SignalLane& gone = lanes_[i];
    ++gone.generation;
    if (gone.group) {
      groups_.erase(gone.owner);
    } else {
      std::uint32_t* link = &keys_[gone.owner].lanes;
      while (*link != i) link = &lanes_[*link].next;
      *link = gone.next;
      release_key(gone.owner);
    }
    gone.owner = no_index;
    gone.group = false;
    gone.next = std::exchange(free_lane_, i);
  }

  /// True where a slot's key has a lane in the same class whose first comes before the slot.
  bool preceded(std::uint32_t slot_at) noexcept {
    const Slot& of = slots_[slot_at];
    std::uint32_t at = keys_[of.key].lanes;
    while (at != no_index && lanes_[at].class_index != of.signal.class_index) at = lanes_[at].next;
    return at != no_index && lanes_[at].waiting > 0 && order(lanes_[at])(lanes_[at].heap.top(), slot_at);
  }

  void push(std::uint32_t lane_at, std::uint32_t slot_at) {
    SignalLane& to = lanes_[lane_at];
    to.heap.push(slot_at, links(), order(to));
    ++to.waiting;
    to.earliest = std::min(to.earliest, slots_[slot_at].order_by);
    if (slots_[slot_at].signal.deadline) to.due = std::min(to.due, *slots_[slot_at].signal.deadline);
  }
  std::uint32_t pop(std::uint32_t lane_at) {
    SignalLane& from = lanes_[lane_at];
    const std::uint32_t out = from.heap.pop(links(), order(from));
    --from.waiting;
    if (from.waiting == 0) {
      from.earliest = from.due = SteadyTime::max();
    } else {
      const SteadyTime first = slots_[from.heap.top()].order_by;
      if (!from.by_arrival) from.due = std::max(from.due, first);
      if (!from.by_arrival || slots_[out].order_by == from.earliest) from.earliest = first;
    }
    return out;
  }

 private:
  struct GroupKey {
    std::uint64_t batch_key = 0;
    std::uint8_t class_index = 0;
    friend bool operator==(const GroupKey&, const GroupKey&) = default;
  };
  struct GroupHash {
    std::size_t operator()(const GroupKey& key) const noexcept {
      return static_cast<std::size_t>(mix64(key.batch_key) ^ key.class_index);
    }
  };
  struct GroupLane {
    std::uint32_t at = no_index;
  };

  static std::uint32_t index(std::size_t i, std::size_t size) noexcept {
    return i < size ? static_cast<std::uint32_t>(i) : no_index;
  }
  auto links() noexcept {
    return [this](std::uint32_t i) -> HeapLinks& { return slots_[i].links; };
  }
  auto order(const SignalLane& of) const noexcept {
    return [this, by_arrival = of.by_arrival](std::uint32_t a, std::uint32_t b) {
      if (!by_arrival && slots_[a].order_by != slots_[b].order_by) return slots_[a].order_by < slots_[b].order_by;
      return slots_[a].sequence < slots_[b].sequence;
    };
  }
  std::uint32_t take_lane(std::uint32_t owner, std::uint8_t class_index, bool group, bool by_arrival) noexcept {
    const std::uint32_t at = std::exchange(free_lane_, lanes_[free_lane_].next);
    SignalLane fresh;
    fresh.generation = lanes_[at].generation;
    fresh.owner = owner;
    fresh.class_index = class_index;
    fresh.group = group;
    fresh.by_arrival = by_arrival;
    lanes_[at] = fresh;
    return at;
  }

  std::vector<Slot> slots_;
  std::vector<SignalLane> lanes_;
  BoundedMap<typename S::key_type, KeyState> keys_;
  BoundedMap<GroupKey, GroupLane, GroupHash> groups_;
  std::uint32_t free_slot_ = no_index;
  std::uint32_t free_lane_ = no_index;
};

}  // namespace aura::detail
