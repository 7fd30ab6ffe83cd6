// The signal router's core: who is accepted, who goes next.
#include "support/catch.hpp"

#include <aura/core/random.hpp>
#include <aura/operational/signal_scheduler.hpp>

#include <algorithm>
#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using aura::DefaultClass;
using aura::Duration;
using aura::SignalClass;
using aura::SignalDrop;
using aura::SignalNext;
using aura::SignalRefusal;
using aura::SteadyTime;

namespace {

using Signal = aura::Signal<int, std::string>;

/// A scheduler, its time, and what it dropped.
struct Rig {
  explicit Rig(aura::SignalSchedulerOptions options) : scheduler(options) {}

  void dropped(Signal&& signal, aura::NoSignalExtra&&, SignalDrop reason, Duration) {
    drops.emplace_back(signal.payload, reason);
  }
  std::optional<SignalRefusal> offer(Signal signal) { return scheduler.offer(std::move(signal), now).refused; }
  /// The payload of the one signal that goes next; none where nothing may.
  std::optional<int> begin() {
    const SignalNext next = scheduler.next(now, *this);
    if (next.kind != SignalNext::Kind::run) return std::nullopt;
    running.push_back(next.ticket);
    REQUIRE(scheduler.signals(next.ticket).size() == 1);
    return scheduler.signals(next.ticket).front().payload;
  }
  void end(Duration took = {}) {
    now += took;
    REQUIRE(scheduler.done(running.front(), now));
    running.erase(running.begin());
  }
  std::optional<int> handle(Duration took = {}) {
    const std::optional<int> payload = begin();
    if (payload) end(took);
    return payload;
  }
  std::vector<int> handle_all(Duration took = {}) {
    std::vector<int> out;
    while (const auto payload = handle(took)) out.push_back(*payload);
    return out;
  }
  aura::SignalClassStats stats(std::size_t index) const { return scheduler.stats(index); }

  aura::SignalScheduler<int, std::string> scheduler;
  SteadyTime now{1h};
  std::vector<aura::SignalTicket> running;
  std::vector<std::pair<int, SignalDrop>> drops;
};

SignalClass plain(std::string name, std::uint32_t weight = 1) {
  SignalClass made;
  made.name = std::move(name);
  made.weight = weight;
  return made;
}
aura::SignalSchedulerOptions one_class(SignalClass options = plain("only")) {
  aura::SignalSchedulerOptions made;
  made.classes = {std::move(options)};
  return made;
}
Signal signal_of(int payload, std::string key, std::optional<SteadyTime> deadline = {},
                 std::uint8_t class_index = 0) {
  return {.key = std::move(key), .class_index = class_index, .deadline = deadline, .payload = payload};
}

}  // namespace

TEST_CASE("within a class the earliest deadline goes first, and the first to come among equals") {
  Rig rig(one_class());
  const SteadyTime now = rig.now;
  for (const auto& [payload, due] : {std::pair{1, 300}, {2, 100}, {3, 200}, {4, 100}, {5, 300}, {6, 100}})
    REQUIRE(!rig.offer(signal_of(payload, std::to_string(payload), now + due * 1ms)));
  REQUIRE(rig.handle_all() == std::vector{2, 4, 6, 3, 1, 5});
}

TEST_CASE("a signal without a deadline is ordered by its class's patience and is never late") {
  Rig rig(one_class());
  rig.offer(signal_of(1, "a"));
  rig.offer(signal_of(2, "b", rig.now + 2s));
  rig.offer(signal_of(3, "c", rig.now + 500ms));
  rig.offer(signal_of(4, "d"));
  REQUIRE(rig.handle_all() == std::vector{3, 1, 4, 2});
  rig.offer(signal_of(5, "a"));
  rig.now += 1h;
  REQUIRE(rig.handle_all() == std::vector{5});
  REQUIRE(rig.drops.empty());
}

TEST_CASE("two classes that always have work share handling time by their weights") {
  aura::SignalSchedulerOptions options;
  options.classes = {plain("heavy", 3), plain("light", 1)};
  Rig rig(options);
  std::map<int, Duration> time;
  aura::Random dice(1);
  for (int i = 0; i < 20'000; ++i) {
    for (std::uint8_t c = 0; c < 2; ++c)
      if (rig.stats(c).waiting < 10) rig.offer(signal_of(c, std::to_string(c) + "/" + std::to_string(i), {}, c));
    const int turn = *rig.begin();
    const Duration took(static_cast<std::int64_t>(dice.below(turn == 0 ? 1'000'000 : 5'000'000)));
    time[turn] += took;
    rig.end(took);
  }
  const double ratio = static_cast<double>(time[0].count()) / static_cast<double>(time[1].count());
  REQUIRE(ratio > 2.95);
  REQUIRE(ratio < 3.05);
}

