// Batches: who goes with whom, and how long anyone waits for company.
#include "support/catch.hpp"

#include <aura/core/random.hpp>
#include <aura/operational/signal_scheduler.hpp>

#include <chrono>
#include <cmath>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using aura::Duration;
using aura::SignalDrop;
using aura::SignalNext;
using aura::SteadyTime;

namespace {

using Signal = aura::Signal<int, std::uint64_t>;

struct Rig {
  explicit Rig(aura::SignalBatchOptions batch, aura::LatePolicy late = aura::LatePolicy::drop)
      : scheduler(options_of(batch, late)) {}
  static aura::SignalSchedulerOptions options_of(aura::SignalBatchOptions batch, aura::LatePolicy late) {
    aura::SignalSchedulerOptions options;
    options.classes.resize(1);
    options.classes[0].batch = batch;
    options.classes[0].late = late;
    options.classes[0].feasibility = false;
    return options;
  }

  void dropped(Signal&&, aura::NoSignalExtra&&, SignalDrop, Duration) { ++drops; }
  void offer(std::uint64_t batch_key = 1, std::optional<Duration> due = {}) { offer_for(++key, batch_key, due); }
  void offer_for(std::uint64_t of_key, std::uint64_t batch_key, std::optional<Duration> due = {}) {
    Signal signal{.key = of_key, .class_index = 0, .payload = static_cast<int>(of_key), .batch_key = batch_key};
    if (due) signal.deadline = now + *due;
    REQUIRE(scheduler.offer(std::move(signal), now));
  }
  /// The size of the batch that goes now; none where nothing does.
  std::size_t begin() {
    next = scheduler.next(now, *this);
    return next.kind == SignalNext::Kind::run ? scheduler.signals(next.ticket).size() : 0;
  }
  void end(Duration took) {
    now += took;
    REQUIRE(scheduler.done(next.ticket, now));
  }
  std::size_t handle(Duration took = 1ms) {
    const std::size_t size = begin();
    if (size > 0) end(took);
    return size;
  }
  /// Makes the class aim at `size` signals a batch, and learn that a call costs `call` and a signal `each`.
  void teach(std::size_t size, Duration call, Duration each) {
    for (int i = 0; i < 1000 && scheduler.stats(0).batch_target < size; ++i) {
      const std::size_t full = scheduler.stats(0).batch_target;
      for (std::size_t n = 0; n < full; ++n) offer(1000 + static_cast<std::uint64_t>(i));
      REQUIRE(handle(call + each * static_cast<std::int64_t>(full)) == full);
    }
    REQUIRE(scheduler.stats(0).batch_target == size);
  }

  aura::SignalScheduler<int, std::uint64_t> scheduler;
  SteadyTime now{1h};
  std::uint64_t key = 0;
  SignalNext next{};
  int drops = 0;
};

}  // namespace

TEST_CASE("a full batch goes at once, with signals of its own batch key only") {
  Rig rig({.size_max = 4, .wait_max = 1h});
  rig.teach(4, 100ms, 1ms);
  for (int i = 0; i < 9; ++i) rig.offer(i % 3 == 0 ? 7 : 8);  // three of 7, six of 8
  REQUIRE(rig.handle() == 4);
  REQUIRE(rig.begin() == 0);
  rig.offer(7);
  REQUIRE(rig.begin() == 4);
  for (const Signal& each : rig.scheduler.signals(rig.next.ticket)) REQUIRE(each.batch_key == 7);
}

TEST_CASE("a batch that is not full goes when the earliest deadline less the predicted handling says so") {
  Rig rig({.size_max = 8, .wait_max = 1h, .call_cost = 1h});
  rig.teach(8, 100ms, 1ms);
  rig.offer(1, 10s);
  rig.offer(1, 150ms);
  REQUIRE(rig.begin() == 0);
  const SteadyTime begun = rig.now;
  REQUIRE(std::chrono::abs(rig.next.wake - (begun + 48ms)) < 2ms);  // 150 less 102
  rig.now = rig.next.wake - 1ns;
  REQUIRE(rig.begin() == 0);
  rig.now += 1ns;
  REQUIRE(rig.begin() == 2);
}

