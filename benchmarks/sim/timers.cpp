// What virtual time costs: a million waits and a million posts, beside the least that could do their work.
#include "support/bench.hpp"

#include <aura/sim/runtime.hpp>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>

#include <cstdint>
#include <functional>
#include <queue>
#include <stdexcept>
#include <vector>

namespace {

constexpr std::size_t count = 1'000'000;

/// Deadlines within ten hours, the same in every run.
std::vector<aura::SteadyTime> deadlines() {
  aura::Random dice(1);
  std::vector<aura::SteadyTime> all(count);
  for (auto& when : all) when = aura::SteadyTime(aura::Duration(dice.below(36'000'000'000'000)));
  return all;
}

double timers_ms(const std::vector<aura::SteadyTime>& all) {
  return 1e3 * aura::bench::seconds_of([&] {
           aura::sim::Runtime world;
           std::size_t fired = 0;
           for (const auto when : all) world.async_wait_until(when, [&fired](boost::system::error_code) { ++fired; });
           world.run();
           if (fired != count) throw std::logic_error("a timer did not fire");
         });
}

double priority_queue_ms(const std::vector<aura::SteadyTime>& all) {
  return 1e3 * aura::bench::seconds_of([&] {
           std::priority_queue<aura::SteadyTime, std::vector<aura::SteadyTime>, std::greater<>> queue;
           for (const auto when : all) queue.push(when);
           for (; !queue.empty(); queue.pop()) aura::bench::keep(queue.top());
         });
}

/// A thousand at a time: as many as a busy simulation has ready at once.
template <class Context>
double posts_ms() {
  return 1e3 * aura::bench::seconds_of([] {
           Context context;
           std::size_t ran = 0;
           for (std::size_t posted = 0; posted < count; posted += 1000) {
             for (int i = 0; i < 1000; ++i) boost::asio::post(context, [&ran] { ++ran; });
             context.run();
             if constexpr (requires { context.restart(); }) context.restart();
           }
           if (ran != count) throw std::logic_error("a post did not run");
         });
}

}  // namespace

int main(int argc, char** argv) {
  aura::bench::Suite suite(argc, argv);
  const auto all = deadlines();
  suite.compare(
      {.name = "sim/timers/1000000", .unit = "ms", .runs = 5}, [&] { return timers_ms(all); },
      "std::priority_queue of the deadlines", [&] { return priority_queue_ms(all); });
  suite.compare(
      {.name = "sim/posts/1000000", .unit = "ms", .runs = 5}, [] { return posts_ms<aura::sim::Runtime>(); },
      "boost::asio::io_context", [] { return posts_ms<boost::asio::io_context>(); });
  return suite.finish();
}
