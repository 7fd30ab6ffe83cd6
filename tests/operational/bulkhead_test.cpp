// Bounded concurrency: so many at once, so many more wait, the rest are turned away.
#include "support/catch.hpp"
#include "support/seeds.hpp"

#include <aura/core/guard.hpp>
#include <aura/operational/bulkhead.hpp>
#include <aura/sim/runtime.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/thread_pool.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <deque>
#include <map>
#include <optional>
#include <thread>
#include <vector>

namespace asio = boost::asio;
using namespace std::chrono_literals;
using aura::Bulkhead;
using aura::rejection_errc;
using aura::Result;
using Permit = Bulkhead::Permit;

TEST_CASE("a bulkhead is a guard") {
  STATIC_REQUIRE(aura::guard<Bulkhead>);
  STATIC_REQUIRE(aura::permit<Permit>);
}

TEST_CASE("a bulkhead lets as many in as it says, and the refusal names it") {
  Bulkhead bulkhead({.concurrency_max = 2});
  auto first = bulkhead.try_acquire();
  auto second = bulkhead.try_acquire();
  CHECK((first.has_value() && second.has_value()));
  const auto third = bulkhead.try_acquire();
  REQUIRE(third.has_error());
  CHECK(third.error().is(rejection_errc::bulkhead_full));
  CHECK(third.error().error_class() == aura::ErrorClass::rejected);
  CHECK(third.error().message() == "the bulkhead is full");
  CHECK(bulkhead.in_use() == 2);
}

TEST_CASE("a dropped permit frees its place, and so does a recorded one, once") {
  Bulkhead bulkhead({.concurrency_max = 1});
  { auto permit = *bulkhead.try_acquire(); }
  CHECK(bulkhead.in_use() == 0);
  auto permit = *bulkhead.try_acquire();
  permit.record({});
  CHECK(bulkhead.in_use() == 0);
  permit.record({});
  auto moved = std::move(permit);
  moved = Permit(*bulkhead.try_acquire());
  CHECK(bulkhead.in_use() == 1);
  moved = Permit(std::move(moved));
  CHECK(bulkhead.in_use() == 1);
}

TEST_CASE("a permit may outlive its bulkhead") {
  std::optional<Permit> permit;
  {
    Bulkhead bulkhead({.concurrency_max = 2});
    permit.emplace(*bulkhead.try_acquire());
    Bulkhead moved(std::move(bulkhead));
    CHECK(moved.in_use() == 1);
  }
  permit.reset();
}

TEST_CASE("those who wait get places in the order in which they came, and nobody passes them") {
  aura::sim::Runtime world;
  Bulkhead bulkhead(world, {.concurrency_max = 1, .queue_max = 3});
  std::optional<Permit> out(*bulkhead.try_acquire());
  std::vector<int> order;
  std::vector<Permit> kept;
  for (int i = 0; i < 3; ++i)
    bulkhead.async_acquire([&, i](Result<Permit> permit) {
      order.push_back(i);
      kept.push_back(std::move(*permit));
    });
  std::optional<aura::Error> refused;
  bulkhead.async_acquire([&](Result<Permit> permit) { refused = permit.error(); });
  CHECK(!refused);
  world.run();
  REQUIRE(refused);
  CHECK(refused->is(rejection_errc::queue_full));
  CHECK(order.empty());

  out.reset();
  CHECK(bulkhead.try_acquire().has_error());  // the place is the first one's already
  world.run();
  CHECK(order == std::vector{0});
  for (int i = 1; i < 3; ++i) {
    kept.erase(kept.begin());
    world.run();
  }
  CHECK(order == std::vector{0, 1, 2});
  kept.clear();
  CHECK(bulkhead.in_use() == 0);
  CHECK(bulkhead.try_acquire().has_value());
}

TEST_CASE("who has waited as long as the limit is turned away at that time, and no wait is left behind") {
  aura::sim::Runtime world;
  Bulkhead bulkhead(world, {.concurrency_max = 1, .queue_max = 4, .wait_max = 100ms});
  std::optional<Permit> out(*bulkhead.try_acquire());
  std::vector<std::pair<aura::Duration, bool>> answers;
  const auto wait = [&] {
    bulkhead.async_acquire([&](Result<Permit> permit) {
      answers.emplace_back(world.steady_now().time_since_epoch(), permit.has_value());
      if (permit.has_error()) CHECK(permit.error().is(rejection_errc::bulkhead_full));
    });
  };
  wait();
  world.run_for(40ms);
  wait();
  world.run_for(70ms);
  out.reset();
  world.run();
  CHECK(answers == std::vector<std::pair<aura::Duration, bool>>{{100ms, false}, {110ms, true}});
  CHECK(world.steady_now().time_since_epoch() == 110ms);
  CHECK(bulkhead.in_use() == 0);
}

TEST_CASE("without a queue the asynchronous form answers at once") {
  aura::sim::Runtime world;
  Bulkhead bulkhead(world, {.concurrency_max = 1});
  auto out = *bulkhead.try_acquire();
  std::optional<aura::Error> refused;
  bulkhead.async_acquire([&](Result<Permit> permit) { refused = permit.error(); });
  world.run();
  REQUIRE(refused);
  CHECK(refused->is(rejection_errc::bulkhead_full));
}

TEST_CASE("destroying a bulkhead turns away those who wait") {
  aura::sim::Runtime world;
  std::optional<aura::Error> refused;
  std::optional<Permit> out;
  {
    Bulkhead bulkhead(world, {.concurrency_max = 1, .queue_max = 1, .wait_max = 1h});
    out.emplace(*bulkhead.try_acquire());
    bulkhead.async_acquire([&](Result<Permit> permit) { refused = permit.error(); });
    world.run_for(1s);
  }
  world.run();
  REQUIRE(refused);
  CHECK(refused->is(rejection_errc::draining));
  CHECK(world.steady_now().time_since_epoch() == 1s);
}

