// What a circuit breaker costs the call that it stands before, beside a bare relaxed increment and a look at the clock.
#include "support/bench.hpp"

#include <aura/core/asio_runtime.hpp>
#include <aura/operational/breaker/adaptive_policy.hpp>
#include <aura/operational/breaker/adaptive_throttle.hpp>
#include <aura/operational/breaker/all_of.hpp>
#include <aura/operational/breaker/consecutive_failures.hpp>
#include <aura/operational/breaker/failure_rate.hpp>
#include <aura/operational/breaker/failure_rate_over_time.hpp>
#include <aura/operational/breaker/gradient_limit.hpp>
#include <aura/operational/breaker/outlier_ejection.hpp>
#include <aura/operational/breaker_group.hpp>
#include <aura/sim/runtime.hpp>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>

#include <atomic>
#include <chrono>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using aura::SteadyTime;

std::uint64_t calls_of(const aura::bench::Suite& suite) { return suite.quick() ? 2'000'000 : 10'000'000; }

/// Nanoseconds of a call of `f`, on so many threads at once.
template <class F>
double ns_each(std::uint64_t calls, unsigned threads, F f) {
  auto work = [calls, f]() mutable {  // each thread has a copy of what `f` changes
    for (std::uint64_t i = 0; i < calls; ++i) f();
  };
  if (threads == 1) return 1e9 * aura::bench::seconds_of(work) / static_cast<double>(calls);
  return 1e9 * aura::bench::seconds_of([&] {
           std::vector<std::jthread> all;
           for (unsigned i = 0; i < threads; ++i) all.emplace_back(work);
         }) /
         static_cast<double>(calls);
}

std::atomic<std::uint64_t> counter{0};

double increment_ns(std::uint64_t calls, unsigned threads) {
  return ns_each(calls, threads, [] { counter.fetch_add(1, std::memory_order_relaxed); });
}

/// Each call a little later than the one before, as the host's clock would tell; it is given, not read.
template <class Policy>
double admit_record_ns(Policy policy, std::uint64_t calls, unsigned threads, aura::Duration latency) {
  aura::sim::Runtime world;
  aura::CircuitBreaker<Policy> breaker(world, std::move(policy), {.name = "benchmark"});
  const double ns = ns_each(calls, threads, [&breaker, latency, at = SteadyTime(1s)]() mutable {
    at += 1us;
    auto permit = breaker.try_acquire(at);
    permit->success(latency);
  });
  if (breaker.state() != aura::BreakerState::closed) throw std::logic_error("it did not stay closed");
  return ns;
}

/// As `Permit` costs nothing that is not seen here, and the caller looks at the error, as it must.
template <class Breaker>
double reject_ns(Breaker& breaker, std::uint64_t calls, SteadyTime now) {
  std::uint64_t rejected = 0;
  const double ns = ns_each(calls, 1, [&] {
    auto permit = breaker.try_acquire(now);
    if (!permit) [[likely]] {
      aura::bench::keep(permit.error().retry_after());
      ++rejected;
    }
  });
  if (rejected < calls * 9 / 10) throw std::logic_error("it did not reject");
  return ns;
}

