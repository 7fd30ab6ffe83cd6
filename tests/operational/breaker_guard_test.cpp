// The breaker where other parts use it: before a saga's step, and in a pipeline.
#include "support/catch.hpp"

#include <aura/durable/memory_journal.hpp>
#include <aura/durable/saga.hpp>
#include <aura/durable/saga_runner.hpp>
#include <aura/operational/breaker/consecutive_failures.hpp>
#include <aura/operational/breaker_group.hpp>
#include <aura/operational/pipeline.hpp>
#include <aura/sim/runtime.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <chrono>
#include <optional>

namespace {

using namespace std::chrono_literals;
using aura::BreakerState;
using aura::ErrorClass;
using aura::Result;
using aura::SteadyTime;
using Breaker = aura::CircuitBreaker<aura::ConsecutiveFailures>;

aura::BreakerOptions options() {
  aura::RecoveryOptions recovery = aura::RecoveryOptions::single(1);
  recovery.open_for = 10s;
  recovery.jitter = 0;
  return {.name = "payments", .recovery = recovery};
}

}  // namespace

TEST_CASE("a saga's step waits for an open breaker, and burns no attempt") {
  aura::sim::Runtime world;
  aura::MemoryJournal journal(world);
  Breaker breaker(world, aura::ConsecutiveFailures({.failures = 1}), options());
  breaker.try_acquire()->failure(ErrorClass::transient);
  REQUIRE(breaker.state() == BreakerState::open);

  std::optional<SteadyTime> charged_at;
  std::uint32_t attempt = 0;
  const auto charge = [&](const int& amount, aura::StepContext& step) {
    charged_at = world.steady_now();
    attempt = step.attempt();
    return amount;
  };
  aura::Saga saga{"order", aura::version{1},
                  aura::step<"charge">(charge).pure().retry(aura::RetryPolicy::none()).guard_by(breaker)};
  aura::SagaRunner runner{world, journal, {.holder = aura::HolderId{"shop"}}};
  runner.add(saga).value();
  runner.recover([](Result<aura::SagaRecovery> recovered) { recovered.value(); });
  world.run_for(1ms);
  std::optional<aura::RunOutcome> outcome;
  runner.run(saga, aura::RunId{"order-17"}, 5, [&](const auto& report) { outcome = report.value().outcome; });
  world.run_for(9s);
  REQUIRE_FALSE(outcome);
  world.run_for(60s);
  REQUIRE(outcome == aura::RunOutcome::completed);
  REQUIRE(attempt == 1);
  REQUIRE(*charged_at >= SteadyTime(10s));
  REQUIRE(breaker.state() == BreakerState::half_open);
  REQUIRE(breaker.snapshot().probes_in_flight == 0);
  runner.drain(1s, [](Result<void>) {});
  world.run_for(10s);
}

TEST_CASE("in a pipeline the breaker hears of the dependency alone: a full bulkhead is none of its failures") {
  aura::sim::Runtime world;
  Breaker breaker(world, aura::ConsecutiveFailures({.failures = 2}), options());
  aura::Bulkhead bulkhead(world, {.concurrency_max = 1});
  aura::Pipeline pipeline(world, breaker, bulkhead, aura::Timeout{1s});
  const auto answers_after = [&world](aura::Duration span) {
    return [&world, span]() -> boost::asio::awaitable<int> {
      co_await world.async_wait_for(span, boost::asio::use_awaitable);
      co_return 1;
    };
  };
  int full = 0, ok = 0, late = 0;
  const auto heard = [&](const Result<int>& answer) {
    if (answer)
      ++ok;
    else if (answer.error().is(aura::rejection_errc::bulkhead_full))
      ++full;
    else if (answer.error().error_class() == ErrorClass::timeout)
      ++late;
  };
  pipeline.call(answers_after(500ms), heard);
  for (int i = 0; i < 10; ++i) pipeline.call(answers_after(1ms), heard);
  world.run();
  REQUIRE(full == 10);
  REQUIRE(ok == 1);
  REQUIRE(breaker.state() == BreakerState::closed);

  for (int i = 0; i < 2; ++i) {
    pipeline.call(answers_after(1h), heard);
    world.run();
  }
  REQUIRE(late == 2);
  REQUIRE(breaker.state() == BreakerState::open);
}

TEST_CASE("a key of a group guards as its breaker does") {
  aura::sim::Runtime world;
  aura::BreakerGroup<aura::ConsecutiveFailures> group(
      world, {}, [](std::string_view) { return aura::ConsecutiveFailures({.failures = 1}); }, options());
  aura::Pipeline pipeline(world, group.guard("a"));
  std::optional<Result<void>> first, second;
  pipeline.call([]() -> Result<void> { return aura::Error("test", 1, ErrorClass::transient, "no"); },
                [&](Result<void> answer) { first = std::move(answer); });
  world.run();
  pipeline.call([] {}, [&](Result<void> answer) { second = std::move(answer); });
  world.run();
  REQUIRE(first->error().message() == "no");
  REQUIRE(second->error().message() == "the circuit breaker of payments/a is open");
  std::optional<Result<int>> other;
  group.call(
      "b", [] { return 7; }, [&](Result<int> answer) { other = std::move(answer); });
  world.run();
  REQUIRE(other->value() == 7);
}
