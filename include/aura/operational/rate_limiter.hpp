// A token bucket: so many calls a second on average, so many at once after a quiet spell; who comes too early may wait.
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
#include <limits>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

namespace aura {

struct RateLimiterOptions {
  std::uint32_t permits = 100;  ///< in each period, on average
  Duration period = std::chrono::seconds(1);
  std::uint32_t burst = 0;  ///< tokens the bucket holds, full at the start; 0 means as many as `permits`
  std::uint32_t queue_max = 0;  ///< callers of `async_acquire` that may wait for a token; one more is turned away
  Duration wait_max = Duration::max();  ///< who would wait longer is turned away at once
};

namespace detail {

/// GCRA, the generic cell rate algorithm (ITU-T I.371, 1996): a token bucket as the one time at which it will be full
/// again. Exact, but for the interval of a token, which is rounded up to a sixteenth of a nanosecond: never more than the
/// stated rate. Times are counted from the steady clock's origin, and hold for nine years of it; a period is at most a year.
class TokenBucket {
 public:
  /// Sixteenths of a nanosecond.
  using Ticks = std::int64_t;

  TokenBucket(std::uint32_t permits, Duration period, std::uint32_t burst) noexcept {
    const std::int64_t each = std::max<std::int64_t>(permits, 1);
    const std::int64_t span = std::clamp<std::int64_t>(period.count(), 1, ticks_max / 256) * per_ns;
    interval_ = (span + each - 1) / each;
    const auto tokens = static_cast<std::int64_t>(burst != 0 ? burst : std::max(permits, std::uint32_t{1}));
    capacity_ = interval_ * std::clamp<std::int64_t>(tokens, 1, std::max<std::int64_t>(ticks_max / 8 / interval_, 1));
  }

  struct Taken {
    Ticks full_at;  ///< of the bucket, after this one
    Duration wait;  ///< until the token is there
  };

  /// Takes a token where it is there within `wait_max`; otherwise nothing but the wait there would have been.
  struct Attempt {
    bool taken;
    Taken token;
  };
  Attempt take(SteadyTime now, Duration wait_max) noexcept {
    const Ticks at = to_ticks(now);
    wait_max = std::min(wait_max, Duration(ticks_max / 8 / per_ns));  // a year, so that no sum overflows
    Ticks full_at = full_at_.load(std::memory_order_relaxed);
    for (;;) {
      const Ticks then = std::max(full_at, at) + interval_;
      const Duration wait = to_duration(then - capacity_ - at);
      if (wait > wait_max) return {false, {then, wait}};
      if (full_at_.compare_exchange_weak(full_at, then, std::memory_order_relaxed)) return {true, {then, wait}};
    }
  }

  /// Puts a token back where it was the last one taken, so that it is as if it had never been. Any other is not put
  /// back: the time since may have filled the bucket, and then it would let too many pass.
  bool put_back_last(Ticks full_at) noexcept {
    return full_at_.compare_exchange_strong(full_at, full_at - interval_, std::memory_order_relaxed);
  }
  /// Puts back a token whose time has not come.
  void put_back_future() noexcept { full_at_.fetch_sub(interval_, std::memory_order_relaxed); }

  Ticks interval() const noexcept { return interval_; }
  SteadyTime due(Ticks full_at) const noexcept { return SteadyTime(to_duration(full_at - capacity_)); }
  double tokens(SteadyTime now) const noexcept {
    const Ticks at = to_ticks(now);
    const Ticks left = at + capacity_ - std::max(at, full_at_.load(std::memory_order_relaxed));
    return static_cast<double>(left) / static_cast<double>(interval_);
  }

 private:
  static constexpr Ticks per_ns = 16;
  static constexpr Ticks ticks_max = std::numeric_limits<Ticks>::max();

  static Ticks to_ticks(SteadyTime now) noexcept {
    return std::clamp<std::int64_t>(now.time_since_epoch().count(), -(ticks_max / 32), ticks_max / 32) * per_ns;
  }
  static Duration to_duration(Ticks ticks) noexcept {  // rounded up: never too early
    return Duration(ticks / per_ns + (ticks % per_ns > 0 ? 1 : 0));
  }