TEST_CASE("no class starves, whatever pours into the others") {
  Rig rig(aura::SignalSchedulerOptions{});
  std::map<std::uint8_t, int> handled;
  for (int i = 0; i < 5000; ++i) {
    for (std::uint8_t c = 0; c < 5; ++c)
      if (rig.stats(c).waiting < 10)
        rig.offer(signal_of(c, std::to_string(c) + "/" + std::to_string(i), rig.now + 10s, c));
    ++handled[static_cast<std::uint8_t>(*rig.handle(1ms))];
  }
  for (std::uint8_t c = 0; c < 5; ++c) {
    const int share = 5000 * (16 >> c) / 31;
    REQUIRE(std::abs(handled[c] - share) <= 10);
  }
}

TEST_CASE("a signal whose slack runs out goes before the turn of a weightier class") {
  const auto wait_of_the_light = [](std::optional<Duration> due) {
    aura::SignalSchedulerOptions options;
    options.classes = {plain("heavy", 100), plain("light", 1)};
    options.classes[1].feasibility = false;
    Rig rig(options);
    for (int i = 0; i < 200; ++i) {  // so that handling times are known, and light has had its turn
      rig.offer(signal_of(i, std::to_string(i), {}, static_cast<std::uint8_t>(i % 2)));
      rig.handle(1ms);
    }
    for (int i = 0; i < 300; ++i) rig.offer(signal_of(i, std::to_string(i), {}, 0));
    std::optional<SteadyTime> deadline;
    if (due) deadline = rig.now + *due;
    rig.offer(signal_of(-2, "first", {}, 1));
    rig.offer(signal_of(-1, "light", deadline, 1));
    int before = 0;
    while (const auto payload = rig.handle(1ms)) {
      if (*payload == -1) return before;
      ++before;
    }
    return -1;
  };
  REQUIRE(wait_of_the_light(std::nullopt) >= 90);  // its turn by weight
  const int promoted = wait_of_the_light(20ms);
  REQUIRE(promoted >= 15);  // not at once: it has slack
  REQUIRE(promoted <= 19);  // and yet in time
}

TEST_CASE("promotions borrow from a class's share and end when it is spent") {
  aura::SignalSchedulerOptions options;
  options.classes = {plain("heavy", 4), plain("light", 1)};
  options.classes[1].feasibility = false;
  options.classes[1].late = aura::LatePolicy::deliver;
  Rig rig(options);
  std::map<int, int> handled;
  for (int i = 0; i < 5000; ++i) {  // light is always out of slack
    for (std::uint8_t c = 0; c < 2; ++c)
      if (rig.stats(c).waiting < 5)
        rig.offer(signal_of(c, std::to_string(c) + "/" + std::to_string(i),
                            c == 0 ? std::optional<SteadyTime>() : rig.now + 1500us, c));
    ++handled[*rig.handle(1ms)];
  }
  REQUIRE(handled[0] > 3900);
}

TEST_CASE("signals of one key are handled one at a time, those of others meanwhile, up to the limit") {
  auto options = one_class();
  options.parallel_max = 3;
  Rig rig(options);
  const SteadyTime due = rig.now + 1s;
  for (int i = 0; i < 3; ++i) rig.offer(signal_of(i, "same", due + i * 1ms));
  rig.offer(signal_of(10, "b", due + 10ms));
  rig.offer(signal_of(11, "c", due + 11ms));
  rig.offer(signal_of(12, "d", due + 12ms));
  REQUIRE(rig.begin() == 0);
  REQUIRE(rig.begin() == 10);
  REQUIRE(rig.begin() == 11);
  const SignalNext full = rig.scheduler.next(rig.now, rig);
  REQUIRE(full.kind == SignalNext::Kind::busy);
  rig.end();  // of key "same"
  REQUIRE(rig.begin() == 1);
  rig.end();
  rig.end();
  REQUIRE(rig.begin() == 12);
  REQUIRE(!rig.begin().has_value());  // 2 waits for its key
  rig.end();
  REQUIRE(rig.begin() == 2);
}

TEST_CASE("a key's signals go in the order of their class, and in order of arrival where the class says so") {
  for (const bool fifo : {false, true}) {
    SignalClass options = plain("only");
    options.fifo_per_key = fifo;
    Rig rig(one_class(options));
    const SteadyTime now = rig.now;
    rig.offer(signal_of(1, "k", now + 300ms));
    rig.offer(signal_of(2, "k", now + 100ms));
    rig.offer(signal_of(3, "other", now + 150ms));
    rig.offer(signal_of(4, "k", now + 200ms));
    // By arrival, the oldest inherits the hurry of the one behind it.
    REQUIRE(rig.handle_all() == (fifo ? std::vector{1, 2, 3, 4} : std::vector{2, 3, 4, 1}));
  }
}