template <class Policy>
double reject_ns(Policy policy, std::uint64_t calls) {
  aura::sim::Runtime world;
  aura::CircuitBreaker<Policy> breaker(world, std::move(policy), {.name = "benchmark"});
  for (int i = 0; i < 100'000 && breaker.state() != aura::BreakerState::open; ++i)
    if (auto permit = breaker.try_acquire(SteadyTime(1s))) permit->failure(aura::ErrorClass::transient);
  return reject_ns(breaker, calls, SteadyTime(1s));
}

/// As many calls in flight as there may be.
double reject_over_limit_ns(std::uint64_t calls) {
  aura::sim::Runtime world;
  aura::CircuitBreaker<aura::GradientLimit> breaker(world, aura::GradientLimit(), {.name = "benchmark"});
  std::vector<aura::CircuitBreaker<aura::GradientLimit>::Permit> held;
  while (auto permit = breaker.try_acquire(SteadyTime(1s))) held.push_back(std::move(*permit));
  return reject_ns(breaker, calls, SteadyTime(1s));
}

/// A thousand calls at a time of an action that answers at once, through the host's executor as it is. The runtime's
/// clock is looked at twice for each, as it is timed.
double call_ns(std::uint64_t calls) {
  boost::asio::io_context context;
  aura::AsioRuntime world(context.get_executor(), context.get_executor(), 1);
  aura::CircuitBreaker<aura::AdaptivePolicy> breaker(world);
  std::uint64_t answered = 0;
  const double seconds = aura::bench::seconds_of([&] {
    for (std::uint64_t begun = 0; begun < calls; begun += 1000) {
      for (int i = 0; i < 1000; ++i)
        breaker.call([] { return 1; },
                     [&answered](const aura::Result<int>& answer) { answered += answer ? 1u : 0u; });
      context.run();
      context.restart();
    }
  });
  if (answered != calls) throw std::logic_error("a call did not answer");
  return 1e9 * seconds / static_cast<double>(calls);
}
double post_ns(std::uint64_t calls) {
  boost::asio::io_context context;
  std::uint64_t ran = 0;
  const double seconds = aura::bench::seconds_of([&] {
    for (std::uint64_t begun = 0; begun < calls; begun += 1000) {
      for (int i = 0; i < 1000; ++i) boost::asio::post(context, [&ran] { ++ran; });
      context.run();
      context.restart();
    }
  });
  if (ran != calls) throw std::logic_error("a post did not run");
  return 1e9 * seconds / static_cast<double>(calls);
}

/// Admit and record by key, of a thousand that are there.
double group_ns(std::uint64_t calls) {
  aura::sim::Runtime world;
  aura::BreakerGroup<aura::AdaptivePolicy> group(world);
  std::vector<std::string> keys;
  for (int i = 0; i < 1000; ++i) keys.push_back("endpoint-" + std::to_string(i));
  for (const std::string& key : keys) group.find(key, SteadyTime(1s));
  return ns_each(calls, 1, [&, i = std::size_t{0}]() mutable {
    i = i + 1 == keys.size() ? 0 : i + 1;
    group.find(keys[i], SteadyTime(1s))->try_acquire(SteadyTime(1s))->success();
  });
}

template <class Make>
void bench_policy(aura::bench::Suite& suite, const std::string& policy, Make make, aura::Duration latency = {}) {
  const std::uint64_t calls = calls_of(suite);
  for (const unsigned threads : {1u, 2u}) {
    const std::string name =
        "circuit_breaker/admit_record/" + policy + (threads == 1 ? "" : "/" + std::to_string(threads) + "_threads");
    suite.compare(
        {.name = name, .unit = "ns"}, [&] { return admit_record_ns(make(), calls, threads, latency); },
        "relaxed increment", [&] { return increment_ns(calls, threads); });
  }
}

template <class Make>
void bench_reject(aura::bench::Suite& suite, const std::string& policy, Make make) {
  const std::uint64_t calls = calls_of(suite);
  suite.compare(
      {.name = "circuit_breaker/reject/" + policy, .unit = "ns"}, [&] { return reject_ns(make(), calls); },
      "relaxed increment", [&] { return increment_ns(calls, 1); });
}

}  // namespace

int main(int argc, char** argv) {
  aura::bench::Suite suite(argc, argv);
  const auto adaptive = [] { return aura::AdaptivePolicy(); };
  const auto consecutive = [] { return aura::ConsecutiveFailures(); };
  const auto rate = [] { return aura::FailureRate(); };
  const auto over_time = [] { return aura::FailureRateOverTime(); };
  const auto throttle = [] { return aura::AdaptiveThrottle(); };
  const auto gradient = [] { return aura::GradientLimit(); };
  const auto outlier = [] { return aura::OutlierEjection(std::make_shared<aura::OutlierGroup>()); };

  bench_policy(suite, "adaptive", adaptive);
  bench_policy(
      suite, "adaptive_with_latency", [] { return aura::AdaptivePolicy({.slow_rate = 0.3}); }, 2ms);
  bench_policy(suite, "consecutive", consecutive);
  bench_policy(suite, "failure_rate", rate);
  bench_policy(suite, "failure_rate_over_time", over_time);
  bench_policy(suite, "throttle", throttle);
  bench_policy(suite, "outlier", outlier);
  bench_policy(suite, "gradient_with_latency", gradient, 2ms);

  bench_reject(suite, "adaptive", adaptive);
  bench_reject(suite, "consecutive", consecutive);
  bench_reject(suite, "failure_rate", rate);
  bench_reject(suite, "failure_rate_over_time", over_time);
  bench_reject(suite, "throttle", throttle);
  bench_reject(suite, "outlier", outlier);
  const std::uint64_t calls = calls_of(suite);
  suite.compare(
      {.name = "circuit_breaker/reject/gradient", .unit = "ns"}, [&] { return reject_over_limit_ns(calls); },
      "relaxed increment", [&] { return increment_ns(calls, 1); });
  suite.compare(
      {.name = "circuit_breaker/group_admit_record/1000", .unit = "ns"}, [&] { return group_ns(calls / 4); },
      "relaxed increment", [&] { return increment_ns(calls, 1); });
  suite.compare(
      {.name = "circuit_breaker/call/adaptive", .unit = "ns"}, [&] { return call_ns(calls / 10); }, "a bare post",
      [&] { return post_ns(calls / 10); });
  suite.compare(
      {.name = "circuit_breaker/steady_clock", .unit = "ns"},
      [&] { return ns_each(calls, 1, [] { aura::bench::keep(std::chrono::steady_clock::now()); }); },
      "relaxed increment", [&] { return increment_ns(calls, 1); });
  return suite.finish();
}
