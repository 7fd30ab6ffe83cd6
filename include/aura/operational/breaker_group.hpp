// Circuit breakers by key: one for each endpoint, or each tenant.
#pragma once

#include <aura/operational/circuit_breaker.hpp>
#include <aura/operational/detail/pinned_table.hpp>

#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace aura {

struct BreakerGroupOptions {
  std::size_t keys_max = 1024;
  /// A closed breaker that nobody has used for so long makes room for another key.
  Duration idle_after = std::chrono::minutes(10);
};

/// The breakers of a group, made when their key first comes. There are at most `keys_max`; idle ones retire, and where
/// none is idle, all further keys share one breaker, `overflow()`: nothing is refused for want of room.
///
///     aura::BreakerGroup<aura::AdaptivePolicy> workers(runtime);
///     auto answer = co_await workers.call("worker-7", [&] { return infer(prompt); }, use_awaitable);
///
/// May be shared between threads; finding a breaker takes no lock. It must outlive its pins, permits and calls.
template <breaker_policy Policy, class Observer = NullObserver>
class BreakerGroup {
 public:
  using Breaker = CircuitBreaker<Policy, Observer>;
  using Options = BreakerGroupOptions;
  /// What a key's breaker is made with. Called under the group's lock; what it throws leaves the call that needed it.
  using MakePolicy = std::function<Policy(std::string_view key)>;

  /// A breaker that is not retired while this lives. Keep one where the key is known for long: then each call is spared
  /// the lookup.
  class Pin {
   public:
    Breaker& operator*() const noexcept { return overflow_ != nullptr ? *overflow_ : *pin_; }
    Breaker* operator->() const noexcept { return &**this; }

   private:
    friend class BreakerGroup;
    typename detail::PinnedTable<Breaker>::Pin pin_;
    Breaker* overflow_ = nullptr;
  };

  /// A permit that pins its breaker.
  class Permit {
   public:
    void record(const AttemptOutcome& outcome) { permit_.record(outcome); }
    void record(const AttemptOutcome& outcome, SteadyTime now) { permit_.record(outcome, now); }

   private:
    friend class BreakerGroup;
    Permit(Pin pin, typename Breaker::Permit permit) : pin_(std::move(pin)), permit_(std::move(permit)) {}
    Pin pin_;  // outlives the permit
    typename Breaker::Permit permit_;
  };

  /// Throws std::invalid_argument for `keys_max` of zero.
  explicit BreakerGroup(
      AnyRuntime world, Options options = {}, MakePolicy make = [](std::string_view) { return Policy(); },
      BreakerOptions breaker = {}, Observer observer = {})
      : world_(world),
        options_(checked(options)),
        make_(std::move(make)),
        breaker_options_(std::move(breaker)),
        observer_(std::move(observer)),
        overflow_(world, make_("overflow"), named("overflow"), observer_),
        table_(options.keys_max, world.random("breaker_group/" + breaker_options_.name)()) {}

  /// The key's breaker.
  Pin find(std::string_view key, SteadyTime now) {
    Pin pin;
    pin.pin_ = table_.find_or_make(
        key, now, options_.idle_after,
        [&](std::optional<Breaker>& place) { place.emplace(world_, make_(key), named(key), observer_); }, retires);
    if (!pin.pin_) pin.overflow_ = &overflow_;
    return pin;
  }
  Result<Permit> try_acquire(std::string_view key, SteadyTime now) {
    Pin pin = find(key, now);
    auto acquired = pin->try_acquire(now);
    if (!acquired) return acquired.error();
    return Permit(std::move(pin), *std::move(acquired));
  }

  /// As `CircuitBreaker::call`, by the key's breaker.
  template <action F, class Token>
  auto call(std::string_view key, F f, Token&& token) {
    return call(key, std::move(f), detail::JudgedByError(), std::forward<Token>(token));
  }
  template <action F, class Judge, class Token>
  auto call(std::string_view key, F f, Judge judge, Token&& token) {
    using T = detail::action_value_t<F>;
    return boost::asio::async_initiate<Token, void(Result<T>)>(
        [this](auto handler, std::string of, F held, Judge judging) {
          const SteadyTime now = world_.steady_now();
          Result<Permit> permit = this->try_acquire(of, now);
          if (!permit)
            detail::PendingHandler<Result<T>>(std::move(handler), world_.executor()).answer(permit.error());
          else
            detail::start_breaker_call(world_, std::move(*permit), std::move(held), std::move(judging),
                                       std::move(handler), now);
        },
        token, std::string(key), std::move(f), std::move(judge));
  }

  /// A `guard` for one key: for a saga's step, a pipeline.
  class KeyGuard {
   public:
    Result<Permit> try_acquire(SteadyTime now) const { return group_->try_acquire(key_, now); }

   private:
    friend class BreakerGroup;
    KeyGuard(BreakerGroup& group, std::string_view key) : group_(&group), key_(key) {}
    BreakerGroup* group_;
    std::string key_;
  };
  KeyGuard guard(std::string_view key) { return KeyGuard(*this, key); }

  /// Retires every breaker that is idle now. How many. Takes the lock and looks at each.
  std::size_t retire_idle(SteadyTime now) { return table_.retire_idle(now, options_.idle_after, retires); }
  std::size_t size() const { return table_.size(); }
  Breaker& overflow() noexcept { return overflow_; }
  /// `f(key, breaker)` of each, under the lock: `f` must not find one here.
  template <class F>
  void for_each(F f) const {
    table_.for_each(std::move(f));
  }

 private:
  static Options checked(const Options& options) {
    if (options.keys_max == 0 || options.keys_max > std::size_t{1} << 24)
      throw std::invalid_argument("BreakerGroup: keys_max must lie in [1, 16777216]");
    return options;
  }
  static bool retires(Breaker& breaker) noexcept { return breaker.state() == BreakerState::closed; }
  BreakerOptions named(std::string_view key) const {
    BreakerOptions options = breaker_options_;
    options.name += "/" + std::string(key);
    return options;
  }

  AnyRuntime world_;
  Options options_;
  MakePolicy make_;
  BreakerOptions breaker_options_;
  [[no_unique_address]] Observer observer_;
  Breaker overflow_;
  detail::PinnedTable<Breaker> table_;
};

}  // namespace aura
