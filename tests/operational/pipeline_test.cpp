// Everything between a caller and its action, in one order: nothing is lost, whatever happens when.
#include "operational/pipeline_world.hpp"
#include "support/seeds.hpp"

#include <aura/core/asio_runtime.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_future.hpp>

#include <atomic>
#include <future>
#include <map>
#include <memory>
#include <string>

using namespace pipeline_world;
using aura::rejection_errc;

namespace {

aura::RetryPolicy quick(std::uint32_t attempts_max) {
  return {.attempts_max = attempts_max, .base = 1ms, .cap = 1ms};
}

}  // namespace

TEST_CASE("an empty pipeline is the action, in any style of it") {
  aura::sim::Runtime world;
  aura::Pipeline pipeline(world);
  STATIC_REQUIRE(std::is_same_v<decltype(pipeline), aura::Pipeline<>>);
  CHECK(**call(world, pipeline, [] { return 7; }).result == 7);
  CHECK(call(world, pipeline, [] {}).ok());
  CHECK(**call(world, pipeline, []() -> asio::awaitable<std::string> { co_return "x"; }).result == "x");
  CHECK(**call(world, pipeline, aura::initiation<int>([](auto handler) { handler(7); })).result == 7);
  CHECK(call(world, pipeline, []() -> int { throw 1; }).error().is(aura::core_errc::exception));
}

TEST_CASE("a part that is left out takes no room in a call, and parts are held as they were given") {
  aura::sim::Runtime world;
  aura::AnyRuntime any(world);
  aura::Bulkhead bulkhead({});
  auto recorder = std::make_shared<Recorder>();
  aura::Pipeline pipeline(any, recorder, bulkhead, aura::Timeout{1s});
  STATIC_REQUIRE(
      std::is_same_v<decltype(pipeline), aura::Pipeline<std::shared_ptr<Recorder>&, aura::Bulkhead&, aura::Timeout>>);
  aura::Pipeline owning(any, std::make_shared<Recorder>(), aura::Bulkhead({}));
  CHECK(call(world, owning, [] { return 1; }).ok());
  CHECK(call(world, pipeline, [] { return 1; }).ok());
  CHECK(recorder->heard.size() == 1);
}

TEST_CASE("the stated order is the order: what is outside does not hear what is inside, and the other way round") {
  aura::sim::Runtime world;
  std::vector<std::string> trace;
  Recorder recorder;
  aura::RateLimiter limiter({.permits = 1, .period = 1h, .burst = 3});
  aura::Bulkhead bulkhead({.concurrency_max = 1});
  aura::FaultInjection faults(1, {.error_probability = 1, .faults_max = 1});
  faults.switch_on();
  int calls = 0;
  const auto act = [&] {
    CHECK(bulkhead.in_use() == 1);
    CHECK(recorder.out == 1);
    return ++calls;
  };
  aura::Pipeline pipeline(world, aura::Fallback([&](const Error& error) {
                            trace.emplace_back(error.message());
                            return -1;
                          }),
                          aura::Retry(quick(2)), limiter, recorder, bulkhead, aura::Timeout{1s}, faults);
  // A fault is heard by the breaker and tried again, with another token.
  CHECK(**call(world, pipeline, act).result == 1);
  CHECK(recorder.heard == std::vector<std::optional<ErrorClass>>{ErrorClass::transient, std::nullopt});
  CHECK(limiter.tokens(world.steady_now()) == Approx(1).margin(1e-3));
  // A full bulkhead: the breaker hears nothing of it, the token goes back, the fallback answers.
  auto place = *bulkhead.try_acquire();
  CHECK(**call(world, pipeline, act).result == -1);
  CHECK(recorder.heard.size() == 2);
  CHECK(recorder.dropped == 2);
  CHECK(recorder.out == 0);
  CHECK(limiter.tokens(world.steady_now()) == Approx(1).margin(1e-3));
  CHECK(trace == std::vector<std::string>{"the bulkhead is full"});
  place.record({});
  // An open breaker: the token goes back, the bulkhead is not asked.
  recorder.refuse = aura::rejection(rejection_errc::breaker_open, 5ms);
  const auto before = world.steady_now();
  CHECK(**call(world, pipeline, act).result == -1);
  CHECK(world.steady_now() - before >= 5ms);  // it is not tried earlier than it says
  CHECK(limiter.tokens(world.steady_now()) == Approx(1).margin(1e-3));
  CHECK(calls == 1);
}

