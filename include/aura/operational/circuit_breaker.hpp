// A circuit breaker: stands before every call of one dependency, and stops calling it when it is ill.
#pragma once

#include <aura/core/detail/pending_handler.hpp>
#include <aura/core/guard.hpp>
#include <aura/core/runtime.hpp>
#include <aura/operational/action.hpp>
#include <aura/operational/breaker/core.hpp>
#include <aura/operational/detail/breaker_call.hpp>

#include <boost/asio/async_result.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

namespace aura {

/// Guards one dependency.
///
///     aura::CircuitBreaker breaker(runtime, aura::AdaptivePolicy(), {.name = "payments"});
///     auto answer = co_await breaker.call([&] { return charge(order); }, use_awaitable);   // Result<Receipt>
///
/// `Policy` decides from the outcomes; the breaker owns the states and the way back. It models `guard`, so a saga's
/// step names it and waits for it. May be shared between threads. It must outlive its permits and its calls.
///
/// Cost, where it is closed: a load to admit, a load and what the policy counts to record; no allocation. No clock is
/// read but where a state may change, or by `try_acquire()` without a time for a policy that `needs_time`. The times
/// may come from a coarse clock: everything here is as exact as they are.
template <breaker_policy Policy, class Observer = NullObserver>
class CircuitBreaker {
 public:
  using Core = BreakerCore<Policy, Observer>;

  /// The right to make one call. Dropped without a record it counts as cancelled and frees its probe.
  class Permit {
   public:
    Permit(Permit&& other) noexcept
        : breaker_(std::exchange(other.breaker_, nullptr)), ticket_(other.ticket_), at_(other.at_) {}
    Permit& operator=(Permit&& other) noexcept {
      if (this != &other) {
        drop();
        breaker_ = std::exchange(other.breaker_, nullptr);
        ticket_ = other.ticket_;
        at_ = other.at_;
      }
      return *this;
    }
    ~Permit() { drop(); }

    /// How the call ended; the first record counts. It ended `outcome.latency` after the time it was admitted at.
    [[gnu::always_inline]] void record(const AttemptOutcome& outcome) {
      if (CircuitBreaker* const breaker = std::exchange(breaker_, nullptr)) [[likely]]
        breaker->core_.record(ticket_, outcome, end_of(breaker, outcome.latency));
    }
    [[gnu::always_inline]] void record(const AttemptOutcome& outcome, SteadyTime now) {
      if (CircuitBreaker* const breaker = std::exchange(breaker_, nullptr)) [[likely]]
        breaker->core_.record(ticket_, outcome, [now] { return now; });
    }
    [[gnu::always_inline]] void success(Duration latency = {}) {
      if (CircuitBreaker* const breaker = std::exchange(breaker_, nullptr)) [[likely]]
        breaker->core_.record_success(ticket_, latency, end_of(breaker, latency));
    }
    void failure(ErrorClass error_class, Duration latency = {}) {
      record({.failure = error_class, .latency = latency});
    }

   private:
    friend class CircuitBreaker;
    static constexpr SteadyTime unknown = SteadyTime::min();

    Permit(CircuitBreaker* breaker, BreakerTicket ticket, SteadyTime at) noexcept
        : breaker_(breaker), ticket_(ticket), at_(at) {}
    [[gnu::always_inline]] auto end_of(CircuitBreaker* breaker, Duration latency) const noexcept {
      return [breaker, latency, at = at_] {
        return at == unknown ? breaker->world_.steady_now() : saturating_add(at, latency);
      };
    }
    void drop() noexcept {
      if (breaker_ != nullptr) breaker_->core_.cancel(ticket_);
    }

    CircuitBreaker* breaker_;
    BreakerTicket ticket_;
    SteadyTime at_;
  };

  /// Throws std::invalid_argument for options that make no sense, naming the culprit. The runtime must outlive it.
  explicit CircuitBreaker(AnyRuntime world, Policy policy = Policy(), BreakerOptions options = {},
                          Observer observer = {})
      : core_(options, std::move(policy), seed_of(world, options.name), std::move(observer)), world_(world) {}