TEST_CASE("over random operations a bulkhead agrees with a list of who is in and a list of who waits") {
  for_each_seed("operational", "over random operations a bulkhead*", 60, [](std::uint64_t seed) {
    aura::sim::Runtime world({.seed = seed});
    aura::Random dice = world.random("test");
    const auto in_max = static_cast<std::uint32_t>(1 + dice.below(4));
    const auto queue_max = static_cast<std::uint32_t>(dice.below(4));
    Bulkhead bulkhead(world, {.concurrency_max = in_max, .queue_max = queue_max, .wait_max = 20ms});
    // The model.
    std::vector<int> in;
    std::deque<std::pair<int, aura::SteadyTime>> queue;
    std::map<int, char> expected;  // i: in, t: turned away, c: cancelled
    // What happened.
    std::map<int, Permit> held;
    std::map<int, char> seen;
    std::map<int, asio::cancellation_signal> signals;

    const auto admit_from_queue = [&] {
      while (in.size() < in_max && !queue.empty()) {
        in.push_back(queue.front().first);
        expected[queue.front().first] = 'i';
        queue.pop_front();
      }
    };
    for (int id = 0; id < 400; ++id) {
      switch (dice.below(5)) {
        case 0:
        case 1: {
          if (in.size() < in_max && queue.empty()) {
            in.push_back(id);
            expected[id] = 'i';
          } else if (queue.size() < queue_max) {
            queue.emplace_back(id, world.steady_now() + 20ms);
          } else {
            expected[id] = 't';
          }
          bulkhead.async_acquire(asio::bind_cancellation_slot(signals[id].slot(), [&, id](Result<Permit> permit) {
            REQUIRE(seen.count(id) == 0);
            if (permit) {
              seen[id] = 'i';
              held.emplace(id, std::move(*permit));
            } else {
              seen[id] = permit.error().error_class() == aura::ErrorClass::cancelled ? 'c' : 't';
            }
          }));
          break;
        }
        case 2: {
          if (in.empty()) break;
          const auto which = dice.below(in.size());
          const int gone = in[which];
          in.erase(in.begin() + static_cast<std::ptrdiff_t>(which));
          held.erase(gone);
          admit_from_queue();
          break;
        }
        case 3: {
          if (queue.empty()) break;
          const auto which = dice.below(queue.size());
          const int gone = queue[which].first;
          queue.erase(queue.begin() + static_cast<std::ptrdiff_t>(which));
          expected[gone] = 'c';
          signals[gone].emit(asio::cancellation_type::total);
          break;
        }
        default: {
          const aura::SteadyTime later = world.steady_now() + std::chrono::milliseconds(dice.below(15));
          while (!queue.empty() && queue.front().second <= later) {
            expected[queue.front().first] = 't';
            queue.pop_front();
          }
          world.run_until(later);
        }
      }
      world.run_until(world.steady_now());
      REQUIRE(seen == expected);
      REQUIRE(bulkhead.in_use() == in.size());
      REQUIRE(held.size() == in.size());
      REQUIRE(bulkhead.waiting() == queue.size());
    }
  });
}

TEST_CASE("threads never get past the bound, and every place comes back", "[threads]") {
  constexpr std::uint32_t in_max = 3;
  Bulkhead bulkhead({.concurrency_max = in_max});
  std::atomic<std::uint32_t> inside{0}, highest{0}, passed{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 5000; ++i) {
        auto permit = bulkhead.try_acquire();
        if (!permit) continue;
        const std::uint32_t now = ++inside;
        std::uint32_t seen = highest.load();
        while (seen < now && !highest.compare_exchange_weak(seen, now)) {
        }
        ++passed;
        if (i % 16 == 0) std::this_thread::yield();
        --inside;
      }
    });
  for (auto& thread : threads) thread.join();
  CHECK(highest <= in_max);
  CHECK(passed > 0);
  CHECK(bulkhead.in_use() == 0);
}

TEST_CASE("threads that wait and leave never lose a place or a waiter", "[threads]") {
  asio::thread_pool pool(4);
  struct Host {
    asio::thread_pool& pool;
    aura::SteadyTime steady_now() { return aura::SteadyTime(std::chrono::steady_clock::now().time_since_epoch()); }
    aura::WallTime wall_now() { return {}; }
    asio::any_io_executor executor() { return pool.get_executor(); }
    asio::any_io_executor blocking_executor() { return pool.get_executor(); }
    aura::Random random(std::string_view) { return aura::Random(1); }
    void async_wait_until(aura::SteadyTime, aura::WaitHandler) {}
  } host{pool};
  constexpr int calls = 2000;
  std::atomic<int> answered{0}, got_in{0}, inside{0};
  std::atomic<bool> over{false};
  {
    Bulkhead bulkhead(host, {.concurrency_max = 2, .queue_max = 8});
    for (int t = 0; t < 4; ++t)
      asio::post(pool, [&] {
        for (int i = 0; i < calls; ++i)
          bulkhead.async_acquire([&](Result<Permit> permit) {
            ++answered;
            if (!permit) return;
            ++got_in;
            if (++inside > 2) over = true;
            --inside;
          });
      });
    pool.join();
    CHECK(bulkhead.in_use() == 0);
    CHECK(bulkhead.waiting() == 0);
  }
  CHECK(answered == 4 * calls);
  CHECK(got_in > 0);
  CHECK(!over);
}