TEST_CASE("what is late at the head is dropped, and delivered where its class says so") {
  for (const auto policy : {aura::LatePolicy::drop, aura::LatePolicy::deliver}) {
    SignalClass options = plain("only");
    options.late = policy;
    Rig rig(one_class(options));
    rig.offer(signal_of(1, "a", rig.now + 5ms));
    rig.offer(signal_of(2, "b", rig.now + 20ms));
    rig.now += 5ms;
    if (policy == aura::LatePolicy::drop) {
      REQUIRE(rig.handle_all() == std::vector{2});
      REQUIRE(rig.drops == std::vector{std::pair{1, SignalDrop::late}});
    } else {
      REQUIRE(rig.handle_all() == std::vector{1, 2});
      REQUIRE(rig.drops.empty());
      REQUIRE(rig.stats(0).missed == 0);  // it took no time: it ended at its deadline
    }
  }
}

TEST_CASE("every refusal says why") {
  SignalClass options = plain("only");
  options.capacity_max = 2;
  Rig rig(one_class(options));
  REQUIRE(rig.offer(signal_of(1, "a", {}, 1)) == SignalRefusal::unknown_class);
  REQUIRE(rig.offer(signal_of(1, "a", rig.now)) == SignalRefusal::late);
  Signal with_id = signal_of(1, "a");
  with_id.id = 77;
  REQUIRE(!rig.offer(with_id));
  REQUIRE(rig.offer(with_id) == SignalRefusal::duplicate);
  REQUIRE(!rig.offer(signal_of(2, "b")));
  REQUIRE(rig.offer(signal_of(3, "c")) == SignalRefusal::full);
  rig.scheduler.close();
  REQUIRE(rig.offer(signal_of(4, "d")) == SignalRefusal::draining);
  const aura::SignalClassStats stats = rig.stats(0);
  REQUIRE(stats.refused_in_all() == 4);
  REQUIRE(stats.conserved());
  REQUIRE(rig.scheduler.unknown_class_refused() == 1);
}

TEST_CASE("a refused signal stays with its sender") {
  SignalClass options = plain("only");
  options.capacity_max = 0;
  aura::SignalScheduler<std::string> scheduler(one_class(options));
  aura::Signal<std::string> signal{.key = "k", .class_index = 0, .payload = std::string(100, 'x')};
  REQUIRE(!scheduler.offer(std::move(signal), SteadyTime{}));
  REQUIRE(signal.payload == std::string(100, 'x'));
  REQUIRE(signal.key == "k");
}

TEST_CASE("an id is free again once its signal was dropped, or has left the window") {
  auto options = one_class();
  options.dedup_span = 1s;
  Rig rig(options);
  Signal signal = signal_of(1, "a", rig.now + 5ms);
  signal.id = 5;
  REQUIRE(!rig.offer(signal));
  rig.now += 10ms;
  REQUIRE(!rig.begin().has_value());  // dropped, late
  signal.deadline = rig.now + 5ms;
  REQUIRE(!rig.offer(signal));
  REQUIRE(rig.handle() == 1);
  signal.deadline.reset();
  REQUIRE(rig.offer(signal) == SignalRefusal::duplicate);  // handled: it shall not be handled again
  rig.now += 1s;
  REQUIRE(!rig.offer(signal));
}

TEST_CASE("a signal is refused where the measured work ahead leaves no time, and says when to come back") {
  Rig rig(one_class());
  for (int i = 0; i < 50; ++i) {
    rig.offer(signal_of(i, "warm"));
    rig.handle(10ms);
  }
  int accepted = 0;
  while (!rig.offer(signal_of(100 + accepted, std::to_string(accepted), rig.now + 95ms))) ++accepted;
  REQUIRE(accepted == 9);  // ten milliseconds each, before 95
  Signal tenth = signal_of(0, "tenth", rig.now + 95ms);
  const aura::SignalVerdict verdict = rig.scheduler.offer(std::move(tenth), rig.now);
  REQUIRE(verdict.refused == SignalRefusal::infeasible);
  REQUIRE(verdict.retry_after >= 4ms);
  REQUIRE(verdict.retry_after <= 6ms);
  REQUIRE(!rig.offer(signal_of(500, "early", rig.now + 20ms)));     // nothing before it
  REQUIRE(!rig.offer(signal_of(501, "patient", rig.now + 500ms)));  // time enough behind them
  int in_time = 0;
  for (const int payload : rig.handle_all(10ms)) in_time += payload < 500;
  REQUIRE(in_time == 9);  // the last ended 5 ms after its deadline: the early one came between
  REQUIRE(rig.stats(0).missed == 1);
}

