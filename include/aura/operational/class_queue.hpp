// Deficit round robin over a few classes of work: whose turn it is, and a queue that goes by it.
#pragma once

#include <aura/operational/detail/bounded_fifo.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <utility>
#include <vector>

namespace aura {

/// Says which of up to 64 classes is served next, so that each gets a share in proportion to its weight while it has
/// work, and none starves. Over any time in which two classes have work, what each was served, divided by its weight,
/// differs by at most the quantum where pieces cost 1, else by at most the quantum and, for each of the two, the largest
/// cost of a piece divided by the weight.
///
/// Deficit round robin (Shreedhar and Varghese, "Efficient Fair Queuing using Deficit Round Robin", 1995), in the form
/// that charges after serving (surplus round robin; Adiseshu, Parulkar and Varghese, 1996), because what a piece costs is
/// known only then. A class is served while its credit is positive; each round adds its weight times the quantum. A
/// class that runs out of work loses what credit it had. A debt stays, and the rounds that pass meanwhile pay it.
///
/// Costs are in any unit: nanoseconds, bytes, or 1 for each. Every call is O(1); `next` looks at all classes only where
/// none has credit after a whole round, which a quantum of at least the usual cost avoids. Not shared between threads.
class DeficitRoundRobin {
 public:
  using Weight = std::uint32_t;
  using Cost = std::int64_t;
  static constexpr std::size_t classes_max = 64;
  /// Debts are cut off here: a charge beyond it is a mistake in the unit.
  static constexpr Cost debt_max = std::int64_t{1} << 60;

  /// A weight for each class, from 1 to 2^20; what is outside is taken as the nearest of these. No more than `classes_max`:
  /// the rest is ignored. `quantum`: what a weight of one is served in a round, from 1 to 2^40.
  explicit DeficitRoundRobin(std::span<const Weight> weights, Cost quantum = 1)
      : size_(std::min(weights.size(), classes_max)) {
    const Cost bounded = std::clamp<Cost>(quantum, 1, std::int64_t{1} << 40);
    for (std::size_t at = 0; at < size_; ++at)
      turns_[at].quantum = std::clamp<Weight>(weights[at], 1, 1u << 20) * bounded;
  }

  std::size_t classes() const noexcept { return size_; }
  bool idle() const noexcept { return active_ == 0; }
  bool active(std::size_t at) const noexcept { return (active_ >> at & 1) != 0; }
  /// What a class may still be served this round; negative: its debt.
  Cost credit(std::size_t at) const noexcept { return turns_[at].credit; }

  /// The class has work now. It waits for its turn in the round. No effect where it had some.
  void activate(std::size_t at) noexcept {
    assert(at < size_);
    if (active(at)) return;
    pay_debt(turns_[at]);
    active_ |= bit(at);
  }

  /// The class has no more work. No effect where it had none.
  void deactivate(std::size_t at) noexcept {
    if (!active(at)) return;
    active_ &= ~bit(at);
    turns_[at].credit = std::min<Cost>(0, turns_[at].credit);
    turns_[at].paid_until = rounds_;
  }

  /// The class to serve now; the same until it is charged, or runs out of work. Some class has work.
  std::size_t next() noexcept {
    assert(!idle());
    if (active(current_) && turns_[current_].credit > 0) [[likely]]
      return current_;
    return rotate();
  }

  /// What serving a piece of the class took. May come late, in parts, or be negative to correct an estimate.
  void charge(std::size_t at, Cost cost) noexcept {
    Turn& turn = turns_[at];
    if (!active(at)) [[unlikely]]
      pay_debt(turn);
    turn.credit = std::clamp(turn.credit - std::clamp(cost, -debt_max, debt_max), -debt_max, turn.quantum);
  }

 private:
  struct Turn {
    Cost credit = 0;
    Cost quantum = 1;
    std::uint64_t paid_until = 0;  // the round; of a class without work
  };

  static constexpr std::uint64_t bit(std::size_t at) noexcept { return std::uint64_t{1} << at; }

