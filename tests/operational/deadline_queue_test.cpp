// The deadline queue against a multimap: the same order to the resolution, whatever the deadlines are.
#include "counted.hpp"
#include "support/catch.hpp"
#include "support/seeds.hpp"

#include <aura/core/random.hpp>
#include <aura/operational/deadline_queue.hpp>

#include <cstdint>
#include <limits>
#include <map>
#include <utility>
#include <vector>

namespace {

using aura::DeadlineQueue;
using aura::Duration;
using aura::SteadyTime;
using namespace std::chrono_literals;

SteadyTime at(Duration since_origin) { return SteadyTime(since_origin); }

/// What is asked for: by whole resolutions, and first in, first out within one.
class Model {
 public:
  explicit Model(Duration resolution) : resolution_ns_(resolution.count()) {}

  bool empty() const { return members_.empty(); }
  std::size_t size() const { return members_.size(); }
  void push(SteadyTime deadline, std::uint64_t value) {
    members_.emplace(rank(deadline), std::pair{deadline, value});
  }
  const std::pair<SteadyTime, std::uint64_t>& front() const { return members_.begin()->second; }
  void pop() { members_.erase(members_.begin()); }

 private:
  std::int64_t rank(SteadyTime deadline) const {
    if (deadline == SteadyTime::max()) return std::numeric_limits<std::int64_t>::max();
    const std::int64_t ns = deadline.time_since_epoch().count();
    const std::int64_t down = ns % resolution_ns_ < 0 ? 1 : 0;  // towards the past, not towards zero
    return ns / resolution_ns_ - down;
  }

  std::int64_t resolution_ns_;
  std::multimap<std::int64_t, std::pair<SteadyTime, std::uint64_t>> members_;
};

/// A queue and its model, driven in step.
class Pair {
 public:
  explicit Pair(aura::DeadlineQueueOptions options)
      : capacity_(options.capacity_max), queue_(options), model_(queue_.resolution()) {
    REQUIRE(queue_.resolution() <= options.resolution);
  }

  std::size_t size() const { return model_.size(); }

  void push(SteadyTime deadline) {
    const bool room = model_.size() < capacity_;
    if (queue_.push(deadline, count_) != room) FAIL("a push at " << model_.size() << " of " << capacity_);
    if (room) model_.push(deadline, count_++);
  }
  SteadyTime pop() {
    const auto [deadline, value] = model_.front();
    model_.pop();
    const bool same = queue_.next_deadline() == deadline && queue_.front() == value && queue_.pop() == value;
    if (!same) FAIL("out of order at " << deadline.time_since_epoch().count() << " ns, number " << value);
    if (queue_.size() != model_.size() || queue_.empty() != model_.empty()) FAIL("the size is wrong");
    return deadline;
  }
  void pop_all() {
    while (!model_.empty()) pop();
  }

 private:
  std::size_t capacity_;
  DeadlineQueue<std::uint64_t> queue_;
  Model model_;
  std::uint64_t count_ = 0;
};

SteadyTime anywhere(aura::Random& dice) { return at(Duration(static_cast<std::int64_t>(dice()))); }

/// Up to `spread` from `now`, either way when `past`.
SteadyTime around(aura::Random& dice, SteadyTime now, Duration spread, bool past) {
  const auto ns = Duration(static_cast<std::int64_t>(dice.below(static_cast<std::uint64_t>(spread.count()))));
  return aura::saturating_add(now, past && dice.chance(0.5) ? -ns : ns);
}

SteadyTime any_deadline(aura::Random& dice, SteadyTime now) {
  switch (dice.below(9)) {
    case 0: return SteadyTime::max();
    case 1: return dice.chance(0.9) ? around(dice, now, 24h, false) : anywhere(dice);
    case 2: return around(dice, now, 30min, true);
    case 3: return around(dice, now, 10s, true);
    case 4: return aura::saturating_add(now, 10s);  // many at one instant
    case 5: return around(dice, now, 1ms, true);
    default: return around(dice, now, 1s, false);
  }
}

}  // namespace

TEST_CASE("the earliest deadline comes first, to the resolution, and equals in the order in which they came") {
  for_each_seed("operational", "the earliest deadline comes first*", 12, [](std::uint64_t seed) {
    aura::Random dice(seed);
    const aura::DeadlineQueueOptions kinds[] = {{.capacity_max = 3000},
                                                {.capacity_max = 700, .resolution = 2us, .horizon = 1ms},
                                                {.capacity_max = 5000, .resolution = 100us, .horizon = 1min},
                                                {.capacity_max = 100, .resolution = 10s, .horizon = 0s}};
    Pair pair(kinds[seed % 4]);
    SteadyTime now = anywhere(dice);
    for (int phase = 0; phase < 24; ++phase) {
      const double growth = 0.3 + 0.4 * dice.uniform();  // below a half it drains, above it fills
      const bool follow = dice.chance(0.7);
      if (dice.chance(0.1)) now = anywhere(dice);
      for (int i = 0; i < 2000; ++i) {
        if (pair.size() == 0 || dice.chance(growth)) {
          pair.push(any_deadline(dice, now));
        } else {
          const SteadyTime popped = pair.pop();
          if (follow && popped != SteadyTime::max()) now = popped;
        }
      }
      if (dice.chance(0.2)) pair.pop_all();
    }
    pair.pop_all();
  });
}

