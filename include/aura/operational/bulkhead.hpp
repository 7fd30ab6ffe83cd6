// Bounded concurrency: so many calls at once, so many more may wait, the rest are turned away.
#pragma once

#include <aura/core/detail/pending_handler.hpp>
#include <aura/core/outcome.hpp>
#include <aura/core/result.hpp>
#include <aura/core/runtime.hpp>
#include <aura/operational/detail/alarm.hpp>
#include <aura/operational/rejection.hpp>

#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/cancellation_type.hpp>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

namespace aura {

struct BulkheadOptions {
  std::uint32_t concurrency_max = 25;  ///< permits out at once; at least 1
  std::uint32_t queue_max = 0;         ///< callers of `async_acquire` that may wait; one more is turned away
  Duration wait_max = Duration::max(); ///< how long one of them waits before it is turned away
};

namespace detail {

/// Who is in and who waits, in one word, so that both change together.
///
/// Nobody who comes later takes a free place while others wait: a place that is given back then passes to the first of
/// them. The counts are changed by anyone but for `waiting`, which its owner changes under the lock of its queue.
class BulkheadCounts {
 public:
  enum class Joined : std::uint8_t { taken, waiting, full };

  bool try_take(std::uint32_t in_use_max) noexcept {
    std::uint64_t now = word_.load(std::memory_order_relaxed);
    while (now < in_use_max)  // nobody waits, and there is a place
      if (word_.compare_exchange_weak(now, now + 1, std::memory_order_acquire, std::memory_order_relaxed))
        return true;
    return false;
  }

  Joined take_or_wait(std::uint32_t in_use_max, std::uint32_t waiting_max) noexcept {
    std::uint64_t now = word_.load(std::memory_order_relaxed);
    for (;;) {
      const bool free = now < in_use_max;
      if (!free && waiting_of(now) >= waiting_max) return Joined::full;
      if (word_.compare_exchange_weak(now, now + (free ? 1 : one_waiting), std::memory_order_acquire,
                                      std::memory_order_relaxed))
        return free ? Joined::taken : Joined::waiting;
    }
  }

  enum class GivenBack : std::uint8_t { done, last_of_orphan, others_wait };

  /// Where others wait nothing is changed: the first of them shall have the place.
  GivenBack try_give_back() noexcept {
    std::uint64_t now = word_.load(std::memory_order_relaxed);
    while (waiting_of(now) == 0)
      if (word_.compare_exchange_weak(now, now - 1, std::memory_order_acq_rel, std::memory_order_relaxed))
        return now == (orphan | 1) ? GivenBack::last_of_orphan : GivenBack::done;
    return GivenBack::others_wait;
  }

  /// Nobody gets in any more. True where nobody was in.
  bool make_orphan() noexcept { return word_.fetch_or(orphan, std::memory_order_acq_rel) == 0; }

  void one_waits_less() noexcept { word_.fetch_sub(one_waiting, std::memory_order_relaxed); }

  std::uint32_t in_use() const noexcept { return static_cast<std::uint32_t>(word_.load(std::memory_order_relaxed)); }
  std::uint32_t waiting() const noexcept { return waiting_of(word_.load(std::memory_order_relaxed)); }

 private:
  static constexpr std::uint64_t one_waiting = std::uint64_t{1} << 32;
  static constexpr std::uint64_t orphan = std::uint64_t{1} << 63;
  static constexpr std::uint32_t waiting_of(std::uint64_t word) noexcept {
    return static_cast<std::uint32_t>((word & ~orphan) >> 32);
  }

  std::atomic<std::uint64_t> word_{0};
};

class BulkheadState;

}  // namespace detail

/// A place in a bulkhead, given back when it is recorded or dropped. May outlive the bulkhead.
class BulkheadPermit {
 public:
  BulkheadPermit(BulkheadPermit&& other) noexcept : state_(std::exchange(other.state_, nullptr)) {}
  BulkheadPermit& operator=(BulkheadPermit&& other) noexcept {
    if (this != &other) {
      give_back();
      state_ = std::exchange(other.state_, nullptr);
    }
    return *this;
  }
  ~BulkheadPermit() { give_back(); }

