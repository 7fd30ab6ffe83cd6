// Deficit round robin against the obvious slow one, and its promise of shares.
#include "counted.hpp"
#include "support/catch.hpp"
#include "support/seeds.hpp"

#include <aura/core/random.hpp>
#include <aura/operational/class_queue.hpp>

#include <algorithm>
#include <cstdint>
#include <deque>
#include <limits>
#include <utility>
#include <vector>

namespace {

using aura::ClassQueue;
using aura::DeficitRoundRobin;
using Weights = std::vector<DeficitRoundRobin::Weight>;

/// Round by round and class by class, as one would explain it.
class SlowRoundRobin {
 public:
  SlowRoundRobin(const Weights& weights, std::int64_t quantum) : classes_(weights.size()) {
    for (std::size_t i = 0; i < weights.size(); ++i) classes_[i].quantum = weights[i] * quantum;
  }

  void activate(std::size_t at) { classes_[at].active = true; }
  void deactivate(std::size_t at) {
    classes_[at].active = false;
    classes_[at].credit = std::min<std::int64_t>(0, classes_[at].credit);
  }
  void charge(std::size_t at, std::int64_t cost) {
    classes_[at].credit = std::min(classes_[at].credit - cost, classes_[at].quantum);
  }
  std::size_t next() {
    while (!(classes_[turn_].active && classes_[turn_].credit > 0)) {
      step();
      if (classes_[turn_].active) classes_[turn_].credit += classes_[turn_].quantum;
    }
    return turn_;
  }

 private:
  struct Class {
    bool active = false;
    std::int64_t credit = 0;
    std::int64_t quantum = 0;
  };

  // To the next with work; where that means beginning anew, those without work had a round to pay their debts.
  void step() {
    do {
      if (++turn_ < classes_.size()) continue;
      turn_ = 0;
      for (Class& one : classes_) {
        if (!one.active) one.credit = std::min<std::int64_t>(0, one.credit + one.quantum);
      }
    } while (!classes_[turn_].active);
  }

  std::vector<Class> classes_;
  std::size_t turn_ = 0;
};

Weights some_weights(aura::Random& dice, std::size_t classes_max) {
  Weights weights(1 + static_cast<std::size_t>(dice.below(classes_max)));
  for (auto& weight : weights) weight = 1 + static_cast<std::uint32_t>(dice.below(dice.chance(0.5) ? 4 : 30));
  return weights;
}

/// The most by which the shares of any two classes drift apart over any window of `turns`, times both weights, beyond
/// `allowed(w_i, w_j)`; none where they keep to it.
template <class Cost, class Allowed>
bool shares_hold(const Weights& weights, std::int64_t quantum, int turns, Cost cost, Allowed allowed) {
  DeficitRoundRobin robin(weights, quantum);
  const std::size_t count = weights.size();
  std::vector<std::int64_t> served(count), lowest(count * count), highest(count * count);
  for (std::size_t i = 0; i < count; ++i) robin.activate(i);
  for (int turn = 0; turn < turns; ++turn) {
    const std::size_t at = robin.next();
    const std::int64_t took = cost();
    robin.charge(at, took);
    served[at] += took;
    for (std::size_t i = 0; i < count; ++i) {
      for (std::size_t j = 0; j < i; ++j) {
        const std::int64_t apart = served[i] * weights[j] - served[j] * weights[i];
        std::int64_t& low = lowest[i * count + j];
        std::int64_t& high = highest[i * count + j];
        low = std::min(low, apart);
        high = std::max(high, apart);
        if (high - low > allowed(weights[i], weights[j])) return false;  // some window is as wide as this
      }
    }
  }
  return true;
}

}  // namespace

