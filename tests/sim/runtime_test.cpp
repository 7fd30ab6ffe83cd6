#include "support/catch.hpp"

#include <aura/sim/runtime.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <algorithm>
#include <memory>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;
using aura::AnyRuntime;
using aura::Duration;
using aura::SteadyTime;
using aura::WallTime;
using aura::sim::Order;
using aura::sim::Runtime;
using boost::system::error_code;

constexpr SteadyTime at(Duration since_start) { return SteadyTime(since_start); }

asio::awaitable<void> tick(AnyRuntime world, Duration every, int times, std::string name,
                           std::vector<std::string>& log) {
  for (int i = 0; i < times; ++i) {
    co_await world.async_wait_for(every, asio::use_awaitable);
    log.push_back(name);
  }
}

/// Coroutines, strands, timers that meet at one instant, blocking jobs and a cancellation.
std::vector<std::string> scenario(Runtime& world) {
  std::vector<std::string> log;
  asio::cancellation_signal signal;
  world.set_blocking_latency([](aura::Random& dice) { return Duration(dice.below(1000)); });
  for (const char* name : {"a", "b", "c"}) asio::co_spawn(world, tick(world, 1s, 5, name, log), asio::detached);
  asio::co_spawn(asio::make_strand(world), tick(world, 2s, 3, "strand", log), asio::detached);
  for (const char* name : {"p", "q"}) asio::post(world.blocking_executor(), [&log, name] { log.push_back(name); });
  world.async_wait_for(3s, asio::bind_cancellation_slot(signal.slot(), [&log](error_code error) {
                         log.push_back(error ? "cancelled" : "done");
                       }));
  world.async_wait_for(1500ms, [&signal](error_code) { signal.emit(asio::cancellation_type::terminal); });
  world.run();
  return log;
}

std::string order_of_posts(const Runtime::Options& options, int count) {
  Runtime world(options);
  std::string order;
  for (int i = 0; i < count; ++i) asio::post(world, [&order, i] { order += static_cast<char>('a' + i); });
  world.run();
  return order;
}

}  // namespace

TEST_CASE("waiting ten hours takes two events") {
  Runtime world;
  asio::co_spawn(
      world, [&world]() -> asio::awaitable<void> { co_await world.async_wait_for(10h, asio::use_awaitable); },
      asio::detached);
  REQUIRE(world.run() == 2);  // the coroutine's start, and its timer
  REQUIRE(world.steady_now() == at(10h));
  REQUIRE(world.wall_now() == Runtime::Options{}.wall_start + 10h);
}

TEST_CASE("the same seed gives the same order of everything, and another seed another") {
  std::set<std::uint64_t> digests;
  std::set<std::vector<std::string>> logs;
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    Runtime first({.seed = seed}), second({.seed = seed});
    const auto log = scenario(first);
    REQUIRE(scenario(second) == log);
    REQUIRE(first.digest() == second.digest());
    REQUIRE(first.steps() == second.steps());
    digests.insert(first.digest());
    logs.insert(log);
  }
  REQUIRE(digests.size() == 20);
  REQUIRE(logs.size() > 15);
}

TEST_CASE("the order of events of a seed stays as it was kept") {
  // These constants change only with the runtime's own order, which would also change every kept failing seed: a
  // change to them belongs in the change log.
  Runtime seeded({.seed = 42});
  scenario(seeded);
  CHECK(seeded.digest() == 0x3896c56245edd2aau);
  Runtime plain({.seed = 42, .order = Order::fifo});
  scenario(plain);
  CHECK(plain.digest() == 0xff6df895c819787au);
}

TEST_CASE("seeds reach every order of three events that are ready at once") {
  std::set<std::string> orders;
  for (std::uint64_t seed = 1; seed <= 60; ++seed) orders.insert(order_of_posts({.seed = seed}, 3));
  REQUIRE(orders.size() == 6);
}

TEST_CASE("in fifo order events run as they became ready") {
  for (std::uint64_t seed = 1; seed <= 5; ++seed)
    REQUIRE(order_of_posts({.seed = seed, .order = Order::fifo}, 8) == "abcdefgh");
}

