// How to call a dependency that is slow, flaky and limited: a pipeline of retry, rate limiter, bulkhead, timeout and
// fallback, and a game day that breaks the dependency on purpose. Virtual time, so it takes no time to watch.
#include <aura/operational/pipeline.hpp>
#include <aura/sim/runtime.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <fmt/core.h>

#include <chrono>
#include <string>

namespace asio = boost::asio;
using namespace std::chrono_literals;

/// In a service this asks another one; it may return a value, an aura::Result, or an awaitable of either.
asio::awaitable<aura::Result<int>> ask_price(aura::AnyRuntime world, std::string item) {
  co_await world.async_wait_for(item == "piano" ? 3s : 20ms, asio::use_awaitable);
  if (item == "unicorn") co_return aura::Error("shop", 404, aura::ErrorClass::permanent, "there is no such item");
  co_return static_cast<int>(item.size()) * 1000;
}

asio::awaitable<void> shop(aura::AnyRuntime world) {
  // One of each for the dependency; they may be shared by several pipelines and by many threads.
  aura::RateLimiter limiter(world, {.permits = 50, .period = 1s, .burst = 5, .queue_max = 100, .wait_max = 1s});
  aura::Bulkhead bulkhead(world, {.concurrency_max = 10, .queue_max = 20, .wait_max = 500ms});
  aura::FaultInjection faults(world, {.error_probability = 0.4});

  const auto list_price = [](const aura::Error& error) {
    fmt::print("  {}: the list price\n", error.message());
    return 9900;
  };
  const auto not_its_fault = [](const aura::Error& error) {
    return error.error_class() != aura::ErrorClass::permanent;
  };
  // Outermost first. An aura::CircuitBreaker, or any guard of yours, stands between limiter and bulkhead.
  aura::Pipeline pipeline(world, aura::Fallback(list_price).when(not_its_fault),
                          aura::Retry({.attempts_max = 3, .base = 50ms}), limiter, bulkhead, aura::Timeout{500ms},
                          faults);

  const auto price = [&](std::string item) -> asio::awaitable<void> {
    const aura::SteadyTime begun = world.steady_now();
    auto action = [world, item] { return ask_price(world, item); };
    aura::Result<int> cents = co_await pipeline.call(action, asio::use_awaitable);
    const auto ms = (world.steady_now() - begun) / 1ms;
    if (cents)
      fmt::print("{}: {} cents, after {} ms\n", item, *cents, ms);
    else
      fmt::print("{}: {}, after {} ms\n", item, to_string(cents.error()), ms);
  };

  for (const char* item : {"violin", "piano", "unicorn"}) co_await price(item);

  fmt::print("game day\n");
  faults.switch_on();
  for (const char* item : {"violin", "flute", "violin", "flute"}) co_await price(item);
  fmt::print("{} faults injected\n", faults.faults());

  aura::Result<void> drained = co_await pipeline.drain(1s, asio::use_awaitable);
  drained.value();
}

int main() {
  aura::sim::Runtime world({.seed = 4});  // in a service: an aura::AsioRuntime on its own io_context
  asio::co_spawn(world, shop(world), [](std::exception_ptr fault) {
    if (fault) std::rethrow_exception(fault);
  });
  world.run();
}
