// A bounded queue that hands out the earliest deadline first, in constant time.
#pragma once

#include <aura/core/time.hpp>
#include <aura/operational/detail/bucket_bitmap.hpp>
#include <aura/operational/detail/far_wheel.hpp>

#include <algorithm>
#include <bit>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

namespace aura {

/// Memory: 24 bytes and a `T` for each member of `capacity_max`, 8 for each bucket of the horizon (128 KiB by default).
struct DeadlineQueueOptions {
  std::size_t capacity_max = 65'536;  ///< members; a push beyond it is refused; below 2^32
  /// Deadlines this close may count as equal. Rounded down to a power of two of nanoseconds, from 2^10 to 2^30.
  Duration resolution = std::chrono::microseconds(250);
  /// Deadlines within this of the earliest are sorted as they come, later ones once more when their time is near. Rounded
  /// up so that it is a power of two of resolutions, from 4,096 to 262,144 of them.
  Duration horizon = std::chrono::seconds(2);
};

/// Earliest deadline first; first in, first out among those that are equal within the resolution, which is never more than
/// was asked. Any deadline will do: past, before the head, years ahead; `SteadyTime::max()` is "none" and comes last.
///
/// A calendar queue (Brown, 1988): a ring of buckets with a bitmap over them, beyond it a hierarchical timing wheel. The
/// ring follows the head. What is pushed long before the head (a quarter of the horizon) waits in a binary heap, and
/// when that outgrows the ring, the ring goes back to it.
///
/// Cost: push and pop O(1), about 10 ns a pair; a member that is due beyond the horizon is moved up to eight times more,
/// mostly once or twice; one pushed long before the head costs O(log n) of such. Moves come in bursts: one call may move
/// all members that are due within a horizon. Nothing is allocated after construction. Not shared between threads.
template <class T>
class DeadlineQueue {
  static_assert(std::is_nothrow_move_constructible_v<T> && std::is_nothrow_destructible_v<T>);

 public:
  using Options = DeadlineQueueOptions;

  DeadlineQueue() : DeadlineQueue(Options{}) {}
  explicit DeadlineQueue(Options options)
      : capacity_(std::min<std::size_t>(options.capacity_max, no_node)),
        bucket_shift_(shift_of(options.resolution)),
        block_shift_(block_shift_of(options.horizon, bucket_shift_)),
        ring_mask_((blocks << block_shift_) - 1),
        slide_after_((blocks_behind + blocks_behind / 2) << block_shift_),
        occupied_(ring_mask_ + 1),
        ring_(std::make_unique_for_overwrite<detail::NodeList[]>(ring_mask_ + 1)),
        next_(std::make_unique_for_overwrite<std::uint32_t[]>(capacity_)),
        slots_(std::make_unique_for_overwrite<Slot[]>(capacity_)) {
    early_.reserve(std::min(capacity_, capacity_ / 2 + early_spare + 1));
  }
  DeadlineQueue(const DeadlineQueue&) = delete;
  DeadlineQueue& operator=(const DeadlineQueue&) = delete;
  ~DeadlineQueue() { clear(); }

  bool empty() const noexcept { return size_ == 0; }
  std::size_t size() const noexcept { return size_; }
  std::size_t capacity() const noexcept { return capacity_; }
  /// What `Options::resolution` was rounded to.
  Duration resolution() const noexcept { return Duration(std::int64_t{1} << bucket_shift_); }

  /// False where the queue is full; the value is then as it was.
  bool push(SteadyTime deadline, T&& value) noexcept {
    if (size_ == capacity_) return false;
    const std::uint64_t bucket = bucket_of(deadline);
    const std::uint32_t node = take_node();
    slots_[node].deadline_ns = deadline.time_since_epoch().count();
    std::construct_at(&slots_[node].value, std::move(value));
    ++size_;
    if (bucket - base_ <= ring_mask_ && deadline != SteadyTime::max()) [[likely]]
      append_to_ring(node, bucket);
    else
      append_outside(node, deadline, bucket);
    return true;
  }
  bool push(SteadyTime deadline, const T& value) { return push(deadline, T(value)); }

  /// The deadline of the head, exactly. The queue is not empty. May sort what comes next: not const.
  SteadyTime next_deadline() noexcept { return deadline_of(front_node()); }
  /// The head. The queue is not empty.
  T& front() noexcept { return slots_[front_node()].value; }

  /// Takes the head out. The queue is not empty.
  T pop() noexcept {
    assert(size_ != 0);
    const std::uint32_t node = in_ring() ? pop_from_ring() : pop_outside();
    --size_;
    T value = std::move(slots_[node].value);
    std::destroy_at(&slots_[node].value);
    next_[node] = std::exchange(free_, node);
    return value;
  }