  void record(const AttemptOutcome&) { give_back(); }

 private:
  friend class detail::BulkheadState;
  explicit BulkheadPermit(detail::BulkheadState& state) noexcept : state_(&state) {}
  inline void give_back() noexcept;

  detail::BulkheadState* state_;
};

namespace detail {

class BulkheadState : public std::enable_shared_from_this<BulkheadState> {
 public:
  using Answer = PendingHandler<Result<BulkheadPermit>>;

  BulkheadState(std::optional<AnyRuntime> world, BulkheadOptions options) : options_(options), world_(world) {
    if (options_.concurrency_max == 0) options_.concurrency_max = 1;
    options_.queue_max = world_ ? std::min(options_.queue_max, std::uint32_t{1} << 30) : 0;
  }

  Result<BulkheadPermit> try_acquire() noexcept {
    if (!counts_.try_take(options_.concurrency_max)) return rejection(rejection_errc::bulkhead_full);
    return BulkheadPermit(*this);
  }

  template <class Handler>
  void acquire(Handler handler) {
    auto slot = boost::asio::get_associated_cancellation_slot(handler);
    Answer answer(std::move(handler), world_->executor());
    std::unique_lock lock(mutex_);
    switch (counts_.take_or_wait(options_.concurrency_max, options_.queue_max)) {
      case BulkheadCounts::Joined::taken: return lock.unlock(), answer.answer(BulkheadPermit(*this));
      case BulkheadCounts::Joined::full:
        return lock.unlock(), answer.answer(rejection(options_.queue_max == 0 ? rejection_errc::bulkhead_full
                                                                              : rejection_errc::queue_full));
      case BulkheadCounts::Joined::waiting: break;
    }
    const std::uint64_t id = ++waiters_ever_;
    if (slot.is_connected())
      slot.assign([weak = weak_from_this(), id](boost::asio::cancellation_type) {
        if (const auto self = weak.lock()) self->cancel(id);
      });
    waiters_.push_back({std::move(answer), saturating_add(world_->steady_now(), options_.wait_max), id});
    if (waiters_.size() == 1) set_alarm();
  }

  void give_back() noexcept {
    for (;;) {
      const auto given = counts_.try_give_back();
      if (given == BulkheadCounts::GivenBack::done) return;
      if (given == BulkheadCounts::GivenBack::last_of_orphan) {
        const auto last = std::move(self_);
        return;
      }
      const std::lock_guard lock(mutex_);
      if (waiters_.empty()) continue;  // it left just now
      take_out(waiters_.begin()).answer(BulkheadPermit(*this));
      return;
    }
  }

  /// The bulkhead is gone. Whoever waits is turned away; the state stays until the last permit is back.
  void orphan() {
    const std::lock_guard lock(mutex_);
    while (!waiters_.empty()) take_out(waiters_.begin()).answer(rejection(rejection_errc::draining));
    self_ = shared_from_this();
    if (counts_.make_orphan()) self_.reset();  // the caller holds it still
  }

  const BulkheadCounts& counts() const noexcept { return counts_; }
  const BulkheadOptions& options() const noexcept { return options_; }

 private:
  struct Waiter {
    Answer answer;
    SteadyTime deadline;
    std::uint64_t id;
  };
  using Place = std::list<Waiter>::iterator;

  // Called under the lock.
  Answer take_out(Place place) {
    const bool was_first = place == waiters_.begin();
    Answer answer = std::move(place->answer);
    waiters_.erase(place);
    counts_.one_waits_less();
    if (was_first) set_alarm();
    return answer;
  }

