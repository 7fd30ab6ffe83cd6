// The signal router's shell: handlers of every style, answers, drains, credits, fetches.
#include "support/catch.hpp"

#include <aura/core/asio_runtime.hpp>
#include <aura/operational/signal_router.hpp>
#include <aura/sim/runtime.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using aura::DefaultClass;
using aura::Error;
using aura::ErrorClass;
using aura::Result;
using aura::SignalDrop;
using aura::SignalRefusal;
using aura::SteadyTime;
using boost::asio::awaitable;
using boost::asio::use_awaitable;

namespace {

using Signal = aura::Signal<int>;
using Span = std::span<Signal>;

Signal signal_of(int payload, std::string key = "k", std::optional<SteadyTime> deadline = {},
                 std::uint8_t class_index = DefaultClass::normal) {
  return {.key = std::move(key), .class_index = class_index, .deadline = deadline, .payload = payload};
}

/// Where an answer goes.
struct Answers {
  auto to(int whom) {
    return [this, whom](const Result<void>& result) {
      REQUIRE(given.count(whom) == 0);
      given.emplace(whom, result);
    };
  }
  bool ok(int whom) const { return given.at(whom).has_value(); }
  template <class Code>
  bool is(int whom, Code code) const {
    return !given.at(whom) && given.at(whom).error().is(code);
  }
  std::map<int, Result<void>> given;
};

struct Letters {
  void offer(aura::DeadLetter letter, boost::asio::any_completion_handler<void(Result<void>)> on_done) {
    letters.push_back(std::move(letter));
    std::move(on_done)(Result<void>());
  }
  std::vector<aura::DeadLetter> letters;
};
static_assert(aura::dead_letter_sink<Letters>);

aura::SignalRouterOptions with_batches(std::size_t size_max) {
  aura::SignalRouterOptions options;
  for (auto& each : options.classes) each.batch.size_max = size_max;
  return options;
}

template <int Which>
struct Style {
  static constexpr int value = Which;
};

struct Fails {
  Result<void> operator()(Signal& signal) const {
    if (signal.payload == 1) return Error::fixed("test", 7, ErrorClass::permanent, "no");
    if (signal.payload == 2) throw std::runtime_error("thrown");
    return {};
  }
};

}  // namespace

TEMPLATE_TEST_CASE("a handler of any style handles every signal once", "", Style<0>, Style<1>, Style<2>, Style<3>,
                   Style<4>, Style<5>, Style<6>) {
  aura::sim::Runtime world;
  const aura::AnyRuntime any(world);
  std::vector<int> handled;
  std::vector<aura::SignalDone> kept;
  const auto handler = [&] {
    if constexpr (TestType::value == 0)
      return [&](Signal& each) { handled.push_back(each.payload); };
    else if constexpr (TestType::value == 1)
      return [&](Signal& each) -> Result<void> { return handled.push_back(each.payload), Result<void>(); };
    else if constexpr (TestType::value == 2)
      return [&](Signal& each) -> awaitable<void> {
        handled.push_back(each.payload);
        co_await any.async_wait_for(1ms, use_awaitable);
      };
    else if constexpr (TestType::value == 3)
      return [&](Signal& each) -> awaitable<Result<void>> {
        co_await any.async_wait_for(1ms, use_awaitable);
        handled.push_back(each.payload);
        co_return Result<void>();
      };
    else if constexpr (TestType::value == 4)
      return [&](Span batch) {
        for (Signal& each : batch) handled.push_back(each.payload);
      };
    else if constexpr (TestType::value == 5)
      return [&](Span batch) -> awaitable<void> {
        co_await any.async_wait_for(1ms, use_awaitable);
        for (Signal& each : batch) handled.push_back(each.payload);
      };
    else
      return [&](Signal& each, aura::SignalDone done) {
        handled.push_back(each.payload);
        kept.push_back(done);
        any.async_wait_for(1ms, [done](auto) { done(); });
      };
  }();
  aura::SignalRouter<int> router(world, with_batches(4), handler);
  Answers answers;
  for (int i = 0; i < 50; ++i) {
    Signal signal = signal_of(i, "key " + std::to_string(i % 9));
    if (i % 2 == 0) signal.batch_key = i % 3;
    router.send(std::move(signal), answers.to(i));
  }
  REQUIRE(handled.empty());  // never inside the initiation
  world.run();
  REQUIRE(answers.given.size() == 50);
  for (int i = 0; i < 50; ++i) REQUIRE(answers.ok(i));
  std::sort(handled.begin(), handled.end());
  for (int i = 0; i < 50; ++i) REQUIRE(handled[static_cast<std::size_t>(i)] == i);
  REQUIRE(router.stats(DefaultClass::normal).conserved());
  REQUIRE(router.stats(DefaultClass::normal).handled == 50);
}