  /// Takes all out, calling `visit(deadline, value)` for each in order.
  template <class Visit>
  void drain(Visit visit) {
    while (size_ != 0) {
      const SteadyTime deadline = next_deadline();
      visit(deadline, pop());
    }
  }

  void clear() noexcept {
    while (size_ != 0) pop();
  }

 private:
  // Holds a value only while it is linked somewhere. Its memory is not touched before it is first used.
  struct Slot {
    Slot() noexcept {}
    Slot(const Slot&) = delete;
    Slot& operator=(const Slot&) = delete;
    ~Slot() {}
    Duration::rep deadline_ns;
    union {
      T value;
    };
  };
  struct Early {
    std::uint64_t bucket;
    std::uint64_t sequence;
    std::uint32_t node;
    friend bool operator>(const Early& a, const Early& b) noexcept {
      return a.bucket != b.bucket ? a.bucket > b.bucket : a.sequence > b.sequence;
    }
  };

  static constexpr std::uint32_t no_node = std::numeric_limits<std::uint32_t>::max();
  static constexpr std::uint64_t no_bucket = std::numeric_limits<std::uint64_t>::max();
  // The ring is 64 blocks of buckets: it moves by whole blocks, and what is beyond it is kept by the block.
  static constexpr std::uint64_t blocks = 64;
  static constexpr std::uint64_t blocks_behind = blocks / 4;
  // The heap may be this much larger than the ring's population before the ring goes back.
  static constexpr std::size_t early_spare = 64;

  static unsigned shift_of(Duration resolution) noexcept {
    const Duration bounded =
        std::clamp<Duration>(resolution, std::chrono::nanoseconds(1024), std::chrono::nanoseconds(1 << 30));
    return static_cast<unsigned>(std::bit_width(static_cast<std::uint64_t>(bounded.count()))) - 1;
  }
  static unsigned block_shift_of(Duration horizon, unsigned bucket_shift) noexcept {
    const std::uint64_t buckets =
        static_cast<std::uint64_t>(std::max(horizon, Duration::zero()).count()) >> bucket_shift;
    const std::uint64_t bounded = std::clamp(buckets, detail::BucketBitmap::size_min, detail::BucketBitmap::size_max);
    return static_cast<unsigned>(std::bit_width(std::bit_ceil(bounded) / blocks)) - 1;
  }

  // Unsigned, and in the order of time: the smallest time is bucket 0.
  std::uint64_t bucket_of(SteadyTime deadline) const noexcept {
    return (static_cast<std::uint64_t>(deadline.time_since_epoch().count()) ^ std::uint64_t{1} << 63) >>
           bucket_shift_;
  }
  SteadyTime deadline_of(std::uint32_t node) const noexcept { return SteadyTime(Duration(slots_[node].deadline_ns)); }
  std::uint64_t bucket_of(std::uint32_t node) const noexcept { return bucket_of(deadline_of(node)); }

  std::uint32_t take_node() noexcept {
    if (free_ != no_node) [[likely]]
      return std::exchange(free_, next_[free_]);  // the last one used: its memory is near
    return fresh_++;
  }

  bool in_ring() const noexcept { return head_ != no_bucket && early_.empty(); }

  void append_to_ring(std::uint32_t node, std::uint64_t bucket) noexcept {
    const std::uint64_t at = bucket & ring_mask_;
    detail::NodeList& list = ring_[at];
    if (occupied_.test(at)) {
      next_[list.last] = node;
      list.last = node;
    } else {
      list = {node, node};
      occupied_.set(at);
    }
    // A branch that is foreseen costs less than a minimum, which the next pop would have to wait for.
    if (bucket < head_) [[unlikely]]
      head_ = bucket;
    ++ring_size_;
  }

  std::uint32_t pop_from_ring() noexcept {
    detail::NodeList& list = ring_[head_ & ring_mask_];
    const std::uint32_t node = list.first;
    --ring_size_;
    if (node != list.last) {
      list.first = next_[node];
      prefetch(list.first);
      return node;
    }
    retire_head();
    return node;
  }

  void retire_head() noexcept {
    const std::uint64_t at = head_ & ring_mask_;
    if (ring_size_ == 0) {
      occupied_.reset(at);
      head_ = no_bucket;
      return;
    }
    const std::uint64_t following = occupied_.reset_and_next(at);
    head_ += (following - at) & ring_mask_;
    prefetch(ring_[following].first);
    if (head_ - base_ >= slide_after_) move_ring(head_ >> block_shift_);
  }

  // The memory of the next head comes while the caller is busy with this one.
  void prefetch(std::uint32_t node) const noexcept {
    __builtin_prefetch(slots_.get() + node, 1);
    __builtin_prefetch(next_.get() + node, 1);
  }