  /// A permit, or the error of the domain "guard" that says what turned the call away and when to try again. Used as a
  /// `Result<Permit>`, which it also converts to; the error is put into words when it is asked for.
  class Acquired {
   public:
    explicit operator bool() const noexcept { return has_value(); }
    bool has_value() const noexcept { return permit_.breaker_ != nullptr; }
    /// Only where there is a permit that was not recorded yet.
    Permit& operator*() & noexcept { return permit_; }
    Permit operator*() && noexcept { return std::move(permit_); }
    Permit* operator->() noexcept { return &permit_; }
    /// Only where there is none. Allocates nothing.
    Error error() const noexcept { return core_->error({permit_.ticket_, code_, permit_.at_ - SteadyTime()}); }
    operator Result<Permit>() && {  // NOLINT: it is one
      if (!has_value()) return error();
      return std::move(permit_);
    }

   private:
    friend class CircuitBreaker;
    [[gnu::always_inline]] Acquired(CircuitBreaker& breaker, const BreakerAdmission& admission,
                                    SteadyTime at) noexcept
        : permit_(admission.passes() ? &breaker : nullptr, admission.ticket,
                  admission.passes() ? at : SteadyTime(admission.retry_after)),
          code_(admission.code),
          core_(&breaker.core_) {}

    Permit permit_;
    rejection_errc code_;
    const Core* core_;
  };

  /// Lets a call pass, or turns it away.
  [[gnu::always_inline]] Acquired try_acquire(SteadyTime now) {
    return Acquired(*this, core_.admit_at([now] { return now; }), now);
  }
  /// The same, with a clock of its own: it is read where the breaker is not closed.
  [[gnu::always_inline]] Acquired try_acquire() {
    if constexpr (Policy::needs_time || Policy::always_asked)
      return try_acquire(world_.steady_now());
    else
      return Acquired(*this, core_.admit_at([this] { return world_.steady_now(); }), Permit::unknown);
  }

  /// Makes a call where it may pass, and records how it ended. Signature `void(Result<T>)`: the action's own, or the
  /// rejection. `f` is an `action` (operational/action.hpp) of T. Cancellation is passed on to the action. One allocation
  /// beside the action's own where the token is a coroutine's; two looks at the runtime's clock. For a fallback, retries
  /// and the rest see operational/pipeline.hpp.
  template <action F, class Token>
  auto call(F f, Token&& token) {
    return call(std::move(f), detail::JudgedByError(), std::forward<Token>(token));
  }
  /// The same, where `judge(const Result<T>&)` gives what to count: the `std::optional<ErrorClass>` of a failure. So a
  /// success that is none (a status of 503 in it) counts as one. It must not throw.
  template <action F, class Judge, class Token>
  auto call(F f, Judge judge, Token&& token) {
    using T = detail::action_value_t<F>;
    static_assert(std::is_invocable_r_v<std::optional<ErrorClass>, Judge&, const Result<T>&>,
                  "AURA: a judge takes the action's Result<T> and gives the std::optional<ErrorClass> of a failure");
    return boost::asio::async_initiate<Token, void(Result<T>)>(
        [this](auto handler, F held, Judge judging) {
          this->start_call(std::move(held), std::move(judging), std::move(handler));
        },
        token, std::move(f), std::move(judge));
  }

  // By hand.

  /// Nothing passes until `reset`.
  void force_open() { core_.force_open(world_.steady_now()); }
  /// Everything passes, and nothing is counted, until `reset`.
  void disable() { core_.disable(world_.steady_now()); }
  /// Closed, as if it were new.
  void reset() { core_.reset(world_.steady_now()); }

  BreakerState state() const noexcept { return core_.state(); }
  BreakerSnapshot snapshot() const { return core_.snapshot(); }
  BreakerEvidence evidence() const { return core_.evidence(); }
  void absorb(std::uint64_t peer, const BreakerEvidence& said)
    requires hears_peers<Policy>
  {
    core_.absorb(peer, said, world_.steady_now());
  }
  Core& core() noexcept { return core_; }
  const Core& core() const noexcept { return core_; }

 private:
  template <class F, class Judge, class Handler>
  void start_call(F f, Judge judge, Handler handler) {
    using T = detail::action_value_t<F>;
    const SteadyTime now = world_.steady_now();
    Acquired acquired = try_acquire(now);
    if (!acquired)
      return detail::PendingHandler<Result<T>>(std::move(handler), world_.executor()).answer(acquired.error());
    detail::start_breaker_call(world_, std::move(*acquired), std::move(f), std::move(judge), std::move(handler), now);
  }

  static std::uint64_t seed_of(const AnyRuntime& world, const std::string& name) {
    return world.random("circuit_breaker/" + name)();
  }

  Core core_;
  AnyRuntime world_;
};

}  // namespace aura