TEST_CASE("a sender hears the handler's error, a poster's failed signal goes to the dead letters") {
  aura::sim::Runtime world;
  aura::SignalRouter<int> router(world, {}, Fails{});
  Letters letters;
  router.dead_letters(letters, [](const Signal& signal) { return std::to_string(signal.payload); });
  Answers answers;
  for (int i = 0; i < 3; ++i) router.send(signal_of(i), answers.to(i));
  for (int i = 0; i < 3; ++i) REQUIRE(router.post(signal_of(i)).has_value());
  world.run();
  REQUIRE(answers.ok(0));
  REQUIRE(answers.given.at(1).error().code() == 7);
  REQUIRE(answers.is(2, aura::core_errc::exception));
  REQUIRE(letters.letters.size() == 2);
  REQUIRE(letters.letters[0].payload == "1");
  REQUIRE(letters.letters[0].error.code() == 7);
  REQUIRE(letters.letters[1].payload == "2");
  REQUIRE(letters.letters[0].id != letters.letters[1].id);
  REQUIRE(router.stats(DefaultClass::normal).failed == 4);
}

TEST_CASE("every refusal and drop reaches its sender, or the dead letters, and the observer") {
  aura::sim::Runtime world;
  const aura::AnyRuntime any(world);
  int refused = 0, dropped = 0, handled = 0;
  aura::AnyObserver<aura::SignalRefused<Signal>, aura::SignalDropped<Signal>, aura::SignalHandled<Signal>> observer;
  observer.on<aura::SignalRefused<Signal>>([&](const auto&) { ++refused; });
  observer.on<aura::SignalDropped<Signal>>([&](const auto& event) { dropped += event.reason == SignalDrop::late; });
  observer.on<aura::SignalHandled<Signal>>([&](const auto&) { ++handled; });
  aura::SignalRouterOptions options;
  options.parallel_max = 1;
  options.classes[DefaultClass::low].capacity_max = 1;
  aura::SignalRouter<int, std::string, aura::NoSignalState, decltype(observer)> router(
      world, options, [&](Signal&) -> awaitable<void> { co_await any.async_wait_for(10ms, use_awaitable); },
      observer);
  Letters letters;
  router.dead_letters(letters, [](const Signal& signal) { return std::to_string(signal.payload); });
  Answers answers;
  world.advance(1s);
  const SteadyTime now = world.steady_now();
  router.send(signal_of(0), answers.to(0));
  world.run_for(1ms);
  router.send(signal_of(1, "a", now + 5ms), answers.to(1));  // waits too long behind 0
  REQUIRE(router.post(signal_of(2, "b", now + 6ms)).has_value());
  router.send(signal_of(3, "c", now), answers.to(3));  // late already
  REQUIRE(router.post(signal_of(4, "d", now)).has_value());
  Signal twice = signal_of(5, "e");
  twice.id = 9;
  router.send(twice, answers.to(5));
  router.send(twice, answers.to(6));
  router.send(signal_of(7, "f", {}, 77), answers.to(7));
  REQUIRE(router.post(signal_of(8, "g", {}, 77)).error().is(SignalRefusal::unknown_class));
  REQUIRE(router.post(signal_of(9, "h", {}, DefaultClass::low)).has_value());
  const Result<void> full = router.post(signal_of(10, "i", {}, DefaultClass::low));
  REQUIRE(full.error().is(SignalRefusal::full));
  REQUIRE(full.error().error_class() == ErrorClass::rejected);
  world.run();
  REQUIRE(answers.ok(0));
  REQUIRE(answers.is(1, SignalDrop::late));
  REQUIRE(answers.is(3, SignalRefusal::late));
  REQUIRE(answers.ok(5));
  REQUIRE(answers.is(6, SignalRefusal::duplicate));
  REQUIRE(answers.is(7, SignalRefusal::unknown_class));
  REQUIRE(letters.letters.size() == 2);  // 2 and 4; a poster who had an error has the signal
  REQUIRE(refused == 3);  // what its sender was told at once is no event
  REQUIRE(dropped == 2);
  REQUIRE(handled == 3);
  REQUIRE(router.unknown_class_refused() == 2);
  for (std::uint8_t c = 0; c < 5; ++c) REQUIRE(router.stats(c).conserved());
}