TEST_CASE("retries end at the policy's bound and at the budget's") {
  aura::sim::Runtime world;
  int calls = 0;
  const auto fails = [&]() -> Result<int> { return ++calls, failure(); };
  aura::Retry retry(quick(4), {.ratio = 0.5, .tokens_max = 5});
  aura::Pipeline pipeline(world, retry);
  CHECK(call(world, pipeline, fails).error() == failure());
  CHECK(calls == 4);
  CHECK(call(world, pipeline, fails).error() == failure());
  CHECK(calls == 7);
  CHECK(call(world, pipeline, fails).error() == failure());
  CHECK(calls == 8);
  for (int i = 0; i < 2; ++i) CHECK(call(world, pipeline, [] { return 1; }).ok());
  CHECK(call(world, pipeline, fails).error() == failure());
  CHECK(calls == 10);
  CHECK(call(world, pipeline, [&]() -> Result<int> { return ++calls, failure(ErrorClass::permanent); }).result);
  CHECK(calls == 11);
}

TEST_CASE("a breaker hears of each attempt, its class and how long it took, and nothing of a loser") {
  aura::sim::Runtime world;
  Service service(world);
  service.latencies = {30ms, 5s, 20ms};
  service.fails = [](int n) { return n == 0; };
  Recorder recorder;
  aura::Pipeline pipeline(world, aura::Retry(quick(2)), aura::Hedge({.delay = 100ms}), recorder, aura::Timeout{1s});
  CHECK(call(world, pipeline, std::ref(service)).ok());
  CHECK(recorder.heard == std::vector<std::optional<ErrorClass>>{ErrorClass::transient, std::nullopt});
  CHECK(recorder.latencies == std::vector<Duration>{30ms, 20ms});
  CHECK(recorder.dropped == 1);
  CHECK(recorder.out == 0);
  service.latencies = {1h};
  CHECK(call(world, pipeline, std::ref(service)).error().error_class() == ErrorClass::timeout);
  CHECK(recorder.heard.back() == ErrorClass::timeout);
  CHECK(recorder.latencies.back() == 1s);
}

TEST_CASE("callers wait for a token and for a place, and one call at a time is in the bulkhead") {
  aura::sim::Runtime world;
  Service service(world);
  service.latencies = {50ms};
  aura::RateLimiter limiter(world, {.permits = 100, .period = 1s, .burst = 1, .queue_max = 10});
  aura::Bulkhead bulkhead(world, {.concurrency_max = 1, .queue_max = 10});
  aura::Pipeline pipeline(world, limiter, bulkhead);
  std::vector<std::shared_ptr<Answer<int>>> answers;
  for (int i = 0; i < 5; ++i) answers.push_back(begin_call(world, pipeline, std::ref(service)));
  int plain = 0;
  const auto quick_one = begin_call(world, pipeline, [&] { return ++plain; });
  world.run();
  for (const auto& answer : answers) CHECK(answer->ok());
  CHECK(quick_one->ok());
  CHECK(service.in_flight_most == 1);
  CHECK(world.steady_now().time_since_epoch() >= 250ms);
  CHECK(world.steady_now().time_since_epoch() <= 260ms);  // where the plain one had the first token
}