  Ticks interval_;
  Ticks capacity_;
  std::atomic<Ticks> full_at_{-(ticks_max / 2)};
};

class RateLimiterState;

}  // namespace detail

/// A token. Recorded it is spent. Dropped without a record it goes back, where no other was taken since. A permit of
/// `try_acquire` must not outlive its limiter.
class RateLimiterPermit {
 public:
  RateLimiterPermit(RateLimiterPermit&& other) noexcept
      : bucket_(std::exchange(other.bucket_, nullptr)), full_at_(other.full_at_) {}
  RateLimiterPermit& operator=(RateLimiterPermit&& other) noexcept {
    std::swap(bucket_, other.bucket_);
    std::swap(full_at_, other.full_at_);
    return *this;
  }
  ~RateLimiterPermit() {
    if (bucket_) bucket_->put_back_last(full_at_);
  }

  void record(const AttemptOutcome&) noexcept { bucket_ = nullptr; }

 private:
  friend class detail::RateLimiterState;
  RateLimiterPermit(detail::TokenBucket* bucket, detail::TokenBucket::Ticks full_at) noexcept
      : bucket_(bucket), full_at_(full_at) {}

  detail::TokenBucket* bucket_;  // null where it shall not go back
  detail::TokenBucket::Ticks full_at_;
};

namespace detail {

class RateLimiterState : public std::enable_shared_from_this<RateLimiterState> {
 public:
  using Answer = PendingHandler<Result<RateLimiterPermit>>;

  RateLimiterState(std::optional<AnyRuntime> world, RateLimiterOptions options)
      : options_(options), world_(world), bucket_(options.permits, options.period, options.burst) {
    if (!world_) options_.queue_max = 0;
  }

  Result<RateLimiterPermit> try_acquire(SteadyTime now) noexcept {
    const auto attempt = bucket_.take(now, Duration::zero());
    if (!attempt.taken) return rejection(rejection_errc::rate_limited, attempt.token.wait);
    return RateLimiterPermit(&bucket_, attempt.token.full_at);
  }

  template <class Handler>
  void acquire(Duration wait_max, Handler handler) {
    auto slot = boost::asio::get_associated_cancellation_slot(handler);
    Answer answer(std::move(handler), world_->executor());
    const SteadyTime now = world_->steady_now();
    const std::lock_guard lock(mutex_);
    const bool may_wait = waiters_.size() < options_.queue_max;
    const auto attempt = bucket_.take(now, may_wait ? wait_max : Duration::zero());
    if (!attempt.taken) return answer.answer(turned_away(attempt.token.wait, may_wait, wait_max, now));
    const SteadyTime due = bucket_.due(attempt.token.full_at);
    if (due <= now) return answer.answer(RateLimiterPermit(nullptr, 0));
    const std::uint64_t id = ++waiters_ever_;
    if (slot.is_connected())
      slot.assign([weak = weak_from_this(), id](boost::asio::cancellation_type) {
        if (const auto self = weak.lock()) self->cancel(id);
      });
    waiters_.push_back({std::move(answer), attempt.token.full_at, id});
    if (waiters_.size() == 1) set_alarm();
  }

  /// The limiter is gone.
  void close() {
    const std::lock_guard lock(mutex_);
    while (!waiters_.empty()) {
      waiters_.front().answer.answer(rejection(rejection_errc::draining));
      waiters_.pop_front();
    }
    set_alarm();
  }

  std::size_t waiting() const {
    const std::lock_guard lock(mutex_);
    return waiters_.size();
  }
  const TokenBucket& bucket() const noexcept { return bucket_; }
  const RateLimiterOptions& options() const noexcept { return options_; }

 private:
  struct Waiter {
    Answer answer;
    TokenBucket::Ticks full_at;  // which says when its token is there
    std::uint64_t id;
  };

  // Called under the lock.

  Error turned_away(Duration wait, bool may_wait, Duration wait_max, SteadyTime now) const noexcept {
    if (may_wait) return rejection(rejection_errc::deadline_too_near, wait - wait_max);
    if (waiters_.empty()) return rejection(rejection_errc::rate_limited, wait);
    const Duration until_a_place_is_free = bucket_.due(waiters_.front().full_at) - now;
    return rejection(rejection_errc::queue_full, std::max(until_a_place_is_free, Duration(1)));
  }

  void set_alarm() {
    const SteadyTime due = waiters_.empty() ? SteadyTime::max() : bucket_.due(waiters_.front().full_at);
    if (due == alarm_at_) return;
    alarm_at_ = due;
    if (!alarm_)
      alarm_ = std::make_shared<Alarm>(*world_, [weak = weak_from_this()] {
        if (const auto self = weak.lock()) self->serve();
      });
    alarm_->set(due);
  }

