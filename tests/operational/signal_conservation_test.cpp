// Nothing vanishes: a million random operations, and after each the books balance.
#include "support/catch.hpp"
#include "support/seeds.hpp"

#include <aura/core/random.hpp>
#include <aura/operational/signal_scheduler.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <tuple>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using aura::Duration;
using aura::Random;
using aura::SignalDrop;
using aura::SignalNext;
using aura::SteadyTime;

namespace {

using Signal = aura::Signal<std::uint64_t, std::uint64_t>;
using Scheduler = aura::SignalScheduler<std::uint64_t, std::uint64_t>;

aura::SignalSchedulerOptions random_options(Random& dice) {
  aura::SignalSchedulerOptions options;
  options.classes.resize(1 + dice.below(5));
  for (aura::SignalClass& each : options.classes) {
    each.weight = static_cast<std::uint32_t>(1 + dice.below(20));
    each.capacity_max = 1 + dice.below(60);
    each.late = dice.chance(0.7) ? aura::LatePolicy::drop : aura::LatePolicy::deliver;
    each.feasibility = dice.chance(0.5);
    each.codel.on = dice.chance(0.3);
    each.codel.spare_deadlines = dice.chance(0.5);
    each.fifo_per_key = dice.chance(0.4);
    each.batch.size_max = dice.chance(0.5) ? 1 : 1 + dice.below(10);
    each.batch.bypass = dice.chance(0.2);
    each.patience = 100ms;
  }
  options.parallel_max = 1 + dice.below(6);
  options.gathering_max = dice.below(4);
  options.dedup_ids_max = dice.below(50);
  options.dedup_span = 200ms;
  return options;
}

/// Drives a scheduler at random, and keeps its own books of who is where.
class Bookkeeper {
 public:
  explicit Bookkeeper(std::uint64_t seed) : dice_(seed), options_(random_options(dice_)), scheduler_(options_) {}