TEST_CASE("a strand keeps its order whatever the seed, and two strands interleave") {
  std::set<std::string> interleavings;
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    Runtime world({.seed = seed});
    auto one = asio::make_strand(world), two = asio::make_strand(world);
    std::string order;
    world.async_wait_until(at(1s), [&](error_code) {
      for (const char c : std::string("abc")) asio::post(one, [&order, c] { order += c; });
    });
    world.async_wait_until(at(1s), [&](error_code) {
      for (const char c : std::string("xyz")) asio::post(two, [&order, c] { order += c; });
    });
    world.run();
    interleavings.insert(order);
    std::string ones = order, twos = order;
    std::erase_if(ones, [](char c) { return c >= 'x'; });
    std::erase_if(twos, [](char c) { return c < 'x'; });
    REQUIRE(ones == "abc");
    REQUIRE(twos == "xyz");
  }
  REQUIRE(interleavings.size() > 1);
}

TEST_CASE("timers fire in the order of their times, never early") {
  Runtime world({.seed = 3});
  aura::Random dice(9);
  std::vector<Duration> fired;
  for (int i = 0; i < 1000; ++i) {
    const Duration due(dice.below(500));
    world.async_wait_until(at(due), [&, due](error_code error) {
      REQUIRE_FALSE(error);
      REQUIRE(world.steady_now() == at(due));
      fired.push_back(due);
    });
  }
  world.run();
  REQUIRE(fired.size() == 1000);
  REQUIRE(std::is_sorted(fired.begin(), fired.end()));
}

TEST_CASE("a wait never completes inside its own initiation, not even one that is overdue") {
  Runtime world;
  world.advance(1h);
  bool done = false;
  world.async_wait_until(at(1min), [&](error_code error) { done = !error; });
  REQUIRE_FALSE(done);
  REQUIRE(world.run() == 1);
  REQUIRE(done);
  REQUIRE(world.steady_now() == at(1h));
}

TEST_CASE("a wait for never keeps no run going, and can be cancelled") {
  Runtime world;
  asio::cancellation_signal signal;
  std::optional<error_code> result;
  world.async_wait_until(SteadyTime::max(),
                         asio::bind_cancellation_slot(signal.slot(), [&](error_code error) { result = error; }));
  REQUIRE(world.run() == 0);
  REQUIRE(world.pending() == 1);
  REQUIRE(world.steady_now() == SteadyTime{});
  signal.emit(asio::cancellation_type::total);
  world.run();
  REQUIRE(result == asio::error::operation_aborted);
}

TEST_CASE("a cancelled wait ends with operation_aborted, at once and not inside the signal") {
  for (const auto type :
       {asio::cancellation_type::terminal, asio::cancellation_type::partial, asio::cancellation_type::total}) {
    Runtime world;
    asio::cancellation_signal signal;
    std::optional<error_code> result;
    world.async_wait_for(1h, asio::bind_cancellation_slot(signal.slot(), [&](error_code error) { result = error; }));
    world.run_for(1min);
    signal.emit(type);
    REQUIRE_FALSE(result);
    world.run();
    REQUIRE(result == asio::error::operation_aborted);
    REQUIRE(world.steady_now() == at(1min));
    signal.emit(type);  // too late, and harmless
    REQUIRE(world.run() == 0);
  }
}

TEST_CASE("a signal that comes when the timer has fired changes nothing") {
  Runtime world({.order = Order::fifo});
  asio::cancellation_signal signal;
  std::optional<error_code> result;
  world.async_wait_until(at(1s), [&](error_code) { signal.emit(asio::cancellation_type::terminal); });
  world.async_wait_until(at(1s),
                         asio::bind_cancellation_slot(signal.slot(), [&](error_code error) { result = error; }));
  world.run();
  REQUIRE(result == error_code{});
}

TEST_CASE("a signal may die before the wait it belonged to, and the other way round") {
  Runtime world;
  auto signal = std::make_unique<asio::cancellation_signal>();
  bool done = false;
  world.async_wait_for(1s, asio::bind_cancellation_slot(signal->slot(), [&](error_code error) { done = !error; }));
  signal.reset();
  world.run();
  REQUIRE(done);

  asio::cancellation_signal survivor;
  {
    Runtime doomed;
    doomed.async_wait_for(1s, asio::bind_cancellation_slot(survivor.slot(), [](error_code) { FAIL("ran"); }));
  }
  survivor.emit(asio::cancellation_type::terminal);
}

