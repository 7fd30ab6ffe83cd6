// What it costs to pass a bulkhead, a rate limiter, and a pipeline of five, beside the least that could be in their place.
#include "support/bench.hpp"

#include <aura/core/asio_runtime.hpp>
#include <aura/operational/pipeline.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <atomic>
#include <chrono>
#include <stdexcept>

namespace asio = boost::asio;
using namespace std::chrono_literals;

namespace {

/// Nanoseconds of each of `count` turns of `step`.
template <class Step>
double ns_each(std::size_t count, Step step) {
  return 1e9 / static_cast<double>(count) * aura::bench::seconds_of([&] {
           for (std::size_t i = 0; i < count; ++i) step(i);
         });
}

double increment_ns(std::size_t count) {
  std::atomic<std::uint64_t> counter{0};
  return ns_each(count, [&](std::size_t) {
    counter.fetch_add(1, std::memory_order_relaxed);
    aura::bench::keep(counter);
  });
}

double bulkhead_ns(std::size_t count) {
  aura::Bulkhead bulkhead({.concurrency_max = 10});
  return ns_each(count, [&](std::size_t) {
    auto permit = bulkhead.try_acquire();
    aura::bench::keep(permit);
    permit->record({});
  });
}

double limiter_ns(std::size_t count) {
  aura::RateLimiter limiter({.permits = 1'000'000'000, .period = 1s, .burst = 1'000'000});
  return ns_each(count, [&](std::size_t i) {
    auto permit = limiter.try_acquire(aura::SteadyTime(aura::Duration(2 * static_cast<std::int64_t>(i))));
    aura::bench::keep(permit);
    permit->record({});
  });
}

double limiter_rejects_ns(std::size_t count) {
  aura::RateLimiter limiter({.permits = 1, .period = 1h});
  limiter.try_acquire(aura::SteadyTime{})->record({});
  return ns_each(count, [&](std::size_t i) {
    auto permit = limiter.try_acquire(aura::SteadyTime(aura::Duration(static_cast<std::int64_t>(i))));
    aura::bench::keep(permit);
  });
}

double bulkhead_rejects_ns(std::size_t count) {
  aura::Bulkhead bulkhead({.concurrency_max = 1});
  auto held = bulkhead.try_acquire();
  return ns_each(count, [&](std::size_t) {
    auto permit = bulkhead.try_acquire();
    aura::bench::keep(permit);
  });
}

int act(int value) {
  aura::bench::keep(value);
  return value + 1;
}

/// A coroutine on an io_context of its own calls `once(i)` so often.
template <class Once>
double coroutine_ns(asio::io_context& context, std::size_t count, Once once) {
  double ns = 0;
  asio::co_spawn(
      context,
      [&]() -> asio::awaitable<void> {
        const auto begin = std::chrono::steady_clock::now();
        for (std::size_t i = 0; i < count; ++i) {
          aura::Result<int> result = co_await once(static_cast<int>(i));
          if (*result != static_cast<int>(i) + 1) throw std::logic_error("a call was lost");
        }
        ns = std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - begin).count();
      },
      [](std::exception_ptr fault) {
        if (fault) std::rethrow_exception(fault);
      });
  context.restart();
  context.run();
  return ns / static_cast<double>(count);
}

struct Host {
  asio::io_context context{1};
  asio::io_context blocking{1};
  aura::AsioRuntime world{context.get_executor(), blocking.get_executor(), 1};
};

double bare_ns(std::size_t count) {
  Host host;
  const asio::any_io_executor executor = host.context.get_executor();
  return coroutine_ns(host.context, count, [&](int i) -> asio::awaitable<aura::Result<int>> {
    co_await asio::post(executor, asio::use_awaitable);
    co_return act(i);
  });
}

template <class... Parts>
double pipeline_ns(std::size_t count, Host& host, Parts&&... parts) {
  aura::Pipeline pipeline(host.world, std::forward<Parts>(parts)...);
  return coroutine_ns(host.context, count,
                      [&](int i) { return pipeline.call([i] { return act(i); }, asio::use_awaitable); });
}

double empty_ns(std::size_t count) {
  Host host;
  return pipeline_ns(count, host);
}

double five_ns(std::size_t count) {
  Host host;
  aura::RateLimiter limiter({.permits = 1'000'000'000, .period = 1s, .burst = 1'000'000});
  aura::Bulkhead bulkhead({.concurrency_max = 10});
  return pipeline_ns(count, host, aura::Fallback([](const aura::Error&) { return 0; }), aura::Retry(), limiter,
                     bulkhead, aura::Timeout{1s});
}

}  // namespace

int main(int argc, char** argv) {
  aura::bench::Suite suite(argc, argv);
  const std::size_t atomics = suite.quick() ? 2'000'000 : 20'000'000;
  const std::size_t calls = suite.quick() ? 50'000 : 500'000;
  const auto beside_increment = [&](const char* name, double (*measured)(std::size_t)) {
    suite.compare(
        {.name = name, .unit = "ns"}, [=] { return measured(atomics); }, "relaxed increment",
        [=] { return increment_ns(atomics); });
  };
  beside_increment("bulkhead/try_acquire/1", bulkhead_ns);
  beside_increment("bulkhead/reject/1", bulkhead_rejects_ns);
  beside_increment("rate_limiter/try_acquire/1", limiter_ns);
  beside_increment("rate_limiter/reject/1", limiter_rejects_ns);
  suite.compare(
      {.name = "pipeline/call/0", .unit = "ns"}, [=] { return empty_ns(calls); }, "bare co_await of the action",
      [=] { return bare_ns(calls); });
  suite.compare(
      {.name = "pipeline/call/5", .unit = "ns"}, [=] { return five_ns(calls); }, "bare co_await of the action",
      [=] { return bare_ns(calls); });
  return suite.finish();
}
