// The breaker in its runtime: permits, calls, and what the hot path must not do.
#include "operational/allocations.hpp"
#include "support/catch.hpp"

#include <aura/operational/breaker/adaptive_policy.hpp>
#include <aura/operational/breaker/adaptive_throttle.hpp>
#include <aura/operational/breaker/all_of.hpp>
#include <aura/operational/breaker/consecutive_failures.hpp>
#include <aura/operational/breaker/failure_rate.hpp>
#include <aura/operational/breaker/gradient_limit.hpp>
#include <aura/operational/circuit_breaker.hpp>
#include <aura/sim/runtime.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <chrono>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;
using aura::BreakerState;
using aura::CircuitBreaker;
using aura::ConsecutiveFailures;
using aura::ErrorClass;
using aura::Result;
using aura::SteadyTime;
using Breaker = CircuitBreaker<ConsecutiveFailures>;

static_assert(aura::guard<Breaker>);
static_assert(aura::guard<CircuitBreaker<aura::AdaptivePolicy>>);
static_assert(aura::guard<CircuitBreaker<aura::AllOf<aura::AdaptivePolicy, aura::GradientLimit>>>);

// Near misses of a policy.
struct Silent : aura::OpensOnly {  // gives no verdict
  void record(const aura::CallResult&, auto&&) {}
  void reset(SteadyTime) {}
  aura::PolicyView view() const { return {}; }
};
struct Unknowing {  // does not say what it needs
  aura::Admission admit(SteadyTime, std::uint32_t, aura::detail::SharedRandom&) { return {}; }
  aura::Verdict record(const aura::CallResult&, auto&&) { return {}; }
  void cancel() {}
  void reset(SteadyTime) {}
  aura::PolicyView view() const { return {}; }
};
static_assert(aura::breaker_policy<ConsecutiveFailures> && !aura::breaker_policy<Silent> &&
              !aura::breaker_policy<Unknowing> && !aura::breaker_policy<int>);

aura::BreakerOptions named(std::string name) {
  aura::RecoveryOptions recovery = aura::RecoveryOptions::single(1);
  recovery.open_for = 10s;
  recovery.jitter = 0;
  return {.name = std::move(name), .recovery = recovery};
}

/// How a call ended.
template <class T>
struct Ending {
  std::optional<Result<T>> result;
  auto handler() {
    return [this](Result<T> ended) {
      REQUIRE_FALSE(result);
      result.emplace(std::move(ended));
    };
  }
};

struct World {
  aura::sim::Runtime runtime;
  Breaker breaker{runtime, ConsecutiveFailures({.failures = 2}), named("payments")};

  void open() {
    for (int i = 0; i < 2; ++i) breaker.try_acquire()->failure(ErrorClass::transient);
    REQUIRE(breaker.state() == BreakerState::open);
  }
};

}  // namespace

TEST_CASE("a permit that is dropped counts as cancelled and frees its probe, however it goes") {
  World world;
  world.open();
  world.runtime.run_for(10s);
  {
    auto dropped = world.breaker.try_acquire();
    REQUIRE(dropped.has_value());
    REQUIRE_FALSE(world.breaker.try_acquire());
  }
  {
    auto first = world.breaker.try_acquire();
    Breaker::Permit moved = *std::move(first);
    Breaker::Permit again(std::move(moved));
    REQUIRE_FALSE(world.breaker.try_acquire());
    REQUIRE(world.breaker.snapshot().probes_in_flight == 1);
  }
  REQUIRE(world.breaker.snapshot().probes_in_flight == 0);
  {
    Result<Breaker::Permit> as_result = world.breaker.try_acquire();
    as_result->success();
    as_result->success();  // the first counts
  }
  REQUIRE(world.breaker.snapshot().probes_in_flight == 0);
  Result<Breaker::Permit> other = world.breaker.try_acquire();
  Result<Breaker::Permit> refused = world.breaker.try_acquire();
  REQUIRE(refused.error().is(aura::rejection_errc::breaker_half_open));
}