TEST_CASE("handlers of one key follow each other, those of different keys overlap up to the limit") {
  aura::sim::Runtime world;
  const aura::AnyRuntime any(world);
  std::map<std::string, int> inside;
  int in_all = 0, most = 0;
  aura::SignalRouterOptions options;
  options.parallel_max = 4;
  aura::SignalRouter<int> router(world, options, [&](Signal& signal) -> awaitable<void> {
    REQUIRE(++inside[signal.key] == 1);
    most = std::max(most, ++in_all);
    co_await any.async_wait_for(1ms, use_awaitable);
    --inside[signal.key];
    --in_all;
  });
  for (int i = 0; i < 300; ++i) REQUIRE(router.post(signal_of(i, std::to_string(i % 10))).has_value());
  world.run();
  REQUIRE(most == 4);
  REQUIRE(router.stats(DefaultClass::normal).handled == 300);
}

TEST_CASE("a SignalDone that is dropped fails its signals, and their keys go on") {
  aura::sim::Runtime world;
  aura::SignalRouter<int> router(world, {}, [](Signal& signal, aura::SignalDone done) {
    if (signal.payload == 0) return;  // forgets
    done();
    done(Error());  // the first call counts
  });
  Answers answers;
  router.send(signal_of(0), answers.to(0));
  router.send(signal_of(1), answers.to(1));
  world.run();
  REQUIRE(answers.is(0, aura::core_errc::exception));
  REQUIRE(answers.ok(1));
}

TEST_CASE("a batch waits for company until its time, in virtual time") {
  aura::sim::Runtime world;
  const aura::AnyRuntime any(world);
  std::vector<std::size_t> sizes;
  auto options = with_batches(8);
  for (auto& each : options.classes) each.batch.call_cost = 1h;
  options.parallel_max = 1;
  aura::SignalRouter<int> router(world, options, [&](Span batch) { sizes.push_back(batch.size()); });
  for (int round = 0; round < 8; ++round) {
    for (int i = 0; i < 8; ++i) {
      Signal signal = signal_of(i, std::to_string(i));
      signal.batch_key = 1;
      REQUIRE(router.post(std::move(signal)).has_value());
    }
    world.run();
  }
  REQUIRE(sizes.back() == 8);
  const SteadyTime before = world.steady_now();
  Signal alone = signal_of(0);
  alone.batch_key = 1;
  REQUIRE(router.post(std::move(alone)).has_value());
  world.run();
  REQUIRE(sizes.back() == 1);
  REQUIRE(world.steady_now() - before <= 5ms);
}

TEST_CASE("a drain handles what was taken, refuses what comes, and ends when all has") {
  aura::sim::Runtime world;
  const aura::AnyRuntime any(world);
  aura::SignalRouterOptions options;
  options.parallel_max = 1;
  const auto handler = [&](Signal&) -> awaitable<void> { co_await any.async_wait_for(10ms, use_awaitable); };
  aura::SignalRouter<int> router(world, options, handler);
  Answers answers;
  for (int i = 0; i < 5; ++i) router.send(signal_of(i), answers.to(i));
  std::optional<Result<aura::SignalDrainReport>> report;
  SECTION("in time") {
    router.drain(world.steady_now() + 1s, [&](auto result) { report = result; });
    REQUIRE(router.post(signal_of(9)).error().is(SignalRefusal::draining));
    world.run();
    REQUIRE((*report)->abandoned == 0);
    REQUIRE((*report)->running == 0);
    REQUIRE(world.steady_now() == SteadyTime(50ms));  // it does not sit out its deadline
    for (int i = 0; i < 5; ++i) REQUIRE(answers.ok(i));
  }
  SECTION("out of time") {
    router.drain(world.steady_now() + 25ms, [&](auto result) { report = result; });
    world.run();
    REQUIRE((*report)->abandoned == 2);
    REQUIRE((*report)->running == 1);
    REQUIRE(answers.ok(2));  // it was under way, and ends
    REQUIRE(answers.is(3, SignalDrop::drained));
    REQUIRE(answers.is(4, SignalDrop::drained));
  }
  SECTION("of a router that does nothing") {
    world.run();
    router.drain(SteadyTime::max(), [&](auto result) { report = result; });
    REQUIRE(!report.has_value());
    world.run();
    REQUIRE(report->has_value());
  }
  REQUIRE(router.stats(DefaultClass::normal).conserved());
}

