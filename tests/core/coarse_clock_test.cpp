// The coarse clock.
#include "support/catch.hpp"

#include <aura/core/coarse_clock.hpp>
#include <aura/sim/runtime.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/error.hpp>

#include <chrono>
#include <optional>

namespace {
using namespace std::chrono_literals;
using aura::SteadyTime;
}  // namespace

TEST_CASE("a coarse clock is behind by no more than its resolution, never goes back, and stops when it is told to") {
  aura::sim::Runtime world;
  aura::CoarseClock clock(world, 10ms);
  boost::asio::cancellation_signal stop;
  std::optional<boost::system::error_code> ended;
  clock.async_run(
      boost::asio::bind_cancellation_slot(stop.slot(), [&](boost::system::error_code error) { ended = error; }));
  SteadyTime before = clock.now();
  for (int i = 0; i < 1000; ++i) {
    world.run_for(3ms);
    REQUIRE(clock.now() >= before);
    REQUIRE(clock.now() <= world.steady_now());
    REQUIRE(world.steady_now() - clock.now() <= 10ms);
    before = clock.now();
  }
  REQUIRE(before > SteadyTime(2900ms));
  REQUIRE_FALSE(ended);
  stop.emit(boost::asio::cancellation_type::total);
  world.run();
  REQUIRE(ended == boost::asio::error::operation_aborted);
  REQUIRE(world.pending() == 0);
}

TEST_CASE("a coarse clock can be moved by a loop of the host's own") {
  aura::sim::Runtime world;
  aura::CoarseClock clock(world);
  world.run_for(5s);
  REQUIRE(clock.now() == SteadyTime());
  clock.refresh();
  REQUIRE(clock.now() == SteadyTime(5s));
}