  void step() {
    now_ += Duration(static_cast<std::int64_t>(dice_.below(dice_.chance(0.01) ? 50'000'000 : 500'000)));
    if (dice_.chance(0.1)) look();
    switch (dice_.below(5)) {
      case 0:
      case 1: offer(); break;
      case 2:
      case 3: next(); break;
      default: end(); break;
    }
    check();
  }
  /// Until nothing waits, or so many steps were in vain.
  void finish() {
    for (int i = 0; i < 10'000 && !scheduler_.idle(); ++i) {
      now_ += 1ms;
      if (dice_.chance(0.7))
        next();
      else
        end();
      check();
    }
    REQUIRE(scheduler_.idle());
    REQUIRE(waiting_.empty());
    REQUIRE(running_.empty());
    REQUIRE(made_ == refused_ + handled_ + dropped_);
  }
  void abandon() {
    scheduler_.close();
    scheduler_.abandon(now_, *this);
    REQUIRE(waiting_.empty());
    check();
  }

  void dropped(Signal&& signal, aura::NoSignalExtra&&, SignalDrop, Duration) {
    REQUIRE(waiting_.erase(signal.payload) == 1);
    ++dropped_;
  }

 private:
  void offer() {
    Signal signal{.key = dice_.below(8),
                  .class_index = static_cast<std::uint8_t>(dice_.below(options_.classes.size() + 1)),
                  .payload = made_++};
    if (dice_.chance(0.6))
      signal.deadline = now_ + Duration(static_cast<std::int64_t>(dice_.below(60'000'000))) - 1ms;
    if (dice_.chance(0.3)) signal.id = dice_.below(30);
    if (dice_.chance(0.5)) signal.batch_key = dice_.below(3);
    const std::uint64_t number = signal.payload;
    if (scheduler_.offer(std::move(signal), now_))
      REQUIRE(waiting_.insert(number).second);
    else
      ++refused_;
  }
  void next() {
    const SignalNext step = scheduler_.next(now_, *this);
    if (step.kind == SignalNext::Kind::busy) REQUIRE(running_.size() == options_.parallel_max);
    if (step.kind == SignalNext::Kind::wait) {
      REQUIRE(running_.size() < options_.parallel_max);
      REQUIRE(step.wake > now_);
      // Whoever waits, waits for a key or for company: nobody is forgotten.
      if (running_.empty() && scheduler_.waiting() > 0) REQUIRE(step.wake <= now_ + 5ms);
    }
    if (step.kind != SignalNext::Kind::run) return;
    const auto batch = scheduler_.signals(step.ticket);
    REQUIRE(!batch.empty());
    const aura::SignalClass& of = options_.classes[batch.front().class_index];
    REQUIRE(batch.size() <= of.batch.size_max);
    for (const Signal& each : batch) {
      REQUIRE(waiting_.erase(each.payload) == 1);
      REQUIRE(busy_keys_.insert(each.key).second);
      REQUIRE(each.class_index == batch.front().class_index);
      REQUIRE(each.batch_key == batch.front().batch_key);
      if (of.late == aura::LatePolicy::drop && each.deadline) REQUIRE(*each.deadline > now_);
      check_order(of, each);
    }
    running_.push_back(step.ticket);
  }
  void look() {
    scheduler_.look_ahead(dice_.below(4), [&](const Signal& signal, aura::NoSignalExtra&) {
      REQUIRE(waiting_.count(signal.payload) == 1);
    });
  }
  /// FIFO per key and batch key: what is handed out came after what was handed out before it.
  void check_order(const aura::SignalClass& of, const Signal& signal) {
    if (!of.fifo_per_key) return;
    const bool batched = of.batch.size_max > 1 && signal.batch_key;
    std::uint64_t& last = last_[{signal.class_index, signal.key, batched ? *signal.batch_key + 1 : 0}];
    REQUIRE(last <= signal.payload);
    last = signal.payload;
  }
  void end() {
    if (running_.empty()) return;
    const std::size_t at = dice_.below(running_.size());
    const aura::SignalTicket ticket = running_[at];
    for (const Signal& each : scheduler_.signals(ticket)) REQUIRE(busy_keys_.erase(each.key) == 1);
    handled_ += scheduler_.signals(ticket).size();
    REQUIRE(scheduler_.done(ticket, now_));
    REQUIRE(!scheduler_.done(ticket, now_));
    running_.erase(running_.begin() + static_cast<std::ptrdiff_t>(at));
  }
  void check() {
    aura::SignalClassStats all;
    for (std::size_t c = 0; c < options_.classes.size(); ++c) {
      const aura::SignalClassStats stats = scheduler_.stats(c);
      if (!stats.conserved()) FAIL("class " << c << " lost a signal, or counted one twice");
      if (stats.waiting > options_.classes[c].capacity_max) FAIL("class " << c << " is over its bound");
      all.offered += stats.offered;
      all.waiting += stats.waiting;
      all.running += stats.running;
      all.handled += stats.handled;
      all.dropped[0] += stats.dropped_in_all();
      all.refused[0] += stats.refused_in_all();
    }
    const bool balanced = all.offered + scheduler_.unknown_class_refused() == made_ &&
                          all.waiting == waiting_.size() && all.handled == handled_ && all.dropped[0] == dropped_ &&
                          all.refused[0] + scheduler_.unknown_class_refused() == refused_ &&
                          all.running == busy_keys_.size() && scheduler_.waiting() == waiting_.size();
    if (!balanced) FAIL("the scheduler's books are not ours");
  }

  Random dice_;
  aura::SignalSchedulerOptions options_;
  Scheduler scheduler_;
  SteadyTime now_{1h};
  std::set<std::uint64_t> waiting_;
  std::set<std::uint64_t> busy_keys_;
  std::vector<aura::SignalTicket> running_;
  std::map<std::tuple<std::uint8_t, std::uint64_t, std::uint64_t>, std::uint64_t> last_;
  std::uint64_t made_ = 0, refused_ = 0, handled_ = 0, dropped_ = 0;
};

}  // namespace

TEST_CASE("offered = refused + handled + dropped + pending, over a million random operations") {
  for_each_seed("operational", "offered = refused + handled + dropped + pending, over a million random operations",
                100, [](std::uint64_t seed) {
                  Bookkeeper books(seed);
                  for (int i = 0; i < 10'000; ++i) books.step();
                  if (seed % 2 == 0) books.abandon();
                  books.finish();
                });
}