  void serve() {
    const std::lock_guard lock(mutex_);
    alarm_at_ = SteadyTime::max();
    const SteadyTime now = world_->steady_now();
    while (!waiters_.empty() && bucket_.due(waiters_.front().full_at) <= now) {
      waiters_.front().answer.answer(RateLimiterPermit(nullptr, 0));
      waiters_.pop_front();
    }
    set_alarm();
  }

  /// A token whose time has not come goes to the one behind it, and so on: as if it had never been asked for. One that
  /// was there already is lost.
  void cancel(std::uint64_t id) {
    const std::lock_guard lock(mutex_);
    auto place = std::find_if(waiters_.begin(), waiters_.end(), [id](const Waiter& each) { return each.id == id; });
    if (place == waiters_.end()) return;
    place->answer.answer(
        Error::fixed(core_errc::cancelled, ErrorClass::cancelled, "cancelled while it waited for the rate limiter"));
    const bool in_future = bucket_.due(place->full_at) > world_->steady_now();
    place = waiters_.erase(place);
    if (in_future) {
      for (; place != waiters_.end(); ++place) place->full_at -= bucket_.interval();
      bucket_.put_back_future();
    }
    set_alarm();
  }

  RateLimiterOptions options_;
  std::optional<AnyRuntime> world_;
  TokenBucket bucket_;
  mutable std::mutex mutex_;
  std::list<Waiter> waiters_;  // by the time of their token
  std::shared_ptr<Alarm> alarm_;
  SteadyTime alarm_at_ = SteadyTime::max();
  std::uint64_t waiters_ever_ = 0;
};

}  // namespace detail

/// Keeps calls under a rate that the other side accepts (Envoy's local rate limit, resilience4j's and Polly's rate
/// limiters). In no span of time do more calls pass than the burst and the rate's share of that span, whatever is
/// cancelled or dropped. May be shared between threads; moves, but is not copied.
///
/// The plain path is lock-free and allocates nothing: one compare-and-swap. Those who wait have their tokens reserved in
/// the order in which they came, so nobody passes them; waiting costs a few allocations and a lock, and a cancellation
/// a walk of the queue.
class RateLimiter {
 public:
  using Options = RateLimiterOptions;
  using Permit = RateLimiterPermit;

  /// Without a queue: for `try_acquire` alone.
  explicit RateLimiter(Options options) : state_(std::make_shared<detail::RateLimiterState>(std::nullopt, options)) {}
  RateLimiter(AnyRuntime world, Options options)
      : state_(std::make_shared<detail::RateLimiterState>(world, options)) {}
  RateLimiter(RateLimiter&&) noexcept = default;
  RateLimiter& operator=(RateLimiter&& other) noexcept {
    std::swap(state_, other.state_);
    return *this;
  }
  /// Turns away those who wait (`draining`).
  ~RateLimiter() {
    if (state_) state_->close();
  }

  /// Models `guard`. Error: `rate_limited`, with the exact time until there is a token, if nobody else takes it.
  Result<Permit> try_acquire(SteadyTime now) noexcept { return state_->try_acquire(now); }

  /// Waits for a token. Signature `void(Result<Permit>)`. Errors, at once: `deadline_too_near` where it would wait longer
  /// than `wait_max`, `queue_full`, `rate_limited` where there is no queue; later only `cancelled`, by any type of
  /// cancellation, which gives the token to the one behind. A permit of this is not given back when dropped.
  template <boost::asio::completion_token_for<void(Result<Permit>)> Token>
  auto async_acquire(Duration wait_max, Token&& token) {
    return boost::asio::async_initiate<Token, void(Result<Permit>)>(
        [state = state_](auto handler, Duration wait) { state->acquire(wait, std::move(handler)); }, token, wait_max);
  }
  /// With the option's `wait_max`.
  template <boost::asio::completion_token_for<void(Result<Permit>)> Token>
  auto async_acquire(Token&& token) {
    return async_acquire(state_->options().wait_max, std::forward<Token>(token));
  }

  /// What the bucket holds; negative where others wait already.
  double tokens(SteadyTime now) const noexcept { return state_->bucket().tokens(now); }
  std::size_t waiting() const { return state_->waiting(); }
  bool has_queue() const noexcept { return state_->options().queue_max != 0; }

 private:
  std::shared_ptr<detail::RateLimiterState> state_;
};

}  // namespace aura
