// How signals come from the host's threads to the one that sorts them: a bounded queue, many in, one out.
#pragma once

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <type_traits>
#include <utility>

namespace aura::detail {

enum class InboxPush : std::uint8_t {
  full,    ///< refused; the value is as it was
  queued,  ///< the consumer is at work and will find it
  wake,    ///< queued, and the consumer rests: the caller, and no other, has to set it to work
};

/// A bounded array queue with a sequence number in each cell (Vyukov, "Bounded MPMC queue", 2010), with one consumer.
/// First in, first out for each producer. Producers are lock-free; one that is held up in the middle of a push delays
/// only what came after it, and wakes the consumer when it is done. Nothing is allocated after construction.
///
/// `push` from any thread. At the start the consumer rests. Whoever is told `wake` sets it to work: it drains until
/// there is nothing, and rests. From `wake` until `rest` is true there is one consumer, on whatever thread.
///
///   do {
///     while (inbox.drain(take, batch_max) != 0) continue;
///   } while (!inbox.rest());
template <class T>
class SignalInbox {
  static_assert(std::is_nothrow_move_constructible_v<T> && std::is_nothrow_destructible_v<T>);

 public:
  /// `capacity_max` is rounded up to a power of two, at least 2.
  explicit SignalInbox(std::size_t capacity_max)
      : mask_(std::bit_ceil(capacity_max < 2 ? 2 : capacity_max) - 1), cells_(std::make_unique<Cell[]>(mask_ + 1)) {
    for (std::size_t at = 0; at <= mask_; ++at) cells_[at].sequence.store(at, std::memory_order_relaxed);
  }
  SignalInbox(const SignalInbox&) = delete;
  SignalInbox& operator=(const SignalInbox&) = delete;
  /// Nobody pushes any more. What is left is destroyed.
  ~SignalInbox() {
    drain([](T&&) {}, mask_ + 1);
  }

  std::size_t capacity() const noexcept { return mask_ + 1; }

  InboxPush push(T&& value) noexcept {
    std::uint64_t at = tail_.load(std::memory_order_relaxed);
    for (;;) {
      Cell& cell = cells_[at & mask_];
      const auto lead = static_cast<std::int64_t>(cell.sequence.load(std::memory_order_acquire) - at);
      if (lead == 0) {
        if (tail_.compare_exchange_weak(at, at + 1, std::memory_order_relaxed))
          return publish(cell, at, std::move(value));
      } else if (lead < 0) {
        return InboxPush::full;
      } else {
        at = tail_.load(std::memory_order_relaxed);
      }
    }
  }

  /// Calls `take(T&&)` for up to `count_max` signals in order; how many there were. `take` may push, but not drain; where
  /// it throws, what it was given is gone and the rest stays.
  template <class Take>
  std::size_t drain(Take&& take, std::size_t count_max) {
    std::size_t count = 0;
    for (; count != count_max; ++count) {
      Cell& cell = cells_[head_ & mask_];
      if (cell.sequence.load(std::memory_order_acquire) != head_ + 1) break;
      T value = std::move(cell.value);
      std::destroy_at(&cell.value);
      cell.sequence.store(head_ + mask_ + 1, std::memory_order_release);
      ++head_;
      take(std::move(value));
    }
    return count;
  }

  /// True: the consumer rests now, and the next push says `wake`. False: something came; drain again.
  bool rest() noexcept {
    const std::uint64_t head = head_;  // once it rests, another may be at it
    resting_.store(true, std::memory_order_seq_cst);
    if (cells_[head & mask_].sequence.load(std::memory_order_seq_cst) != head + 1) return true;
    // Where a producer was quicker to end the rest, it wakes the consumer: that one drains what this one leaves.
    return !resting_.exchange(false, std::memory_order_seq_cst);
  }

 private:
  // What two threads write stands this far apart; 128 because processors fetch lines in pairs.
  static constexpr std::size_t apart = 128;

  struct Cell {
    Cell() noexcept {}
    Cell(const Cell&) = delete;
    Cell& operator=(const Cell&) = delete;
    ~Cell() {}
    // Where a lap has its position here, the cell is free for it; one more, and it is full.
    std::atomic<std::uint64_t> sequence{0};
    union {
      T value;
    };
  };

  // Either this thread sees that the consumer rests, or the consumer, which looks at the cell after it lay down, sees the
  // signal: both store and then load, all four in the one order of sequential consistency.
  InboxPush publish(Cell& cell, std::uint64_t at, T&& value) noexcept {
    std::construct_at(&cell.value, std::move(value));
    cell.sequence.store(at + 1, std::memory_order_seq_cst);
    if (!resting_.load(std::memory_order_seq_cst)) [[likely]]
      return InboxPush::queued;
    return resting_.exchange(false, std::memory_order_seq_cst) ? InboxPush::wake : InboxPush::queued;
  }

  const std::uint64_t mask_;
  const std::unique_ptr<Cell[]> cells_;
  alignas(apart) std::atomic<std::uint64_t> tail_{0};
  alignas(apart) std::uint64_t head_ = 0;  // the consumer's alone
  alignas(apart) std::atomic<bool> resting_{true};
};

}  // namespace aura::detail