  void set_alarm() {
    const SteadyTime due = waiters_.empty() ? SteadyTime::max() : waiters_.front().deadline;
    if (due == alarm_at_) return;
    alarm_at_ = due;
    if (!alarm_)
      alarm_ = std::make_shared<Alarm>(*world_, [weak = weak_from_this()] {
        if (const auto self = weak.lock()) self->expire();
      });
    alarm_->set(due);
  }

  void expire() {
    const std::lock_guard lock(mutex_);
    alarm_at_ = SteadyTime::max();
    const SteadyTime now = world_->steady_now();
    while (!waiters_.empty() && waiters_.front().deadline <= now)
      take_out(waiters_.begin()).answer(rejection(rejection_errc::bulkhead_full));
    set_alarm();
  }

  void cancel(std::uint64_t id) {
    const std::lock_guard lock(mutex_);
    for (Place place = waiters_.begin(); place != waiters_.end(); ++place) {
      if (place->id != id) continue;
      return take_out(place).answer(
          Error::fixed(core_errc::cancelled, ErrorClass::cancelled, "cancelled while it waited for the bulkhead"));
    }
  }

  BulkheadOptions options_;
  std::optional<AnyRuntime> world_;
  BulkheadCounts counts_;
  std::mutex mutex_;
  std::list<Waiter> waiters_;
  std::shared_ptr<Alarm> alarm_;
  SteadyTime alarm_at_ = SteadyTime::max();
  std::uint64_t waiters_ever_ = 0;
  std::shared_ptr<BulkheadState> self_;  // once the bulkhead is gone, while permits are out
};

}  // namespace detail

inline void BulkheadPermit::give_back() noexcept {
  if (auto* const state = std::exchange(state_, nullptr)) state->give_back();
}

/// Keeps a slow dependency from taking every thread and connection of its caller (resilience4j's semaphore bulkhead,
/// Polly's concurrency limiter). May be shared between threads; moves, but is not copied.
///
/// The plain path is lock-free and allocates nothing: one compare-and-swap to enter, one to leave. Waiting costs a few
/// allocations and a lock. It is first come, first served: a place that becomes free goes to the one who has waited
/// longest, and never past those who wait. When it is free nobody knows, so rejections carry no `retry_after`.
class Bulkhead {
 public:
  using Options = BulkheadOptions;
  using Permit = BulkheadPermit;

  /// Without a queue: for `try_acquire` alone.
  explicit Bulkhead(Options options) : state_(std::make_shared<detail::BulkheadState>(std::nullopt, options)) {}
  Bulkhead(AnyRuntime world, Options options) : state_(std::make_shared<detail::BulkheadState>(world, options)) {}
  Bulkhead(Bulkhead&&) noexcept = default;
  Bulkhead& operator=(Bulkhead&& other) noexcept {
    std::swap(state_, other.state_);
    return *this;
  }
  /// Turns away those who wait (`draining`). Permits that are out remain good.
  ~Bulkhead() {
    if (state_) state_->orphan();
  }

  /// Models `guard`; it does not need the time. Error: `bulkhead_full`.
  Result<Permit> try_acquire(SteadyTime = {}) noexcept { return state_->try_acquire(); }

  /// Waits in the queue for a place. Signature `void(Result<Permit>)`. Errors: `queue_full`, or `bulkhead_full` where
  /// it has no queue or `wait_max` has passed; `cancelled`, by any type of cancellation, at any time.
  template <boost::asio::completion_token_for<void(Result<Permit>)> Token>
  auto async_acquire(Token&& token) {
    return boost::asio::async_initiate<Token, void(Result<Permit>)>(
        [state = state_](auto handler) { state->acquire(std::move(handler)); }, token);
  }

  std::uint32_t in_use() const noexcept { return state_->counts().in_use(); }
  std::uint32_t waiting() const noexcept { return state_->counts().waiting(); }
  std::uint32_t concurrency_max() const noexcept { return state_->options().concurrency_max; }
  bool has_queue() const noexcept { return state_->options().queue_max != 0; }

 private:
  std::shared_ptr<detail::BulkheadState> state_;
};

}  // namespace aura