TEST_CASE("a steady second of deadlines stays in order for many laps of the ring") {
  for (const std::size_t depth : {1u, 64u, 1000u, 20'000u}) {
    aura::Random dice(depth);
    Pair pair({.capacity_max = depth});
    SteadyTime now = at(1h);
    for (std::size_t i = 0; i < depth; ++i) pair.push(around(dice, now, 1s, false));
    const std::size_t pairs = depth == 1 ? 1000 : 20 * depth + 20'000;
    for (std::size_t i = 0; i < pairs; ++i) {
      now = pair.pop();
      pair.push(around(dice, now, 1s, false));
    }
    pair.pop_all();
  }
}

TEST_CASE("near deadlines overtake a crowd of far ones, again and again") {
  aura::Random dice(7);
  Pair pair({.capacity_max = 10'000});
  SteadyTime now = at(0s);
  for (int i = 0; i < 4000; ++i) pair.push(around(dice, now + 1h, 1s, false));
  for (int round = 0; round < 60; ++round) {
    const std::uint64_t burst = round % 3 == 0 ? 5000 : dice.below(100);  // more than the crowd, or a few
    for (std::uint64_t i = 0; i < burst; ++i) pair.push(around(dice, now, 20ms, false));
    for (int i = 0; i < 20; ++i) pair.push(around(dice, at(1h + 10s), 5ms, false));  // equals of what came rounds ago
    for (std::uint64_t i = 0; i < burst + 40; ++i) pair.pop();  // and some of the crowd
    for (int i = 0; i < 20; ++i) pair.push(around(dice, now + 1h, 1s, false));
    now += 100ms;
  }
  pair.pop_all();
}

TEST_CASE("the ends of time are deadlines like others, and none at all comes last") {
  const SteadyTime ends[] = {
      SteadyTime::min(),      SteadyTime::min() + 1ns, at(-1ns),         at(0ns), at(1ns), SteadyTime::max() - 1h,
      SteadyTime::max() - 1s, SteadyTime::max() - 1ns, SteadyTime::max()};
  const std::size_t count = std::size(ends);
  for (std::size_t first = 0; first < count; ++first) {  // each of them moves the ring to itself first
    for (std::size_t step = 1; step < count; ++step) {
      Pair pair({.capacity_max = 100});
      for (std::size_t i = 0; i < 3 * count; ++i) pair.push(ends[(first + i * step) % count]);
      for (std::size_t i = 0; i < 2 * count; ++i) pair.pop();
      for (std::size_t i = 0; i < count; ++i) pair.push(ends[(first + i * step) % count]);
      pair.pop_all();
    }
  }
}

TEST_CASE("deadlines in the past are the first, and in order among themselves") {
  DeadlineQueue<int> queue;
  queue.push(at(10s), 4);
  queue.push(at(9s), 3);  // within the ring
  queue.push(at(-1h), 2);
  queue.push(at(-2h), 1);
  queue.push(at(10s), 5);
  queue.push(SteadyTime::min(), 0);
  for (int i = 0; i < 6; ++i) REQUIRE(queue.pop() == i);
  REQUIRE(queue.empty());
}

TEST_CASE("the deadline at the head is told exactly, though the order is coarse") {
  DeadlineQueue<int> queue({.resolution = 250us});
  REQUIRE(queue.resolution() == Duration(1 << 17));
  queue.push(at(1s + 1ns), 1);
  queue.push(at(1s), 2);  // earlier by less than the resolution: behind the one that came first
  REQUIRE(queue.next_deadline() == at(1s + 1ns));
  queue.front() = 3;
  REQUIRE(queue.pop() == 3);
  REQUIRE(queue.next_deadline() == at(1s));
}

TEST_CASE("a resolution or a horizon out of bounds is taken as the nearest that will do") {
  REQUIRE(DeadlineQueue<int>({.resolution = 0ns}).resolution() == Duration(1024));
  REQUIRE(DeadlineQueue<int>({.resolution = -1h}).resolution() == Duration(1024));
  REQUIRE(DeadlineQueue<int>({.resolution = 1h, .horizon = -1h}).resolution() == Duration(1 << 30));
  DeadlineQueue<int> none({.capacity_max = 0, .horizon = Duration::max()});
  REQUIRE_FALSE(none.push(at(0s), 1));
  REQUIRE(none.empty());
}

TEST_CASE("a full queue refuses, and has room again for each that is taken") {
  DeadlineQueue<int> queue({.capacity_max = 3});
  for (int i = 0; i < 3; ++i) REQUIRE(queue.push(i == 1 ? SteadyTime::max() : at(1s * i), i));
  REQUIRE_FALSE(queue.push(at(0s), 9));
  REQUIRE(queue.size() == queue.capacity());
  REQUIRE(queue.pop() == 0);
  REQUIRE(queue.push(at(5s), 3));
  REQUIRE_FALSE(queue.push(at(0s), 9));
  std::vector<int> drained;
  queue.drain([&](SteadyTime, int value) { drained.push_back(value); });
  REQUIRE(drained == std::vector<int>{2, 3, 1});
  REQUIRE(queue.empty());
}

TEST_CASE("what is pushed is destroyed once, by pop, by clear or with the queue, and what is refused is as it was") {
  int alive = 0;
  {
    DeadlineQueue<Counted> queue({.capacity_max = 50});
    for (int round = 0; round < 3; ++round) {
      for (int i = 0; i < 60; ++i) queue.push(i % 5 == 0 ? SteadyTime::max() : at(1s * (i * 7 % 11)), Counted(alive));
      REQUIRE(alive == 50);
      for (int i = 0; i < 20; ++i) REQUIRE(queue.pop().holds());
      REQUIRE(alive == 30);
      if (round < 2) queue.clear();
      REQUIRE(alive == (round < 2 ? 0 : 30));
    }
  }
  REQUIRE(alive == 0);

  DeadlineQueue<Counted> one({.capacity_max = 1});
  REQUIRE(one.push(at(0s), Counted(alive)));
  Counted refused(alive);
  REQUIRE_FALSE(one.push(at(0s), std::move(refused)));
  REQUIRE(refused.holds());
}