TEST_CASE("whose turn it is agrees with the slow round robin") {
  for_each_seed("operational", "whose turn it is agrees with the slow round robin", 30, [](std::uint64_t seed) {
    aura::Random dice(seed);
    const Weights weights = some_weights(dice, seed % 3 == 0 ? 64 : 6);
    const auto quantum = static_cast<std::int64_t>(1 + dice.below(20));
    const auto cost_max = static_cast<std::uint64_t>(seed % 2 == 0 ? 1 : 300);
    DeficitRoundRobin robin(weights, quantum);
    SlowRoundRobin slow(weights, quantum);
    for (int i = 0; i < 10'000; ++i) {
      const auto at = static_cast<std::size_t>(dice.below(weights.size()));
      switch (dice.below(6)) {
        case 0:
          robin.activate(at);
          slow.activate(at);
          break;
        case 1:
          if (dice.chance(0.5)) break;  // mostly with work
          robin.deactivate(at);
          slow.deactivate(at);
          break;
        case 2: {  // a late correction, whether or not it has work
          const auto cost =
              static_cast<std::int64_t>(dice.below(cost_max + 1)) - static_cast<std::int64_t>(cost_max / 4);
          if (!robin.active(at) && cost < 0) break;
          robin.charge(at, cost);
          slow.charge(at, cost);
          break;
        }
        default: {
          if (robin.idle()) break;
          const std::size_t turn = robin.next();
          if (turn != slow.next()) FAIL("turn " << i);
          const auto cost = static_cast<std::int64_t>(1 + dice.below(cost_max));
          robin.charge(turn, cost);
          slow.charge(turn, cost);
        }
      }
    }
  });
}

TEST_CASE("over any window, shares at a cost of one are within one quantum of the weights") {
  for_each_seed("operational", "over any window, shares at a cost of one*", 10, [](std::uint64_t seed) {
    aura::Random dice(seed);
    const Weights weights = some_weights(dice, 6);
    const auto quantum = static_cast<std::int64_t>(1 + dice.below(5));
    REQUIRE(shares_hold(
        weights, quantum, 10'000, [] { return 1; },
        [&](std::int64_t w_i, std::int64_t w_j) { return quantum * w_i * w_j; }));
  });
}

TEST_CASE("over any window, shares at any cost are within a quantum and a piece of each") {
  for_each_seed("operational", "over any window, shares at any cost*", 10, [](std::uint64_t seed) {
    aura::Random dice(seed);
    const Weights weights = some_weights(dice, 6);
    const auto quantum = static_cast<std::int64_t>(1 + dice.below(1000));
    const std::int64_t cost_max = 3000;
    REQUIRE(shares_hold(
        weights, quantum, 10'000, [&] { return static_cast<std::int64_t>(1 + dice.below(3000)); },
        [&](std::int64_t w_i, std::int64_t w_j) { return quantum * w_i * w_j + cost_max * (w_i + w_j); }));
  });
}

TEST_CASE("the lightest class is served once in every round of the heaviest") {
  DeficitRoundRobin robin(Weights{1000, 1});
  robin.activate(0);
  robin.activate(1);
  int since = 0;
  int served = 0;
  for (int i = 0; i < 100'000; ++i) {
    const std::size_t at = robin.next();
    robin.charge(at, 1);
    since = at == 1 ? 0 : since + 1;
    served += at == 1;
    if (since > 1000) FAIL("it starved for " << since);
  }
  REQUIRE(served >= 99);
}

TEST_CASE("a class that was idle saves up nothing, and waits one round at most") {
  DeficitRoundRobin robin(Weights{3, 5, 2});
  robin.activate(0);
  for (int i = 0; i < 1000; ++i) robin.charge(robin.next(), 1);
  robin.activate(1);
  robin.activate(2);
  std::vector<int> served(3);
  for (int i = 0; i < 10; ++i) {
    const std::size_t at = robin.next();
    robin.charge(at, 1);
    ++served[at];
  }
  REQUIRE(served[1] == 5);
  REQUIRE(served[2] == 2);
}