TEST_CASE("a call is cancelled at any instant: it ends then, once, and everything it held is free") {
  constexpr int steps = 60;
  for (int step = 0; step < steps; ++step) {
    INFO("cancelled after " << 5 * step << " ms");
    aura::sim::Runtime world({.seed = static_cast<std::uint64_t>(step + 1)});
    Service service(world);
    service.latencies = {30ms, 200ms, 200ms, 40ms};
    service.fails = [](int n) { return n == 0; };
    Recorder recorder;
    aura::RateLimiter limiter(world, {.permits = 100, .period = 5s, .burst = 1, .queue_max = 4});
    aura::Bulkhead bulkhead(world, {.concurrency_max = 2, .queue_max = 4});
    aura::FaultInjection faults(1, {.latency_probability = 1, .latency_median = 10ms});
    faults.switch_on();
    aura::Pipeline pipeline(world, aura::Fallback([](const Error&) { return -1; }), aura::Retry(quick(3)),
                            aura::Hedge({.delay = 20ms}), limiter, recorder, bulkhead, aura::Timeout{100ms}, faults);
    auto taken = limiter.try_acquire(world.steady_now());  // so that the first waits
    taken->record({});
    std::optional<aura::BulkheadPermit> place = *bulkhead.try_acquire(), second = *bulkhead.try_acquire();
    asio::cancellation_signal signal;
    int answers = 0;
    Duration ended{};
    bool cancelled = false;
    pipeline.call(std::ref(service), asio::bind_cancellation_slot(signal.slot(), [&](Result<int> result) {
                    ++answers;
                    ended = world.steady_now().time_since_epoch();
                    cancelled = result.has_error() && result.error().error_class() == ErrorClass::cancelled;
                  }));
    world.run_until(aura::SteadyTime(std::min<Duration>(70ms, 5ms * step)));
    place.reset();  // it waited for this
    second.reset();
    world.run_until(aura::SteadyTime(5ms * step));
    const bool was_over = answers == 1;
    signal.emit(asio::cancellation_type::terminal);
    world.run_until(world.steady_now());
    CHECK(answers == 1);
    if (!was_over) {
      CHECK(cancelled);
      CHECK(ended == 5ms * step);
    }
    CHECK(service.in_flight == 0);
    CHECK(recorder.out == 0);
    CHECK(bulkhead.in_use() == 0);
    CHECK(bulkhead.waiting() == 0);
    CHECK(limiter.waiting() == 0);
    CHECK(pipeline.in_flight() == 0);
    world.run();
    CHECK(answers == 1);
    CHECK(world.steady_now().time_since_epoch() == 5ms * step);
  }
}

TEST_CASE("a call that is cancelled before it has begun does not begin") {
  aura::sim::Runtime world;
  aura::Pipeline pipeline(world);
  asio::cancellation_signal signal;
  int calls = 0;
  std::optional<Result<int>> answer;
  pipeline.call([&] { return ++calls; },
                asio::bind_cancellation_slot(signal.slot(), [&](Result<int> result) { answer = result; }));
  signal.emit(asio::cancellation_type::total);
  world.run();
  CHECK(calls == 0);
  REQUIRE(answer);
  CHECK(answer->error().error_class() == ErrorClass::cancelled);
}

TEST_CASE("an attempt that waits for a place is not hedged until its action has begun") {
  aura::sim::Runtime world;
  Service service(world);
  service.latencies = {1s};
  aura::Bulkhead bulkhead(world, {.concurrency_max = 1, .queue_max = 2});
  aura::Hedge hedge({.delay = 100ms});
  aura::Pipeline pipeline(world, hedge, bulkhead);
  std::optional<aura::BulkheadPermit> place = *bulkhead.try_acquire();
  const auto answer = begin_call(world, pipeline, std::ref(service));
  world.run_for(10s);
  CHECK(bulkhead.waiting() == 1);
  CHECK(hedge.hedges() == 0);
  place.reset();
  world.run();
  CHECK(answer->at == 11s);
  CHECK(hedge.hedges() == 1);
  CHECK(bulkhead.in_use() == 0);
}