TEST_CASE("cancelled waits leave nothing behind") {
  Runtime world({.pending_max = 10});  // a leak of waits would soon reach the bound
  long live = 0;
  struct Held {
    explicit Held(long& count) : count_(&count) { ++*count_; }
    Held(Held&& other) noexcept : count_(other.count_) { ++*count_; }
    ~Held() { --*count_; }
    long* count_;
  };
  for (int i = 0; i < 10'000; ++i) {
    asio::cancellation_signal signal;
    world.async_wait_for(10h, asio::bind_cancellation_slot(signal.slot(), [held = Held(live)](error_code) {}));
    signal.emit(asio::cancellation_type::terminal);
    world.run_for(1ns);
    REQUIRE(live == 0);
    REQUIRE(world.pending() == 0);
  }
}

TEST_CASE("a handler runs on its own executor") {
  Runtime world, other;
  bool here = false, there = false;
  auto strand = asio::make_strand(world);
  world.async_wait_for(1s, asio::bind_executor(strand, [&](error_code) { here = strand.running_in_this_thread(); }));
  world.async_wait_for(1s, asio::bind_executor(other.executor(), [&](error_code) { there = true; }));
  world.run();
  REQUIRE(here);
  REQUIRE_FALSE(there);
  other.run();
  REQUIRE(there);
}

TEST_CASE("dispatch runs in place inside a handler, post never does") {
  Runtime world;
  std::string order;
  asio::dispatch(world, [&] { order += 'x'; });
  REQUIRE(order.empty());
  world.run();
  asio::post(world, [&] {
    asio::post(world, [&] { order += 'c'; });
    asio::dispatch(world, [&] { order += 'a'; });
    asio::dispatch(world.blocking_executor(), [&] { order += 'd'; });
    order += 'b';
  });
  world.run();
  REQUIRE(order.substr(0, 3) == "xab");
  REQUIRE(order.size() == 5);
}

TEST_CASE("setting the calendar disturbs no wait and no steady clock") {
  const WallTime start{std::chrono::hours(1)};
  Runtime world({.wall_start = start});
  SteadyTime fired{};
  world.async_wait_for(10s, [&](error_code) { fired = world.steady_now(); });
  world.run_for(4s);
  world.step_wall(-30min);
  REQUIRE(world.wall_now() == start + 4s - 30min);
  world.set_wall(start + 24h);
  REQUIRE(world.wall_now() == start + 24h);
  REQUIRE(world.steady_now() == at(4s));
  world.run();
  REQUIRE(fired == at(10s));
  REQUIRE(world.wall_now() == start + 24h + 6s);
}

TEST_CASE("blocking jobs take the latency that is set, and overlap") {
  Runtime world;
  std::vector<SteadyTime> ran;
  const auto job = [&] { ran.push_back(world.steady_now()); };
  asio::post(world.blocking_executor(), job);
  world.run();
  world.set_blocking_latency(20ms);
  asio::post(world.blocking_executor(), job);
  asio::post(world.blocking_executor(), job);
  asio::post(world, job);
  world.run();
  REQUIRE(ran == std::vector{at(0ms), at(0ms), at(20ms), at(20ms)});
}

TEST_CASE("a blocking job that takes its time delays its own results and nobody else") {
  Runtime world;
  std::vector<std::string> log;
  asio::post(world.blocking_executor(), [&] {
    world.advance(10ms);
    REQUIRE(world.steady_now() == at(10ms));
    asio::post(world,
               [&] { log.push_back("result at " + std::to_string(world.steady_now().time_since_epoch() / 1ms)); });
  });
  world.async_wait_until(at(4ms), [&](error_code) {
    log.push_back("other at " + std::to_string(world.steady_now().time_since_epoch() / 1ms));
  });
  world.run();
  REQUIRE(log == std::vector<std::string>{"other at 4", "result at 10"});
}

TEST_CASE("what a blocking job starts late is late, though it was due while the job ran") {
  Runtime world;
  SteadyTime fired{};
  asio::post(world.blocking_executor(), [&] {
    world.advance(10ms);
    world.async_wait_until(at(5ms), [&](error_code) { fired = world.steady_now(); });
  });
  world.run();
  REQUIRE(fired == at(10ms));
}