TEST_CASE("a class whose first call took far too long is not shut for ever") {
  Rig rig(one_class());
  rig.offer(signal_of(0, "warm"));
  rig.handle(1h);
  int handled = 0;
  for (int i = 0; i < 100; ++i) {
    rig.offer(signal_of(i, std::to_string(i), rig.now + 50ms));
    const bool refused = rig.offer(signal_of(i, "next " + std::to_string(i), rig.now + 50ms)).has_value();
    REQUIRE((i > 10 || refused));      // nothing but a probe
    REQUIRE((i < 20 || !refused));  // it has learned better
    handled += static_cast<int>(rig.handle_all(1ms).size());
  }
  REQUIRE(handled > 150);
  REQUIRE(rig.drops.empty());
}

TEST_CASE("a handler that hangs does not hide the work of the others") {
  auto options = one_class();
  options.parallel_max = 2;
  Rig rig(options);
  for (int i = 0; i < 50; ++i) {
    rig.offer(signal_of(i, "warm"));
    rig.handle(10ms);
  }
  rig.offer(signal_of(-1, "hangs"));
  REQUIRE(rig.begin() == -1);
  rig.now += 1h;
  int accepted = 0;
  while (!rig.offer(signal_of(0, std::to_string(accepted), rig.now + 100ms))) ++accepted;
  REQUIRE(accepted <= 19);  // by two: the one that hangs may end
  REQUIRE(rig.begin() == 0);
  REQUIRE(rig.offer(signal_of(0, "more", rig.now + 100ms)) == SignalRefusal::infeasible);
}

TEST_CASE("a key's own work counts against its next signal, however many run at once") {
  auto options = one_class();
  options.parallel_max = 8;
  Rig rig(options);
  for (int i = 0; i < 50; ++i) {
    rig.offer(signal_of(i, "warm"));
    rig.handle(10ms);
  }
  int one_key = 0, many = 0;
  while (!rig.offer(signal_of(0, "hot", rig.now + 100ms))) ++one_key;
  while (!rig.offer(signal_of(0, std::to_string(many), rig.now + 100ms))) ++many;
  REQUIRE(one_key == 10);
  REQUIRE(many > 55);
}

TEST_CASE("bulk without deadlines is thinned by controlled delay, and signals with a deadline are not") {
  for (const bool deadlines : {false, true}) {
    Rig rig(aura::SignalSchedulerOptions{});
    int offered = 0;
    for (int i = 0; i < 3000; ++i) {  // twice what can be handled
      for (int twice = 0; twice < 2; ++twice, ++offered)
        rig.offer(signal_of(offered, std::to_string(offered),
                            deadlines ? std::optional(rig.now + 1h) : std::optional<SteadyTime>(),
                            DefaultClass::bulk));
      rig.handle(1ms);
    }
    const auto stats = rig.stats(DefaultClass::bulk);
    REQUIRE(stats.conserved());
    REQUIRE((stats.dropped[aura::index_of(SignalDrop::codel)] > 20) == !deadlines);
    REQUIRE(stats.dropped_in_all() == rig.drops.size());
  }
}

TEST_CASE("a ticket ends once") {
  Rig rig(one_class());
  rig.offer(signal_of(1, "a"));
  const SignalNext next = rig.scheduler.next(rig.now, rig);
  REQUIRE(rig.scheduler.done(next.ticket, rig.now));
  REQUIRE(!rig.scheduler.done(next.ticket, rig.now));
  REQUIRE(!rig.scheduler.done({}, rig.now));
  REQUIRE(rig.scheduler.idle());
}

TEST_CASE("what waits when a scheduler is abandoned goes to the sink") {
  Rig rig(aura::SignalSchedulerOptions{});
  for (int i = 0; i < 100; ++i) rig.offer(signal_of(i, std::to_string(i % 7), {}, static_cast<std::uint8_t>(i % 5)));
  REQUIRE(rig.begin().has_value());
  rig.scheduler.close();
  rig.scheduler.abandon(rig.now, rig);
  REQUIRE(rig.drops.size() == 99);
  REQUIRE(rig.scheduler.waiting() == 0);
  rig.end();
  REQUIRE(rig.scheduler.idle());
  for (std::size_t c = 0; c < 5; ++c) REQUIRE(rig.stats(c).conserved());
}

TEST_CASE("a scheduler without classes, or that may run nothing, is refused at construction") {
  aura::SignalSchedulerOptions options;
  options.classes.clear();
  REQUIRE_THROWS_AS(aura::SignalScheduler<int>(options), std::invalid_argument);
  options.classes.resize(9);
  REQUIRE_THROWS_AS(aura::SignalScheduler<int>(options), std::invalid_argument);
  options.classes.resize(1);
  options.parallel_max = 0;
  REQUIRE_THROWS_AS(aura::SignalScheduler<int>(options), std::invalid_argument);
}