TEST_CASE("a call gives the action's own result, in every style of an action") {
  World world;
  Ending<int> plain, coroutine, initiated;
  Ending<void> nothing;
  world.breaker.call([] { return 1; }, plain.handler());
  world.breaker.call(
      [&]() -> asio::awaitable<Result<int>> {
        co_await world.runtime.async_wait_for(1s, asio::use_awaitable);
        co_return 2;
      },
      coroutine.handler());
  world.breaker.call(aura::initiation<int>([](auto handler) { handler(3); }), initiated.handler());
  world.breaker.call([] {}, nothing.handler());
  REQUIRE_FALSE((plain.result || initiated.result || nothing.result));  // never inside the initiation
  world.runtime.run();
  REQUIRE(plain.result->value() == 1);
  REQUIRE(coroutine.result->value() == 2);
  REQUIRE(initiated.result->value() == 3);
  REQUIRE(nothing.result->has_value());
}

TEST_CASE(
    "failures, exceptions and what a judge calls a failure open it; then calls are rejected without the action") {
  const auto opens = [](auto call) {
    World world;
    int ran = 0;
    for (int i = 0; i < 2; ++i) call(world, ran);
    world.runtime.run();
    REQUIRE(world.breaker.state() == BreakerState::open);
    Ending<int> rejected;
    world.breaker.call([&] { return ++ran; }, rejected.handler());
    REQUIRE_FALSE(rejected.result);
    world.runtime.run();
    REQUIRE(rejected.result->error().is(aura::rejection_errc::breaker_open));
    REQUIRE(rejected.result->error().retry_after() == 10s);
    REQUIRE(ran == 2);
  };
  opens([](World& world, int& ran) {
    world.breaker.call([&ran]() -> Result<int> { return ++ran, aura::Error("test", 1, ErrorClass::timeout, "late"); },
                       [](Result<int> result) { REQUIRE(result.error().message() == "late"); });
  });
  opens([](World& world, int& ran) {
    world.breaker.call(
        [&ran]() -> int {
          ++ran;
          throw std::runtime_error("broken");
        },
        [](Result<int> result) { REQUIRE(result.error().message() == "the action threw: broken"); });
  });
  opens([](World& world, int& ran) {
    world.breaker.call([&ran] { return ++ran, 503; },
                       [](const Result<int>& status) -> std::optional<ErrorClass> {
                         return status && *status < 500 ? std::nullopt : std::optional(ErrorClass::rejected);
                       },
                       [](Result<int> result) { REQUIRE(result.value() == 503); });
  });
}

TEST_CASE("a call is timed by the runtime, so what is slow is known") {
  aura::sim::Runtime runtime;
  aura::BreakerOptions options = named("search");
  options.classification.slow_after = 2s;
  CircuitBreaker<aura::FailureRate> breaker(
      runtime, aura::FailureRate({.window = 4, .calls_min = 4, .failure_rate = 0.5, .slow_rate = 0.5}), options);
  for (const auto span : {1s, 3s, 1s, 2s})
    breaker.call(
        [&runtime, span]() -> asio::awaitable<void> { co_await runtime.async_wait_for(span, asio::use_awaitable); },
        [](Result<void>) {});
  runtime.run();
  REQUIRE(breaker.state() == BreakerState::open);
  REQUIRE(breaker.snapshot().openings == 1);
}

TEST_CASE("a cancelled call cancels the action, and frees its probe") {
  World world;
  world.open();
  world.runtime.run_for(10s);
  asio::cancellation_signal stop;
  Ending<void> ended;
  bool cancelled = false;
  world.breaker.call(
      [&]() -> asio::awaitable<void> {
        try {
          co_await world.runtime.async_wait_until(SteadyTime::max(), asio::use_awaitable);
        } catch (const boost::system::system_error&) {
          cancelled = true;
          throw;
        }
      },
      asio::bind_cancellation_slot(stop.slot(), ended.handler()));
  world.runtime.run();
  REQUIRE_FALSE(ended.result);
  REQUIRE(world.breaker.snapshot().probes_in_flight == 1);
  stop.emit(asio::cancellation_type::terminal);
  world.runtime.run();
  REQUIRE(cancelled);
  REQUIRE(ended.result->error().error_class() == ErrorClass::cancelled);
  REQUIRE(world.breaker.snapshot().probes_in_flight == 0);
  REQUIRE(world.breaker.state() == BreakerState::half_open);
}