  // By the rounds that passed while the class had no work. Never overflows: a debt that so many rounds cover is gone.
  void pay_debt(Turn& turn) noexcept {
    const std::uint64_t rounds = rounds_ - std::exchange(turn.paid_until, rounds_);
    if (turn.credit >= 0) return;
    const auto needed = static_cast<std::uint64_t>(-turn.credit) / static_cast<std::uint64_t>(turn.quantum) + 1;
    turn.credit = rounds >= needed ? 0 : std::min<Cost>(0, turn.credit + static_cast<Cost>(rounds) * turn.quantum);
  }

  // On to the next class that has work and, with this round's quantum, credit.
  std::size_t rotate() noexcept {
    for (std::uint64_t seen = 0;; seen |= bit(current_)) {
      if (seen == active_) skip_rounds();
      const std::uint64_t later = active_ & (~std::uint64_t{1} << current_);
      if (later == 0) ++rounds_;
      current_ = static_cast<std::size_t>(std::countr_zero(later != 0 ? later : active_));
      Turn& turn = turns_[current_];
      turn.credit += turn.quantum;
      if (turn.credit > 0) return current_;
    }
  }

  // A whole round left everybody in debt: as many rounds at once as leave the quickest to recover one short of credit.
  void skip_rounds() noexcept {
    Cost rounds = std::numeric_limits<Cost>::max();
    for (std::uint64_t rest = active_; rest != 0; rest &= rest - 1) {
      const Turn& turn = turns_[static_cast<std::size_t>(std::countr_zero(rest))];
      rounds = std::min(rounds, -turn.credit / turn.quantum);
    }
    for (std::uint64_t rest = active_; rest != 0; rest &= rest - 1) {
      Turn& turn = turns_[static_cast<std::size_t>(std::countr_zero(rest))];
      turn.credit += rounds * turn.quantum;
    }
    rounds_ += static_cast<std::uint64_t>(rounds);
  }

  std::uint64_t active_ = 0;  // bit: the class has work
  std::size_t current_ = 0;
  std::uint64_t rounds_ = 0;
  std::size_t size_;
  std::array<Turn, classes_max> turns_{};
};

/// A queue for each class, first in, first out; `pop` takes from the class whose turn it is by deficit round robin, each
/// piece at the same cost. Bounded for each class. Push and pop are O(1); memory doubles up to the bound, and is kept.
/// Not shared between threads.
template <class T>
class ClassQueue {
 public:
  /// `capacity_max`: members of each class. `quantum`: how many in a row a class of weight one is served.
  explicit ClassQueue(std::span<const DeficitRoundRobin::Weight> weights, std::size_t capacity_max,
                      std::int64_t quantum = 1)
      : turns_(weights, quantum) {
    queues_.reserve(turns_.classes());
    for (std::size_t at = 0; at < turns_.classes(); ++at) queues_.emplace_back(capacity_max);
  }

  bool empty() const noexcept { return turns_.idle(); }
  std::size_t size() const noexcept { return size_; }
  std::size_t size(std::size_t at) const noexcept { return queues_[at].size(); }
  std::size_t classes() const noexcept { return turns_.classes(); }

  /// False where that class is full; the value is then as it was. `at < classes()`.
  bool push(std::size_t at, T&& value) {
    detail::BoundedFifo<T>& queue = queues_[at];
    if (queue.full()) return false;
    queue.push(std::move(value));
    turns_.activate(at);
    ++size_;
    return true;
  }
  bool push(std::size_t at, const T& value) { return push(at, T(value)); }

  /// The class that the next `pop` takes from. The queue is not empty.
  std::size_t next_class() noexcept { return turns_.next(); }
  T& front() noexcept { return queues_[turns_.next()].front(); }

  T pop() noexcept {
    const std::size_t at = turns_.next();
    detail::BoundedFifo<T>& queue = queues_[at];
    T value = queue.pop();
    --size_;
    turns_.charge(at, 1);
    if (queue.empty()) turns_.deactivate(at);
    return value;
  }

 private:
  DeficitRoundRobin turns_;
  std::vector<detail::BoundedFifo<T>> queues_;
  std::size_t size_ = 0;
};

}  // namespace aura
