// A circuit breaker before a payment provider that breaks down for a minute: in virtual time, so it takes no time.
#include <aura/operational/breaker/adaptive_policy.hpp>
#include <aura/operational/circuit_breaker.hpp>
#include <aura/sim/runtime.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <fmt/core.h>

#include <chrono>
#include <string>
#include <utility>

namespace asio = boost::asio;
using namespace std::chrono_literals;

/// Tells of every change of state.
struct Teller {
  void operator()(const aura::BreakerChanged& change) const {
    fmt::print("{:6.2f} s  {}: {} -> {} ({})\n", std::chrono::duration<double>(change.at.time_since_epoch()).count(),
               change.name, to_string(change.from), to_string(change.to), change.why);
  }
};
using Breaker = aura::CircuitBreaker<aura::AdaptivePolicy, Teller>;

/// What is guarded. In a service this is a client's call; what it throws or returns as an Error is a failure.
struct Provider {
  aura::AnyRuntime world;

  asio::awaitable<aura::Result<std::string>> charge(int order) {
    co_await world.async_wait_for(20ms, asio::use_awaitable);
    const auto since_start = world.steady_now().time_since_epoch();
    if (since_start > 30s && since_start < 90s)
      co_return aura::Error("provider", 503, aura::ErrorClass::transient, "the provider is down");
    co_return fmt::format("receipt-{}", order);
  }
};

asio::awaitable<void> serve(aura::AnyRuntime world, Breaker& breaker, Provider& provider) {
  int charged = 0, failed = 0, rejected = 0;
  for (int order = 1; order <= 6000; ++order) {
    aura::Result<std::string> receipt =
        co_await breaker.call([&] { return provider.charge(order); }, asio::use_awaitable);
    if (receipt)
      ++charged;
    else if (receipt.error().error_class() == aura::ErrorClass::rejected)
      ++rejected;  // at once, and receipt.error().retry_after() says when it is worth another try
    else
      ++failed;
    co_await world.async_wait_for(30ms, asio::use_awaitable);
  }
  fmt::print("{} charged, {} failed, {} rejected without bothering the provider\n", charged, failed, rejected);
}

int main() {
  aura::sim::Runtime world({.seed = 1});  // in a service: aura::AsioRuntime world(context.get_executor(), ...)
  Provider provider{world};

  // Open when a tenth of the calls fail and a hundredth is normal; falsely no more than once a day at 20 calls a second.
  aura::AdaptivePolicy policy({.failing_rate = 0.1, .healthy_rate = 0.01, .calls_per_second = 20});
  Breaker breaker(world, std::move(policy), {.name = "payments"});

  asio::co_spawn(world, serve(world, breaker, provider), asio::detached);
  world.run();
}