TEST_CASE("a destroyed router tells who waits, and lets end what runs") {
  aura::sim::Runtime world;
  const aura::AnyRuntime any(world);
  Answers answers;
  {
    aura::SignalRouterOptions options;
    options.parallel_max = 1;
    aura::SignalRouter<int> router(
        world, options, [any](Signal&) -> awaitable<void> { co_await any.async_wait_for(10ms, use_awaitable); });
    router.send(signal_of(0), answers.to(0));
    router.send(signal_of(1), answers.to(1));
    world.run_for(1ms);
  }
  world.run();
  REQUIRE(answers.ok(0));
  REQUIRE(answers.is(1, SignalDrop::drained));
}

TEST_CASE("credits say how much a class takes, and come back as its signals are handled") {
  aura::sim::Runtime world;
  const aura::AnyRuntime any(world);
  aura::SignalRouterOptions options;
  options.parallel_max = 1;
  options.classes[DefaultClass::bulk].capacity_max = 10;
  aura::SignalRouter<int> router(
      world, options, [&](Signal&) -> awaitable<void> { co_await any.async_wait_for(10ms, use_awaitable); });
  REQUIRE(router.credits(DefaultClass::bulk) == 10);
  for (int i = 0; i < 10; ++i) REQUIRE(router.post(signal_of(i, "k", {}, DefaultClass::bulk)).has_value());
  REQUIRE(router.credits(DefaultClass::bulk) == 0);  // before the router has even looked
  REQUIRE(!router.post(signal_of(10, "k", {}, DefaultClass::bulk)));
  std::optional<SteadyTime> at;
  router.await_credits(DefaultClass::bulk, 4, [&](const Result<void>& result) {
    REQUIRE(result.has_value());
    at = world.steady_now();
  });
  world.run();
  REQUIRE(at == SteadyTime(30ms));  // four have begun
  REQUIRE(router.credits(DefaultClass::bulk) == 10);
  router.drain(SteadyTime::max(), [](auto) {});
  Answers answers;
  router.await_credits(DefaultClass::bulk, 11, answers.to(0));
  world.run();
  REQUIRE(answers.is(0, SignalRefusal::draining));
}

TEST_CASE("state is fetched while earlier signals run, a few ahead, and given up with its signal") {
  aura::sim::Runtime world;
  const aura::AnyRuntime any(world);
  struct Loaded {
    std::string text{};
  };
  using Router = aura::SignalRouter<int, std::string, Loaded>;
  aura::SignalRouterOptions options;
  options.parallel_max = 1;
  options.fetch_ahead = 3;
  int fetching = 0, most = 0, cancelled = 0;
  std::vector<std::string> seen;
  std::vector<SteadyTime> begun;
  Router router(world, options, [&](Signal& signal, Loaded& state) -> awaitable<void> {
    seen.push_back(state.text);
    begun.push_back(world.steady_now());
    REQUIRE(state.text == "state of " + signal.key);
    co_await any.async_wait_for(10ms, use_awaitable);
  });
  router.fetch([&](std::string key) -> awaitable<Loaded> {
    most = std::max(most, ++fetching);
    try {
      co_await any.async_wait_for(key == "slow" ? 1h : std::chrono::nanoseconds(8ms), use_awaitable);
    } catch (const boost::system::system_error&) {
      ++cancelled;
    }
    --fetching;
    Loaded loaded{"state of " + key};
    co_return loaded;
  });
  Answers answers;
  for (int i = 0; i < 6; ++i) router.send(signal_of(i, std::to_string(i)), answers.to(i));
  SECTION("ahead") {
    world.run();
    REQUIRE(seen.size() == 6);
    REQUIRE(begun.back() == SteadyTime(58ms));  // only the first one waited for its state
    REQUIRE(most >= 2);
    REQUIRE(most <= 4);
  }
  SECTION("given up") {
    world.run_for(1ms);
    router.send(signal_of(6, "slow", world.steady_now() + 12ms), answers.to(6));
    world.run();
    REQUIRE(answers.is(6, SignalDrop::late));
    REQUIRE(cancelled == 1);
    REQUIRE(world.steady_now() < SteadyTime(1s));
  }
}

