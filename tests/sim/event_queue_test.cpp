#include "support/catch.hpp"

#include <aura/sim/detail/event_queue.hpp>

#include <map>
#include <utility>

namespace {

using aura::Duration;
using aura::Random;
using aura::SteadyTime;
using aura::sim::detail::Event;
using aura::sim::detail::EventKind;
using aura::sim::detail::EventQueue;

struct Counted : Event {
  Counted(std::uint64_t number, long& count) : Event(EventKind::timer), alive(count) {
    sequence = number;
    ++alive;
  }
  ~Counted() override { --alive; }
  void run() override { delete this; }
  long& alive;
};

}  // namespace

TEST_CASE("the event queue agrees with an ordered map over random additions, cancellations and wakings") {
  const std::uint64_t seed = GENERATE(1U, 2U, 3U, 4U, 5U, 6U, 7U, 8U);
  Random dice(seed);
  long alive = 0;
  {
    EventQueue queue;
    std::map<std::pair<std::int64_t, std::uint64_t>, Event*> model;
    std::uint64_t made = 0;
    std::int64_t now = 0;

    for (int step = 0; step < 4000; ++step) {
      const std::uint64_t choice = dice.below(10);
      if (choice < 5) {
        const std::int64_t due = now + 1 + static_cast<std::int64_t>(dice.below(50));
        auto event = std::make_unique<Counted>(++made, alive);
        model.emplace(std::pair(due, made), event.get());
        queue.add_later(SteadyTime(Duration(due)), std::move(event));
      } else if (choice < 9 && !model.empty()) {
        auto victim = std::next(model.begin(), static_cast<std::ptrdiff_t>(dice.below(model.size())));
        REQUIRE(queue.wake_early(*victim->second));
        REQUIRE_FALSE(queue.wake_early(*victim->second));
        REQUIRE(queue.take_first().get() == victim->second);
        model.erase(victim);
      } else if (!model.empty()) {
        now = queue.next_due().time_since_epoch().count();
        REQUIRE(now == model.begin()->first.first);
        queue.wake(SteadyTime(Duration(now)));
        while (!model.empty() && model.begin()->first.first <= now) {
          REQUIRE(queue.has_ready());
          REQUIRE(queue.take_first()->sequence == model.begin()->first.second);
          model.erase(model.begin());
        }
        REQUIRE_FALSE(queue.has_ready());
      }
      REQUIRE(queue.size() == model.size());
      REQUIRE(queue.entries() <= 2 * queue.size() + 1);
      REQUIRE(alive == static_cast<long>(model.size()));
    }
  }
  REQUIRE(alive == 0);
}