TEST_CASE("over random calls, failures, faults and cancellations every permit comes back and no bound is passed") {
  for_each_seed("operational", "over random calls*", 40, [](std::uint64_t seed) {
    aura::sim::Runtime world({.seed = seed});
    aura::Random dice = world.random("test");
    Service service(world);
    service.latencies.clear();
    for (int i = 0; i < 2000; ++i)
      service.latencies.push_back(Duration(dice.below(dice.chance(0.1) ? 2'000'000'000 : 30'000'000)));
    service.fails = [dice](int) mutable { return dice.chance(0.2); };
    service.deaf = dice.chance(0.2);
    Recorder recorder;
    const auto in_max = static_cast<std::uint32_t>(1 + dice.below(4));
    aura::RateLimiter limiter(world, {.permits = 200, .period = 1s, .burst = 5, .queue_max = 8, .wait_max = 100ms});
    aura::Bulkhead bulkhead(world, {.concurrency_max = in_max, .queue_max = 4, .wait_max = 50ms});
    aura::FaultInjection faults(
        world, {.error_probability = 0.1, .latency_probability = 0.2, .latency_median = 20ms, .latency_spread = 1});
    aura::Hedge hedge({.window = 20, .attempts_max = 3, .budget = {.ratio = 0.5, .tokens_max = 10}});
    aura::Pipeline pipeline(world, aura::Retry(quick(3)), hedge, limiter, recorder, bulkhead, aura::Timeout{200ms},
                            faults);
    std::map<int, asio::cancellation_signal> signals;
    std::vector<int> open;
    int begun = 0, ended = 0, succeeded = 0;
    for (int i = 0; i < 300; ++i) {
      if (dice.chance(0.05)) faults.switch_on(!faults.is_on());
      if (dice.chance(0.05))
        recorder.refuse =
            recorder.refuse ? std::nullopt : std::optional(aura::rejection(rejection_errc::breaker_open));
      ++begun;
      const auto answer = [&, i](Result<int> result) {
        ++ended;
        succeeded += result.has_value();
        REQUIRE(std::erase(open, i) == 1);
      };
      open.push_back(i);
      if (dice.chance(0.2))
        pipeline.call([&] { return 1; }, asio::bind_cancellation_slot(signals[i].slot(), answer));
      else
        pipeline.call(std::ref(service), asio::bind_cancellation_slot(signals[i].slot(), answer));
      if (dice.chance(0.5)) world.run_for(Duration(dice.below(40'000'000)));
      if (!open.empty() && dice.chance(0.2))
        signals[open[dice.below(open.size())]].emit(asio::cancellation_type::terminal);
      REQUIRE(bulkhead.in_use() <= in_max);
      REQUIRE(pipeline.in_flight() == open.size());
    }
    world.run();
    REQUIRE(ended == begun);
    CHECK(succeeded > 0);
    CHECK(service.in_flight_most <= static_cast<int>(in_max));
    CHECK(service.in_flight == 0);
    CHECK(recorder.out == 0);
    CHECK(bulkhead.in_use() == 0);
    CHECK(bulkhead.waiting() == 0);
    CHECK(limiter.waiting() == 0);
    CHECK(pipeline.in_flight() == 0);
    CHECK(world.pending() == 0);
  });
}

TEST_CASE("a call is awaited, and a coroutine that is cancelled cancels its call") {
  aura::sim::Runtime world;
  Service service(world);
  service.latencies = {10ms, 1h};
  aura::Pipeline pipeline(world, aura::Timeout{2h});
  int value = -1;
  asio::cancellation_signal signal;
  bool ended = false;
  auto caller = [&]() -> asio::awaitable<void> {
    Result<int> first = co_await pipeline.call(std::ref(service), asio::use_awaitable);
    value = *first;
    co_await asio::this_coro::throw_if_cancelled(false);
    Result<int> second = co_await pipeline.call(std::ref(service), asio::use_awaitable);
    CHECK(second.error().error_class() == ErrorClass::cancelled);
  };
  asio::co_spawn(world, caller, asio::bind_cancellation_slot(signal.slot(), [&](std::exception_ptr fault) {
                   CHECK(!fault);
                   ended = true;
                 }));
  world.run_for(1s);
  CHECK(value == 0);
  signal.emit(asio::cancellation_type::terminal);
  world.run();
  CHECK(ended);
  CHECK(service.cancelled == 1);
  CHECK(world.steady_now().time_since_epoch() == 1s);
}

TEST_CASE("a draining pipeline takes no calls, waits for those under way, and cancels what is left at its deadline") {
  aura::sim::Runtime world({.order = aura::sim::Order::fifo});
  Service service(world);
  service.latencies = {1s, 1h};
  aura::Pipeline pipeline(world, aura::Retry(quick(2)));
  const auto quick_one = begin_call(world, pipeline, std::ref(service));
  const auto slow_one = begin_call(world, pipeline, std::ref(service));
  world.run_for(1ms);
  std::optional<Result<void>> drained;
  pipeline.drain(10s, [&](Result<void> result) { drained = result; });
  const auto late = begin_call(world, pipeline, std::ref(service));
  world.run_for(2s);
  CHECK(late->error().is(rejection_errc::draining));
  CHECK(quick_one->ok());
  CHECK(!drained);
  world.run();
  CHECK(slow_one->error().error_class() == ErrorClass::cancelled);
  REQUIRE(drained);
  CHECK(drained->error().error_class() == ErrorClass::timeout);
  CHECK(world.steady_now().time_since_epoch() == 10s + 1ms);
  CHECK(service.calls == 2);
}

TEST_CASE("an idle pipeline is drained at once, and one whose calls end in time without an error") {
  aura::sim::Runtime world;
  Service service(world);
  service.latencies = {1s};
  aura::Pipeline idle(world), busy(world);
  const auto answer = begin_call(world, busy, std::ref(service));
  int drained = 0;
  idle.drain(10s, [&](Result<void> result) { drained += result.has_value(); });
  CHECK(drained == 0);
  busy.drain(10s, [&](Result<void> result) { drained += result.has_value(); });
  world.run();
  CHECK(drained == 2);
  CHECK(answer->ok());
  CHECK(world.steady_now().time_since_epoch() == 1s);
}

TEST_CASE("a pipeline may be destroyed while calls are under way, and a runtime with calls in it") {
  auto held = std::make_shared<int>();
  auto world = std::make_unique<aura::sim::Runtime>();
  Service service(*world);
  service.latencies = {1s, 1h};
  int answers = 0;
  {
    aura::Bulkhead bulkhead(*world, {.concurrency_max = 1, .queue_max = 2});
    {
      aura::Pipeline pipeline(*world, aura::Retry(quick(2)), bulkhead, aura::Timeout{10h});
      for (int i = 0; i < 2; ++i)
        pipeline.call(std::ref(service), [&answers, held](Result<int> result) { answers += result.has_value(); });
    }
    world->run_for(10s);
    CHECK(answers == 1);
    CHECK(held.use_count() == 2);
  }
  world.reset();
  CHECK(held.use_count() == 1);
  CHECK(service.in_flight == 0);
}

TEST_CASE("the answer comes on the handler's executor, from many threads", "[threads]") {
  asio::thread_pool pool(4), others(1);
  aura::AsioRuntime world(pool.get_executor(), others.get_executor(), 1);
  aura::AnyRuntime any(world);
  constexpr int calls = 400;
  std::atomic<int> answers{0}, inside{0}, over{0};
  std::atomic<bool> elsewhere{false};
  {
    aura::Bulkhead bulkhead(any, {.concurrency_max = 3, .queue_max = 1000, .wait_max = 1h});
    aura::RateLimiter limiter(any, {.permits = 100'000, .period = 1s, .burst = 10, .queue_max = 1000});
    aura::FaultInjection faults(1, {.error_probability = 0.1, .latency_probability = 0.1, .latency_median = 50us});
    faults.switch_on();
    aura::Hedge hedge({.delay = 100us, .attempts_max = 3, .budget = {.ratio = 1, .tokens_max = 100}});
    aura::Pipeline pipeline(any, aura::Retry({.attempts_max = 3, .base = 50us}), hedge, limiter, bulkhead,
                            aura::Timeout{300us}, faults);
    const auto on_others = [&](Result<int>) {
      if (!others.get_executor().running_in_this_thread()) elsewhere = true;
      ++answers;
    };
    std::vector<std::unique_ptr<asio::cancellation_signal>> signals;
    for (int i = 0; i < calls; ++i) {
      signals.push_back(std::make_unique<asio::cancellation_signal>());
      pipeline.call(
          [any, &inside, &over, i]() -> asio::awaitable<int> {
            if (++inside > 3) ++over;
            struct Leave {
              std::atomic<int>& count;
              ~Leave() { --count; }
            } leave{inside};
            co_await any.async_wait_for(Duration(i % 7 * 100'000), asio::use_awaitable);
            co_return i;
          },
          asio::bind_cancellation_slot(signals.back()->slot(),
                                       asio::bind_executor(others.get_executor(), on_others)));
      pipeline.call([i] { return i; }, asio::bind_executor(others.get_executor(), on_others));
      if (i % 5 == 0) signals[static_cast<std::size_t>(i / 2)]->emit(asio::cancellation_type::terminal);
    }
    std::future<Result<void>> drained = pipeline.drain(1h, asio::use_future);
    CHECK(drained.get().has_value());
    pool.join();
    others.join();
    CHECK(bulkhead.in_use() == 0);
    CHECK(limiter.waiting() == 0);
  }
  CHECK(answers == 2 * calls);
  CHECK(inside == 0);
  CHECK(over == 0);
  CHECK(!elsewhere);
}