  // Forward, so that `block` is as far behind its start as it goes, and takes in what comes within the horizon by that.
  [[gnu::noinline]] void move_ring(std::uint64_t block) noexcept {
    const std::uint64_t first = block > blocks_behind ? block - blocks_behind : 0;
    base_ = first << block_shift_;
    far_.advance(
        first + blocks, next_.get(), [this](std::uint32_t node) { return bucket_of(node) >> block_shift_; },
        [this](std::uint32_t node) { append_to_ring(node, bucket_of(node)); });
  }

  [[gnu::noinline]] void append_outside(std::uint32_t node, SteadyTime deadline, std::uint64_t bucket) noexcept {
    if (deadline == SteadyTime::max()) return append_to_never(node);
    const std::uint64_t block = bucket >> block_shift_;
    if (head_ == no_bucket && far_.empty() && early_.empty()) {
      move_ring(block);
      append_to_ring(node, bucket);
    } else if (bucket > base_) {
      far_.insert(node, block, next_.get());
    } else {
      early_.push_back({bucket, sequence_++, node});
      std::push_heap(early_.begin(), early_.end(), std::greater<>{});
      if (early_.size() > ring_size_ + early_spare) move_ring_back();
    }
  }

  // To where the early ones are. Paid by the pushes that brought the heap beyond the ring's population: it moves less.
  [[gnu::noinline]] void move_ring_back() noexcept {
    std::sort(early_.begin(), early_.end(), [](const Early& a, const Early& b) { return b > a; });
    const detail::NodeList evicted = take_ring();
    const std::uint64_t block = early_.front().bucket >> block_shift_;
    const std::uint64_t first = block > blocks_behind ? block - blocks_behind : 0;
    base_ = first << block_shift_;
    far_.retreat(first + blocks, next_.get());
    for (const Early& early : early_) place(early.node, early.bucket);
    early_.clear();
    for (std::uint32_t node = evicted.first; node != no_node;) {
      const std::uint32_t following = node == evicted.last ? no_node : next_[node];
      place(node, bucket_of(node));
      node = following;
    }
  }

  void place(std::uint32_t node, std::uint64_t bucket) noexcept {
    if (bucket - base_ <= ring_mask_)
      append_to_ring(node, bucket);
    else
      far_.insert(node, bucket >> block_shift_, next_.get());
  }

  // All that the ring holds, in order, as one list.
  detail::NodeList take_ring() noexcept {
    detail::NodeList all{no_node, no_node};
    while (!occupied_.empty()) {
      const std::uint64_t at = occupied_.next(head_ & ring_mask_);
      const detail::NodeList list = ring_[at];
      (all.first == no_node ? all.first : next_[all.last]) = list.first;
      all.last = list.last;
      occupied_.reset(at);
    }
    head_ = no_bucket;
    ring_size_ = 0;
    return all;
  }

  void append_to_never(std::uint32_t node) noexcept {
    (never_.first == no_node ? never_.first : next_[never_.last]) = node;
    never_.last = node;
  }

  std::uint32_t front_node() noexcept {
    assert(size_ != 0);
    if (!in_ring()) [[unlikely]]
      return front_outside();
    return ring_[head_ & ring_mask_].first;
  }

  // Fills the ring again where it has run empty.
  [[gnu::noinline]] std::uint32_t front_outside() noexcept {
    if (!early_.empty()) return early_.front().node;
    if (far_.empty()) return never_.first;
    while (head_ == no_bucket) move_ring(far_.earliest());
    return ring_[head_ & ring_mask_].first;
  }

  [[gnu::noinline]] std::uint32_t pop_outside() noexcept {
    const std::uint32_t node = front_outside();
    if (!early_.empty()) {
      std::pop_heap(early_.begin(), early_.end(), std::greater<>{});
      early_.pop_back();
    } else if (head_ != no_bucket) {
      return pop_from_ring();
    } else {
      never_.first = node == never_.last ? no_node : next_[node];
    }
    return node;
  }

  // What every push and pop touches stands together.
  std::size_t size_ = 0;
  std::size_t capacity_;
  unsigned bucket_shift_;
  unsigned block_shift_;
  std::uint64_t ring_mask_;
  std::uint64_t slide_after_;
  std::uint64_t base_ = 0;  // the ring's first bucket
  std::uint64_t head_ = no_bucket;  // the ring's first occupied bucket
  std::size_t ring_size_ = 0;
  std::uint32_t free_ = no_node;  // nodes that were used, linked
  std::uint32_t fresh_ = 0;  // nodes from here on never were
  detail::BucketBitmap occupied_;
  std::unique_ptr<detail::NodeList[]> ring_;
  std::unique_ptr<std::uint32_t[]> next_;
  std::unique_ptr<Slot[]> slots_;
  std::vector<Early> early_;  // before the ring: a heap
  std::uint64_t sequence_ = 0;
  detail::NodeList never_{no_node, no_node};
  detail::FarWheel far_;
};

}  // namespace aura