TEST_CASE("a call that is destroyed with its world gives its permit back") {
  aura::sim::Runtime outer;
  Breaker breaker(outer, ConsecutiveFailures({.failures = 1}), named("payments"));
  breaker.try_acquire()->failure(ErrorClass::transient);
  outer.run_for(10s);
  {
    aura::sim::Runtime inner;
    asio::co_spawn(
        inner,
        [&]() -> asio::awaitable<void> {
          auto permit = breaker.try_acquire();
          co_await inner.async_wait_until(SteadyTime::max(), asio::use_awaitable);
          permit->success();
        },
        asio::detached);
    inner.run();
    REQUIRE(breaker.snapshot().probes_in_flight == 1);
  }
  REQUIRE(breaker.snapshot().probes_in_flight == 0);
}

TEST_CASE("no call allocates: neither where it passes, nor where it fails or is rejected") {
  aura::sim::Runtime runtime;
  const auto run = [&](auto policy) {
    CircuitBreaker<decltype(policy)> breaker(runtime, std::move(policy), named("payments"));
    SteadyTime now{1s};
    const auto once = [&](int i) {
      now += 1ms;
      auto permit = breaker.try_acquire(now);
      if (!permit) {
        const aura::Error error = permit.error();
        REQUIRE_FALSE(error.message().empty());
      } else if (i % 1000 >= 900) {
        permit->failure(ErrorClass::timeout, 5ms);
      } else {
        permit->success(1ms);
      }
    };
    for (int i = 0; i < 2000; ++i) once(i);
    // The test's own assertions allocate, so what is counted are calls without one.
    const std::uint64_t before = allocations_here();
    for (int i = 0; i < 20'000; ++i) {
      now += 1ms;
      if (auto permit = breaker.try_acquire(now))
        i % 1000 >= 900 ? permit->failure(ErrorClass::timeout, 5ms) : permit->success(1ms);
      else if (permit.error().retry_after() < aura::Duration::zero())
        FAIL("a time that is past");
    }
    const std::uint64_t made = allocations_here() - before;
    REQUIRE(made == 0);
  };
  run(ConsecutiveFailures());
  run(aura::FailureRate());
  run(aura::AdaptiveThrottle());
  run(aura::GradientLimit());
  run(aura::AdaptivePolicy({.failing_rate = 0.2, .healthy_rate = 0.02}));
}

TEST_CASE("breakers tell each other what they know, and what is heard never opens one") {
  aura::sim::Runtime runtime;
  const aura::AdaptivePolicyOptions options{.failing_rate = 0.2, .healthy_rate = 0.02};
  CircuitBreaker<aura::AdaptivePolicy> ill(runtime, aura::AdaptivePolicy(options), named("a"));
  CircuitBreaker<aura::AdaptivePolicy> listener(runtime, aura::AdaptivePolicy(options), named("b"));
  CircuitBreaker<aura::AdaptivePolicy> alone(runtime, aura::AdaptivePolicy(options), named("c"));
  const auto failures_to_open = [](auto& breaker) {
    int count = 0;
    while (breaker.state() == BreakerState::closed && count < 1000) {
      breaker.try_acquire()->failure(ErrorClass::timeout);
      ++count;
    }
    return count;
  };
  REQUIRE(ill.evidence().evidence == 0);
  failures_to_open(ill);
  REQUIRE(ill.evidence().verdict == BreakerState::open);
  REQUIRE(ill.evidence().evidence == 1);
  for (std::uint64_t peer = 0; peer < 100; ++peer) listener.absorb(peer, ill.evidence());
  for (int i = 0; i < 1000; ++i) listener.try_acquire()->success();
  REQUIRE(listener.state() == BreakerState::closed);
  const int quick = failures_to_open(listener);
  const int slow = failures_to_open(alone);
  REQUIRE(quick > 1);
  REQUIRE(quick < slow);
}