TEST_CASE("a handler that takes its time makes the whole host late") {
  Runtime world;
  SteadyTime fired{};
  world.async_wait_until(at(4ms), [&](error_code) { fired = world.steady_now(); });
  asio::post(world, [&] { world.advance(10ms); });
  world.run();
  REQUIRE(fired == at(10ms));
}

TEST_CASE("run_until stops at its time, run_one at one event, stop after the event that runs") {
  Runtime world;
  int fired = 0;
  for (int i = 1; i <= 5; ++i) world.async_wait_until(at(i * 1s), [&](error_code) { ++fired; });
  REQUIRE(world.run_until(at(2500ms)) == 2);
  REQUIRE(world.steady_now() == at(2500ms));
  REQUIRE(world.run_until(at(1s)) == 0);
  REQUIRE(world.steady_now() == at(2500ms));
  REQUIRE(world.run_one());
  REQUIRE(world.steady_now() == at(3s));
  world.async_wait_until(at(3500ms), [&](error_code) { world.stop(); });
  REQUIRE(world.run_for(10s) == 1);
  REQUIRE(world.steady_now() == at(3500ms));
  REQUIRE(world.run() == 2);
  REQUIRE_FALSE(world.run_one());
  REQUIRE(fired == 5);
}

TEST_CASE("an exception that leaves a handler leaves run, and the rest still runs") {
  Runtime world({.order = Order::fifo});
  bool after = false;
  asio::post(world.blocking_executor(), [] { throw std::runtime_error("boom"); });
  asio::post(world, [&] { after = true; });
  REQUIRE_THROWS_AS(world.run(), std::runtime_error);
  REQUIRE_FALSE(after);
  REQUIRE(world.run() == 1);
  REQUIRE(after);
}

TEST_CASE("destroying the runtime destroys what is pending and runs none of it") {
  auto token = std::make_shared<int>(0);
  bool ran = false;
  {
    Runtime world;
    asio::cancellation_signal signal;
    auto strand = asio::make_strand(world);
    asio::post(world, [token, &ran] { ran = true; });
    asio::post(world.blocking_executor(), [token, &ran] { ran = true; });
    asio::post(strand, [token, &ran] { ran = true; });
    asio::post(strand, [token, &ran] { ran = true; });
    world.async_wait_for(1h, asio::bind_executor(strand, [token, &ran](error_code) { ran = true; }));
    asio::co_spawn(
        strand,
        [](AnyRuntime inner, std::shared_ptr<int> held) -> asio::awaitable<void> {
          co_await inner.async_wait_for(1h, asio::use_awaitable);
          ++*held;
        }(world, token),
        asio::bind_cancellation_slot(signal.slot(), asio::detached));
    asio::co_spawn(
        world,
        [](AnyRuntime inner, std::shared_ptr<int> held) -> asio::awaitable<void> {
          co_await inner.async_wait_for(1h, asio::use_awaitable);
          ++*held;
        }(world, token),
        asio::detached);
    world.run_one();
    world.run_one();
    world.run_one();
    ran = false;
    REQUIRE(token.use_count() > 4);
  }
  REQUIRE(token.use_count() == 1);
  REQUIRE_FALSE(ran);
}

TEST_CASE("a full runtime refuses more, and work without end at one instant is an error") {
  Runtime small({.pending_max = 2});
  asio::post(small, [] {});
  asio::post(small, [] {});
  REQUIRE_THROWS_AS(asio::post(small, [] {}), std::length_error);
  small.run();
  asio::post(small, [] {});

  Runtime busy({.steps_per_instant_max = 1000});
  struct Again {
    Runtime& world;
    void operator()() const { asio::post(world, *this); }
  };
  asio::post(busy, Again{busy});
  REQUIRE_THROWS_AS(busy.run(), std::runtime_error);
}

TEST_CASE("work from another thread is refused") {
  Runtime world;
  bool refused = false;
  std::thread([&] {
    try {
      asio::post(world, [] {});
    } catch (const std::logic_error&) {
      refused = true;
    }
  }).join();
  REQUIRE(refused);
  REQUIRE(world.pending() == 0);
}

TEST_CASE("random streams depend on the seed and the name alone") {
  Runtime one({.seed = 5}), two({.seed = 5}), other({.seed = 6});
  one.random("a")();
  REQUIRE(one.random("b")() == two.random("b")());
  REQUIRE(one.random("b")() != other.random("b")());
  REQUIRE(one.random("b")() != one.random("a")());
}