TEST_CASE("a piece of any cost is paid for, and the next turn is found at once") {
  DeficitRoundRobin robin(Weights{1, 1});
  robin.activate(0);
  robin.activate(1);
  robin.charge(0, 1'000'000'000'000);
  robin.charge(1, 999'999'999'000);
  for (int i = 0; i < 1000; ++i) {
    REQUIRE(robin.next() == 1);
    robin.charge(1, 1);
  }
  robin.charge(0, std::numeric_limits<std::int64_t>::max());
  robin.charge(0, std::numeric_limits<std::int64_t>::max());
  REQUIRE(robin.credit(0) == -DeficitRoundRobin::debt_max);
  robin.deactivate(1);
  REQUIRE(robin.next() == 0);  // alone, it waits for nobody
  robin.charge(0, std::numeric_limits<std::int64_t>::min());
  REQUIRE(robin.credit(0) == 1);
}

TEST_CASE("weights out of bounds are taken as the nearest that will do, and classes beyond the last are left out") {
  DeficitRoundRobin robin(Weights(70, 0), 0);
  REQUIRE(robin.classes() == 64);
  for (std::size_t i = 0; i < 64; ++i) robin.activate(i);
  std::vector<int> served(64);
  for (int i = 0; i < 640; ++i) {
    const std::size_t at = robin.next();
    robin.charge(at, 1);
    ++served[at];
  }
  REQUIRE(std::all_of(served.begin(), served.end(), [](int times) { return times == 10; }));
}

TEST_CASE("a class queue is first in, first out in each class, and keeps its bound") {
  for_each_seed("operational", "a class queue is first in, first out in each class*", 10, [](std::uint64_t seed) {
    aura::Random dice(seed);
    const Weights weights = some_weights(dice, 8);
    const auto capacity = static_cast<std::size_t>(1 + dice.below(200));
    ClassQueue<std::uint64_t> queue(weights, capacity);
    SlowRoundRobin slow(weights, 1);
    std::vector<std::deque<std::uint64_t>> model(weights.size());
    std::size_t size = 0;
    for (std::uint64_t i = 0; i < 40'000; ++i) {
      if (dice.chance(i / 5000 % 2 == 0 ? 0.6 : 0.4)) {
        const auto at = static_cast<std::size_t>(dice.below(weights.size()));
        const bool room = model[at].size() < capacity;
        if (queue.push(at, i) != room) FAIL("the bound is wrong at " << model[at].size());
        if (!room) continue;
        if (model[at].empty()) slow.activate(at);
        model[at].push_back(i);
        ++size;
      } else if (size != 0) {
        const std::size_t at = slow.next();
        slow.charge(at, 1);
        if (queue.next_class() != at || queue.front() != model[at].front()) FAIL("the wrong one is next");
        if (queue.pop() != model[at].front()) FAIL("the wrong one was taken");
        model[at].pop_front();
        --size;
        if (model[at].empty()) slow.deactivate(at);
        if (queue.size(at) != model[at].size()) FAIL("the class's size is wrong");
      }
      if (queue.size() != size || queue.empty() != (size == 0)) FAIL("the size is wrong");
    }
  });
}

TEST_CASE("a class queue destroys what it holds, once, and leaves alone what it refuses") {
  int alive = 0;
  {
    ClassQueue<Counted> queue(Weights{2, 1}, 50);
    for (int round = 0; round < 3; ++round) {
      for (std::size_t i = 0; i < 40; ++i) REQUIRE(queue.push(i % 2, Counted(alive)));
      for (int i = 0; i < 30; ++i) REQUIRE(queue.pop().holds());
      REQUIRE(alive == (round + 1) * 10);
    }
  }
  REQUIRE(alive == 0);

  ClassQueue<Counted> one(Weights{1}, 1);
  REQUIRE(one.push(0, Counted(alive)));
  Counted refused(alive);
  REQUIRE_FALSE(one.push(0, std::move(refused)));
  REQUIRE(refused.holds());
}
