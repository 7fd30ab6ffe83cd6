// A second attempt beside a slow first one.
#include "operational/pipeline_world.hpp"

#include <algorithm>
#include <thread>

using namespace pipeline_world;

TEST_CASE("the delay is the quantile of what was measured lately, and unknown before the first window") {
  aura::Hedge hedge({.quantile = 0.95, .window = 100});
  aura::Random dice(1);
  for (int i = 0; i < 99; ++i) hedge.observe(Duration(std::chrono::milliseconds(1 + dice.below(100))));
  CHECK(!hedge.delay());
  for (int i = 0; i < 2000; ++i) hedge.observe(Duration(std::chrono::milliseconds(1 + dice.below(100))));
  REQUIRE(hedge.delay());
  CHECK(*hedge.delay() >= 90ms);
  CHECK(*hedge.delay() <= 96ms * 1.125);
  // It follows a change, because it forgets.
  for (int i = 0; i < 1000; ++i) hedge.observe(10 * Duration(std::chrono::milliseconds(1 + dice.below(100))));
  CHECK(*hedge.delay() >= 850ms);
  for (int i = 0; i < 1500; ++i) hedge.observe(Duration(std::chrono::milliseconds(1 + dice.below(100))));
  CHECK(*hedge.delay() <= 96ms * 1.125);
}

TEST_CASE("the quantile is that of the sorted values, within the width of a bucket") {
  aura::Random dice(3);
  for (const double quantile : {0.5, 0.9, 0.95, 0.99}) {
    aura::detail::FadingLatencies latencies(quantile, 1000);
    std::vector<Duration> all;
    for (int i = 0; i < 1000; ++i) {
      all.emplace_back(static_cast<Duration::rep>(std::exp(5 + 15 * dice.uniform())));
      latencies.observe(all.back());
    }
    std::sort(all.begin(), all.end());
    const Duration exact = all[static_cast<std::size_t>(quantile * 1000) - 1];
    CHECK(latencies.value() >= exact);
    CHECK(static_cast<double>(latencies.value().count()) <= static_cast<double>(exact.count()) * 1.125);
  }
}

TEST_CASE("a slow attempt gets a second one beside it; the first success wins and the loser is cancelled") {
  aura::sim::Runtime world;
  Service service(world);
  service.latencies = {1h, 20ms};
  aura::Hedge hedge({.delay = 100ms});
  aura::Pipeline pipeline(world, hedge);
  const auto answer = call(world, pipeline, std::ref(service));
  CHECK(**answer.result == 1);
  CHECK(answer.at == 120ms);
  CHECK(service.begun == std::vector<Duration>{0ms, 100ms});
  CHECK(service.cancelled == 1);
  CHECK(hedge.hedges() == 1);
  CHECK(world.steady_now().time_since_epoch() == 120ms);
}

TEST_CASE("an attempt in time is not hedged and leaves no timer behind") {
  aura::sim::Runtime world;
  Service service(world);
  service.latencies = {20ms};
  aura::Pipeline pipeline(world, aura::Hedge({.delay = 100ms}));
  CHECK(call(world, pipeline, std::ref(service)).ok());
  CHECK(service.calls == 1);
  CHECK(world.steady_now().time_since_epoch() == 20ms);
}

TEST_CASE("a failure is the answer only when no other attempt is in flight") {
  aura::sim::Runtime world;
  Service service(world);
  service.latencies = {150ms, 100ms};
  service.fails = [](int n) { return n == 0; };
  aura::Hedge hedge({.delay = 100ms});
  aura::Pipeline pipeline(world, hedge);
  CHECK(**call(world, pipeline, std::ref(service)).result == 1);
  service.fails = [](int) { return true; };
  service.calls = 0;
  const auto answer = call(world, pipeline, std::ref(service));
  CHECK(answer.error() == failure());
  CHECK(answer.at == 400ms);
}

TEST_CASE("no more attempts at once than the most") {
  aura::sim::Runtime world;
  Service service(world);
  service.latencies = {10s};
  aura::Pipeline pipeline(world, aura::Hedge({.delay = 100ms, .attempts_max = 4}));
  const auto answer = call(world, pipeline, std::ref(service));
  CHECK(service.begun == std::vector<Duration>{0ms, 100ms, 200ms, 300ms});
  CHECK(answer.at == 10s);
  CHECK(service.cancelled == 3);
}

TEST_CASE("hedges stay within their share of the calls") {
  aura::sim::Runtime world;
  Service service(world);
  service.latencies = {1s};
  aura::Hedge hedge({.delay = 100ms, .budget = {.ratio = 0.1, .tokens_max = 5}});
  aura::Pipeline pipeline(world, hedge);
  for (int i = 0; i < 1000; ++i) CHECK(call(world, pipeline, std::ref(service)).ok());
  CHECK(hedge.hedges() >= 100);
  CHECK(hedge.hedges() <= 105);
}

TEST_CASE("a hedge learns its delay from the calls that pass, and cuts the tail") {
  aura::sim::Runtime world;
  Service service(world);
  aura::Random dice(5);
  service.latencies.clear();
  for (int i = 0; i < 3000; ++i) service.latencies.push_back(dice.chance(0.03) ? 2s : 10ms);
  aura::Pipeline pipeline(world, aura::Hedge({.window = 100}));
  int slow = 0;
  for (int i = 0; i < 1000; ++i) {
    const auto begun = world.steady_now().time_since_epoch();
    const auto answer = call(world, pipeline, std::ref(service));
    if (i >= 300 && answer.at - begun > 100ms) ++slow;
  }
  CHECK(slow <= 5);  // of 700, of which 21 would have been
}

TEST_CASE("threads that observe and ask never see a quantile that was not there", "[threads]") {
  aura::Hedge hedge({.quantile = 0.5, .window = 64, .budget = {.ratio = 0.5, .tokens_max = 1}});
  std::atomic<bool> wrong{false};
  std::atomic<int> hedged{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 5000; ++i) {
        hedge.begun();
        hedge.observe(10ms);
        const auto delay = hedge.delay();
        if (delay && (*delay < 10ms || *delay > 11250us)) wrong = true;
        if (hedge.try_begin(1)) ++hedged;
      }
    });
  for (auto& thread : threads) thread.join();
  CHECK(!wrong);
  CHECK(hedged <= 10'001);
  CHECK(hedge.hedges() == static_cast<std::uint64_t>(hedged));
}