TEST_CASE("a fetch that fails fails its signal without calling the handler") {
  aura::sim::Runtime world;
  int called = 0;
  aura::SignalRouter<int, std::string, int> router(world, {}, [&](Signal&, int&) { ++called; });
  router.fetch([](std::string key) -> awaitable<Result<int>> {
    if (key == "bad") co_return Result<int>(Error::fixed("test", 3, ErrorClass::transient, "no state"));
    co_return Result<int>(1);
  });
  Answers answers;
  router.send(signal_of(0, "bad"), answers.to(0));
  router.send(signal_of(1, "good"), answers.to(1));
  world.run();
  REQUIRE(answers.given.at(0).error().code() == 3);
  REQUIRE(answers.ok(1));
  REQUIRE(called == 1);
}

TEST_CASE("a signal of a durable run is acknowledged when the journal has the run, not before") {
  aura::sim::Runtime world;
  struct Starter {
    void start(aura::RunId id, std::string payload, aura::RunStartedHandler done) {
      started.emplace_back(id.str(), payload);
      world.async_wait_for(7ms, [bad = payload == "3", done = std::move(done)](auto) mutable {
        if (bad)
          std::move(done)(Result<void>(Error::fixed("journal", 1, ErrorClass::transient, "disk full")));
        else
          std::move(done)(Result<void>());
      });
    }
    aura::sim::Runtime& world;
    std::vector<std::pair<std::string, std::string>> started{};
  } starter{world};
  static_assert(aura::run_starter<Starter>);
  aura::SignalRouter<int> router(world, {},
                                 aura::start_runs<Signal>(
                                     aura::AnyRunStarter(starter), [](const Signal& s) { return aura::RunId(s.key); },
                                     [](const Signal& s) { return std::to_string(s.payload); }));
  Answers answers;
  for (int i = 0; i < 4; ++i) router.send(signal_of(i, "order-" + std::to_string(i)), answers.to(i));
  world.run_until(SteadyTime(6ms));
  REQUIRE(starter.started.size() == 4);
  REQUIRE(answers.given.empty());
  world.run();
  for (int i = 0; i < 3; ++i) REQUIRE(answers.ok(i));
  REQUIRE(answers.given.at(3).error().code() == 1);
  std::sort(starter.started.begin(), starter.started.end());
  REQUIRE(starter.started[2] == std::pair<std::string, std::string>("order-2", "2"));
}

TEST_CASE("what many threads post at once is handled once each, one at a time for a key", "[threads]") {
  boost::asio::thread_pool pool(4), blocking(1);
  aura::AsioRuntime world(pool.get_executor(), blocking.get_executor(), 1);
  constexpr int threads = 4, each = 2000;
  std::vector<std::atomic<int>> inside(16);
  std::vector<std::atomic<int>> handled(threads * each);
  std::atomic<int> overlaps{0};
  aura::SignalRouterOptions options;
  for (auto& of : options.classes) of.codel.on = false;
  aura::SignalRouter<int, int> router(world, options, [&](aura::Signal<int, int>& signal) {
    auto& here = inside[static_cast<std::size_t>(signal.key)];
    if (++here != 1) ++overlaps;
    ++handled[static_cast<std::size_t>(signal.payload)];
    --here;
  });
  std::vector<std::thread> senders;
  std::atomic<int> refused{0};
  for (int t = 0; t < threads; ++t)
    senders.emplace_back([&, t] {
      for (int i = 0; i < each; ++i) {
        const int payload = t * each + i;
        aura::Signal<int, int> signal{
            .key = payload % 16, .class_index = static_cast<std::uint8_t>(payload % 5), .payload = payload};
        if (!router.post(std::move(signal))) {
          ++refused;
          ++handled[static_cast<std::size_t>(payload)];
        }
      }
    });
  for (std::thread& sender : senders) sender.join();
  router.drain(SteadyTime::max(), [](auto) {});
  pool.join();
  REQUIRE(overlaps == 0);
  for (const auto& count : handled) REQUIRE(count == 1);
  std::uint64_t counted = 0;
  for (std::uint8_t c = 0; c < 5; ++c) {
    REQUIRE(router.stats(c).conserved());
    counted += router.stats(c).handled;
  }
  REQUIRE(counted + static_cast<std::uint64_t>(refused.load()) == threads * each);
}