TEST_CASE("a batch goes when the waiting in it has come to the cost of the call that company would save") {
  Rig rig({.size_max = 16, .wait_max = 1h});
  rig.teach(16, 12ms, 1ms);
  const SteadyTime begun = rig.now;
  rig.offer();
  REQUIRE(rig.begin() == 0);
  REQUIRE(std::chrono::abs(rig.next.wake - (begun + 12ms)) < 500us);
  rig.now = begun + 4ms;
  rig.offer();
  REQUIRE(rig.begin() == 0);  // 4 ms were waited; two wait now: 4 + 2·4 = 12
  REQUIRE(std::chrono::abs(rig.next.wake - (begun + 8ms)) < 500us);
  rig.now = begun + 7ms;
  rig.offer();
  REQUIRE(rig.begin() == 0);  // 7 + 3 were waited; three wait now
  REQUIRE(std::chrono::abs(rig.next.wake - (begun + 7ms + 666us)) < 500us);
  rig.now = begun + 9ms;
  REQUIRE(rig.begin() == 3);
}

TEST_CASE("no batch waits longer than its class allows") {
  Rig rig({.size_max = 16, .wait_max = 2ms});
  rig.teach(16, 1s, 1ms);
  rig.offer();
  REQUIRE(rig.begin() == 0);
  REQUIRE(rig.next.wake == rig.now + 2ms);
}

TEST_CASE("a class that bypasses waiting takes the company that is there and no more") {
  Rig rig({.size_max = 16, .bypass = true, .wait_max = 1h});
  rig.teach(16, 1s, 1ms);
  rig.offer();
  REQUIRE(rig.handle() == 1);
  for (int i = 0; i < 5; ++i) rig.offer();
  REQUIRE(rig.handle() == 5);
  aura::SignalSchedulerOptions defaults;
  REQUIRE(defaults.classes[aura::DefaultClass::critical].batch.bypass);
}

TEST_CASE("a full batch in time makes the next aim at one more, a miss at a tenth fewer") {
  Rig rig({.size_max = 20, .wait_max = 0ns}, aura::LatePolicy::deliver);
  rig.teach(20, 1ms, 100us);
  for (int i = 0; i < 20; ++i) rig.offer();
  REQUIRE(rig.handle() == 20);
  REQUIRE(rig.scheduler.stats(0).batch_target == 20);  // its bound
  rig.offer(1, 1ms);
  REQUIRE(rig.handle(2ms) == 1);  // in time begun, too late ended
  REQUIRE(rig.scheduler.stats(0).batch_target == 18);
  rig.offer(1, 1ms);
  REQUIRE(rig.handle(2ms) == 1);
  REQUIRE(rig.scheduler.stats(0).batch_target == 16);  // 16.2
  rig.offer();
  REQUIRE(rig.handle() == 1);  // in time, and not full: as it was
  REQUIRE(rig.scheduler.stats(0).batch_target == 16);
  for (int i = 0; i < 16; ++i) rig.offer();
  REQUIRE(rig.handle() == 16);
  REQUIRE(rig.scheduler.stats(0).batch_target == 17);
  REQUIRE(rig.scheduler.stats(0).batch_largest == 20);
}

TEST_CASE("a key is in a batch once, and its next signal waits for that batch to end") {
  Rig rig({.size_max = 4, .wait_max = 0ns});
  rig.teach(4, 1ms, 1ms);
  for (int i = 0; i < 3; ++i) rig.offer_for(1'000'000, 5);
  rig.offer_for(1'000'001, 5);
  REQUIRE(rig.handle() == 2);
  REQUIRE(rig.handle() == 1);
  REQUIRE(rig.handle() == 1);
  REQUIRE(rig.scheduler.idle());
}

TEST_CASE("batches of adapting size save more calls than they cost waiting, and miss nothing") {
  // A call costs 2 ms and each signal 0.1: one at a time, 2,000 signals a second would be four times too many.
  for (const std::size_t size_max : {std::size_t{1}, std::size_t{32}}) {
    Rig rig({.size_max = size_max, .wait_max = 20ms});
    aura::Random dice(1);
    SteadyTime arrival = rig.now;
    int offered = 0;
    while (offered < 20'000) {
      while (arrival <= rig.now && offered < 20'000) {
        Signal signal{.key = static_cast<std::uint64_t>(offered),
                      .class_index = 0,
                      .deadline = arrival + 50ms,
                      .payload = 0,
                      .batch_key = 1};
        rig.scheduler.offer(std::move(signal), rig.now);
        ++offered;
        arrival += Duration(static_cast<std::int64_t>(-std::log(1 - dice.uniform()) * 500'000));
      }
      const std::size_t size = rig.begin();
      if (size > 0)
        rig.end(2ms + 100us * static_cast<std::int64_t>(size));
      else
        rig.now = std::min(arrival, std::max(rig.next.wake, rig.now));
    }
    const auto stats = rig.scheduler.stats(0);
    REQUIRE(stats.conserved());
    const auto in_time = static_cast<double>(stats.handled - stats.missed) / 20'000;
    if (size_max == 1)
      REQUIRE(in_time < 0.3);
    else
      REQUIRE(in_time > 0.97);
  }
}
