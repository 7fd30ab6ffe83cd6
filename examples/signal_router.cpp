// How to put a router before a worker that cannot keep up: people's requests stay quick, bulk gets what is left, and what
// would be too late is refused while its sender can still do something else. In virtual time, so it prints the same always.
#include <aura/core/random.hpp>
#include <aura/operational/signal_router.hpp>
#include <aura/sim/runtime.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <fmt/core.h>

#include <chrono>
#include <cmath>
#include <cstdint>
#include <string>
#include <string_view>

namespace asio = boost::asio;
using namespace std::chrono_literals;

struct Request {
  aura::Duration work{};
};
using Signal = aura::Signal<Request>;

/// The worker: one request at a time, for as long as the request takes.
struct Worker {
  asio::awaitable<void> operator()(Signal& signal) const {
    co_await world.async_wait_for(signal.payload.work, asio::use_awaitable);
  }
  aura::AnyRuntime world;
};

/// Sends requests for ten seconds, at 1.3 times what the worker can do.
asio::awaitable<void> clients(aura::AnyRuntime world, aura::SignalRouter<Request>& router) {
  aura::Random dice = world.random("clients");
  const auto exponential = [&](aura::Duration mean) {
    return aura::Duration(
        static_cast<std::int64_t>(-std::log(1 - dice.uniform()) * static_cast<double>(mean.count())));
  };
  for (std::uint64_t i = 0; world.steady_now() < aura::SteadyTime(10s); ++i) {
    co_await world.async_wait_for(exponential(1400us), asio::use_awaitable);
    const bool person = dice.chance(0.2);
    Signal signal;
    signal.key = "session-" + std::to_string(dice.below(500));
    signal.class_index = person ? aura::DefaultClass::high : aura::DefaultClass::bulk;
    signal.deadline = world.steady_now() + (person ? 30ms : 500ms);
    signal.payload.work = exponential(person ? 300us : 2200us);
    signal.id = i;  // sent again after a lost answer, it would not be handled twice
    (void)router.post(std::move(signal));
  }
}

void print(std::string_view name, const aura::SignalClassStats& stats) {
  const auto ms = [](aura::Duration span) { return std::chrono::duration<double, std::milli>(span).count(); };
  fmt::print(
      "{:<5} {:>5} offered, {:>4} refused, {:>3} dropped, {:>5} handled ({} late); waited p50 {:.1f} ms, p99 {:.1f} "
      "ms\n",
      name, stats.offered, stats.refused_in_all(), stats.dropped_in_all(), stats.handled, stats.missed,
      ms(stats.wait_p50), ms(stats.wait_p99));
}

int main() {
  aura::sim::Runtime world({.seed = 7});  // in a service: an aura::AsioRuntime on its io_context
  aura::SignalRouterOptions options;
  options.parallel_max = 1;
  aura::SignalRouter<Request> router(world, options, Worker{world});

  asio::co_spawn(world, clients(world, router), asio::detached);
  world.run_until(aura::SteadyTime(10s));
  print("high", router.stats(aura::DefaultClass::high));
  print("bulk", router.stats(aura::DefaultClass::bulk));

  router.drain(world.steady_now() + 200ms, [&](const aura::Result<aura::SignalDrainReport>& report) {
    fmt::print("drained after {} ms, {} given back\n", (world.steady_now() - aura::SteadyTime(10s)) / 1ms,
               report->abandoned);
  });
  world.run();
}
