// The machine of the circuit breaker: states, probes, recovery, and what must never happen.
#include "support/catch.hpp"

#include <aura/operational/breaker/consecutive_failures.hpp>
#include <aura/operational/breaker/core.hpp>

#include <chrono>
#include <deque>
#include <optional>
#include <string>
#include <vector>

namespace {

using namespace std::chrono_literals;
using aura::AttemptOutcome;
using aura::BreakerCore;
using aura::BreakerOptions;
using aura::BreakerState;
using aura::ConsecutiveFailures;
using aura::Duration;
using aura::ErrorClass;
using aura::RecoveryOptions;
using aura::SteadyTime;

constexpr SteadyTime start{1000s};

struct Log {
  std::vector<aura::BreakerChanged>* changes;
  void operator()(const aura::BreakerChanged& change) const { changes->push_back(change); }
};

/// Opens at the third failure in a row, for 10 s, without jitter.
RecoveryOptions plain_recovery(std::uint32_t probes = 2) {
  RecoveryOptions recovery = RecoveryOptions::single(probes);
  recovery.open_for = 10s;
  recovery.open_max = 80s;
  recovery.jitter = 0;
  return recovery;
}

struct Rig {
  explicit Rig(RecoveryOptions recovery = plain_recovery())
      : core({.name = "payments", .recovery = recovery}, ConsecutiveFailures({.failures = 3}), 7, Log{&changes}) {}

  std::optional<aura::BreakerTicket> admit() {
    const auto admission = core.admit(now);
    if (!admission.passes()) return std::nullopt;
    return admission.ticket;
  }
  void end(aura::BreakerTicket ticket, std::optional<ErrorClass> failure = {}) {
    core.record(ticket, {.failure = failure}, [this] { return now; });
  }
  void fail(int calls = 1) {
    for (int i = 0; i < calls; ++i) end(admit().value(), ErrorClass::transient);
  }
  void succeed(int calls = 1) {
    for (int i = 0; i < calls; ++i) end(admit().value());
  }
  void open() {
    fail(3);
    REQUIRE(core.state() == BreakerState::open);
  }

  std::vector<aura::BreakerChanged> changes;
  SteadyTime now = start;
  BreakerCore<ConsecutiveFailures, Log> core;
};

}  // namespace

TEST_CASE("a breaker opens, waits, probes and closes, and tells each change in turn") {
  Rig rig;
  rig.fail(2);
  rig.succeed();
  rig.fail(2);
  REQUIRE(rig.core.state() == BreakerState::closed);
  rig.fail();
  REQUIRE(rig.core.state() == BreakerState::open);
  REQUIRE(rig.core.snapshot().open_until == start + 10s);

  rig.now += 10s - 1ns;
  REQUIRE_FALSE(rig.admit());
  rig.now += 1ns;
  rig.succeed(5);  // as the defaults of RecoveryOptions have it
  REQUIRE(rig.core.state() == BreakerState::closed);

  std::vector<BreakerState> states;
  for (const auto& change : rig.changes) {
    REQUIRE(change.name == "payments");
    REQUIRE_FALSE(change.why.empty());
    REQUIRE(change.epoch == states.size() + 1);
    states.push_back(change.to);
  }
  REQUIRE(states == std::vector{BreakerState::open, BreakerState::half_open, BreakerState::closed});
}

TEST_CASE("a rejection names the breaker and says when to come back, and outlives the breaker") {
  std::optional<aura::Error> kept;
  {
    Rig rig;
    rig.open();
    rig.now += 4s;
    kept = rig.core.error(rig.core.admit(rig.now));
  }
  REQUIRE(kept->message() == "the circuit breaker of payments is open");
  REQUIRE(kept->is(aura::rejection_errc::breaker_open));
  REQUIRE(kept->error_class() == ErrorClass::rejected);
  REQUIRE(kept->retry_after() == 6s);
}

TEST_CASE("a first probe that fails is a relapse, and each relapse waits longer, up to a bound") {
  Rig rig;
  rig.open();
  for (const Duration span : {10s, 20s, 40s, 80s, 80s}) {
    REQUIRE(rig.core.snapshot().open_until == rig.now + span);
    rig.now += span;
    rig.fail();
    REQUIRE(rig.core.state() == BreakerState::open);
  }
  REQUIRE(rig.core.snapshot().openings == 6);
}

TEST_CASE(
    "a breaker that opens again soon after it closed goes on where its backoff was, and a settled one does not") {
  Rig rig;
  rig.open();
  rig.now += 10s;
  rig.succeed(5);
  rig.now += 59s;
  rig.open();
  REQUIRE(rig.core.snapshot().open_until == rig.now + 20s);
  rig.now += 20s;
  rig.succeed(5);
  rig.now += 60s;
  rig.open();
  REQUIRE(rig.core.snapshot().open_until == rig.now + 10s);
}

TEST_CASE("half-open never has more probes in flight than it may, and a dropped one frees its place") {
  Rig rig(plain_recovery(2));
  rig.open();
  rig.now += 10s;
  const auto first = rig.admit();
  const auto second = rig.admit();
  REQUIRE((first && second));
  const auto third = rig.core.admit(rig.now);
  REQUIRE(third.code == aura::rejection_errc::breaker_half_open);
  REQUIRE(third.retry_after == 100ms);
  rig.core.cancel(*first);
  const auto fourth = rig.admit();
  REQUIRE(fourth.has_value());
  REQUIRE_FALSE(rig.admit());
  rig.end(*second);
  rig.end(*fourth);
  REQUIRE(rig.core.snapshot().probes_in_flight == 0);
}

TEST_CASE("probes that never answer do not wedge it: their silence is a relapse") {
  Rig rig(plain_recovery(2));
  rig.open();
  rig.now += 10s;
  const auto silent = rig.admit();
  REQUIRE(rig.admit());
  rig.now += 30s - 1ns;
  REQUIRE_FALSE(rig.admit());
  REQUIRE(rig.core.state() == BreakerState::half_open);
  rig.now += 1ns;
  REQUIRE_FALSE(rig.admit());
  REQUIRE(rig.core.state() == BreakerState::open);
  rig.now += 20s;
  rig.succeed(4);
  rig.end(*silent, ErrorClass::timeout);  // of an epoch that is over
  rig.succeed();
  REQUIRE(rig.core.state() == BreakerState::closed);
}

TEST_CASE("what was admitted before a change counts for nothing after it") {
  Rig rig;
  std::vector<aura::BreakerTicket> late;
  for (int i = 0; i < 5; ++i) late.push_back(*rig.admit());
  rig.open();
  rig.now += 10s;
  REQUIRE(rig.admit());
  for (const auto ticket : late) rig.end(ticket, ErrorClass::transient);
  REQUIRE(rig.core.state() == BreakerState::half_open);
  REQUIRE(rig.core.snapshot().probes_in_flight == 1);
}

TEST_CASE("what a result counts as is the user's, and by default a caller's fault speaks for the dependency") {
  Rig rig;
  for (int i = 0; i < 10; ++i) rig.end(*rig.admit(), ErrorClass::permanent);
  for (int i = 0; i < 10; ++i) rig.end(*rig.admit(), ErrorClass::cancelled);
  REQUIRE(rig.core.state() == BreakerState::closed);
  rig.fail(2);
  rig.end(*rig.admit(), ErrorClass::cancelled);  // says nothing, so the row goes on
  rig.end(*rig.admit(), ErrorClass::rejected);
  REQUIRE(rig.core.state() == BreakerState::open);

  aura::Classification strict{.permanent = aura::Counts::failure, .slow_after = 1s};
  BreakerCore<ConsecutiveFailures> core({.classification = strict}, ConsecutiveFailures({2, true}), 1);
  const auto now = [] { return start; };
  core.record(core.admit(start).ticket, {.failure = ErrorClass::permanent}, now);
  core.record(core.admit(start).ticket, {.latency = 1s}, now);
  REQUIRE(core.state() == BreakerState::open);
}

TEST_CASE("by hand it is forced open, disabled and reset") {
  Rig rig;
  rig.core.force_open(rig.now);
  rig.now += 1000h;
  REQUIRE(rig.core.admit(rig.now).code == aura::rejection_errc::breaker_forced_open);
  rig.core.disable(rig.now);
  for (int i = 0; i < 100; ++i) rig.fail();
  REQUIRE(rig.core.state() == BreakerState::disabled);
  rig.core.reset(rig.now);
  REQUIRE(rig.core.state() == BreakerState::closed);
  rig.fail(2);
  REQUIRE(rig.core.state() == BreakerState::closed);
  rig.fail();
  REQUIRE(rig.core.state() == BreakerState::open);
  rig.core.reset(rig.now);
  rig.open();
  REQUIRE(rig.core.snapshot().open_until == rig.now + 10s);  // no backoff from before
}

TEST_CASE("recovery goes up in steps: each admits a larger share, and is earned by the one before") {
  RecoveryOptions recovery = RecoveryOptions::gradual();
  recovery.open_for = 1s;
  recovery.jitter = 0;
  Rig rig(recovery);
  rig.open();
  rig.now += 1s;
  std::vector<int> asked;
  for (int i = 0; i < 100'000 && rig.core.state() != BreakerState::closed; ++i) {
    const auto step = rig.core.snapshot().recovery_step;
    const bool half_open = rig.core.state() == BreakerState::half_open;
    const auto ticket = rig.admit();
    if (half_open) asked.resize(step + 1), ++asked[step];
    if (ticket) rig.end(*ticket);
  }
  REQUIRE(rig.core.state() == BreakerState::closed);
  REQUIRE(asked.size() == 3);  // five successes each, at 5 %, 25 % and 50 %
  REQUIRE((asked[0] > 25 && asked[0] < 300));
  REQUIRE((asked[1] > 6 && asked[1] < 60));
  REQUIRE((asked[2] >= 5 && asked[2] < 30));
}

TEST_CASE("who is seldom called recovers all the same: a probe passes now and then, whatever the share") {
  RecoveryOptions recovery = RecoveryOptions::gradual();
  recovery.open_for = 1s;
  recovery.jitter = 0;
  recovery.steps[0].share = 1e-9;
  Rig rig(recovery);
  rig.open();
  rig.now += 1s;
  rig.succeed();
  rig.now += 99ms;
  REQUIRE_FALSE(rig.admit());
  rig.now += 1ms;
  rig.succeed();
  REQUIRE_FALSE(rig.admit());
}

TEST_CASE("a fleet does not probe in step: openings differ by the jitter, and by no more") {
  RecoveryOptions recovery = plain_recovery();
  recovery.jitter = 0.3;
  std::vector<Duration> spans;
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    BreakerCore<ConsecutiveFailures> core({.recovery = recovery}, ConsecutiveFailures({.failures = 1}), seed);
    core.record(core.admit(start).ticket, {.failure = ErrorClass::timeout}, [] { return start; });
    spans.push_back(core.snapshot().open_until - start);
  }
  std::sort(spans.begin(), spans.end());
  REQUIRE(spans.front() >= 10s);
  REQUIRE(spans.back() < 13s);
  REQUIRE(spans.back() - spans.front() > 2s);
  REQUIRE(std::adjacent_find(spans.begin(), spans.end()) == spans.end());
}

TEST_CASE("a clock that jumps does not wedge it") {
  Rig rig;
  rig.open();
  rig.now -= 500s;  // a host that hands in a time from before
  REQUIRE(rig.core.admit(rig.now).retry_after == 510s);
  rig.now = SteadyTime::max() - 1ns;
  rig.succeed(5);
  REQUIRE(rig.core.state() == BreakerState::closed);
  rig.open();  // until never, as time ends here
  rig.now = start;
  REQUIRE_FALSE(rig.admit());
  rig.core.reset(rig.now);
  rig.succeed();
}

TEST_CASE("options that make no sense are refused, and the culprit is named") {
  const auto refused = [](auto change) {
    RecoveryOptions recovery;
    change(recovery);
    try {
      Rig rig(recovery);
    } catch (const std::invalid_argument& fault) {
      return std::string(fault.what());
    }
    return std::string();
  };
  REQUIRE(refused([](auto&) {}).empty());
  REQUIRE(refused([](auto& r) { r.open_for = 0s; }) == "circuit breaker: recovery.open_for must be positive");
  REQUIRE(refused([](auto& r) { r.factor = 0.5; }) == "circuit breaker: recovery.factor must be at least 1");
  REQUIRE_FALSE(refused([](auto& r) { r.open_max = 1s; }).empty());
  REQUIRE_FALSE(refused([](auto& r) { r.jitter = 2; }).empty());
  REQUIRE_FALSE(refused([](auto& r) { r.healthy_rate = 0.9; }).empty());
  REQUIRE_FALSE(refused([](auto& r) { r.error_rate = 0; }).empty());
  REQUIRE_FALSE(refused([](auto& r) { r.steps[0].share = 0; }).empty());
  REQUIRE_FALSE(refused([](auto& r) { r.step_count = 9; }).empty());
}

namespace {

/// The same breaker, slow and obvious: it keeps every ticket, and finds each count by looking at all of them.
class Model {
 public:
  struct Ticket {
    int epoch;
    bool probe;
  };
  std::optional<Ticket> admit(SteadyTime now) {
    if (state == BreakerState::open && now >= until) enter(BreakerState::half_open);
    if (state == BreakerState::half_open && probes() >= 2 && now - last_probe >= 30s) relapse(now);
    if (state == BreakerState::open || state == BreakerState::forced_open) return std::nullopt;
    if (state == BreakerState::half_open) {
      if (probes() >= 2) return std::nullopt;
      last_probe = now;
      in_flight.push_back(epoch);
    }
    return Ticket{epoch, state == BreakerState::half_open};
  }
  void end(Ticket ticket, bool bad, SteadyTime now) {
    if (ticket.epoch != epoch) return;
    if (ticket.probe) {
      leave(ticket);
      results.push_back(bad);
      const double score = weigh();
      if (score >= std::log(20.0))
        relapse(now);
      else if (score <= -std::log(20.0))
        closed_at = now, relapses_settle = relapses, enter(BreakerState::closed);
    } else if (state == BreakerState::closed) {
      results.push_back(bad);
      const std::size_t n = results.size();
      if (n >= 3 && results[n - 1] && results[n - 2] && results[n - 3]) relapse(now);
    }
  }
  void cancel(Ticket ticket) {
    if (ticket.epoch == epoch && ticket.probe) leave(ticket);
  }
  void by_hand(BreakerState to) {
    if (to == BreakerState::closed) relapses = 0, closed_at.reset();
    enter(to);
  }

  BreakerState state = BreakerState::closed;
  int epoch = 0;
  SteadyTime until{};

 private:
  void leave(Ticket ticket) { in_flight.erase(std::find(in_flight.begin(), in_flight.end(), ticket.epoch)); }
  std::size_t probes() const {
    return static_cast<std::size_t>(std::count(in_flight.begin(), in_flight.end(), epoch));
  }
  double weigh() const {
    double score = 0;
    for (const bool bad : results) score += bad ? std::log(0.5 / 0.02) : std::log(0.5 / 0.98);
    return score;
  }
  void enter(BreakerState to) {
    state = to;
    ++epoch;
    results.clear();
  }
  void relapse(SteadyTime now) {
    if (closed_at && now - *closed_at >= 60s) relapses = 0;
    closed_at.reset();
    Duration span = 10s;
    for (int i = 0; i < relapses && span < 80s; ++i) span *= 2;
    ++relapses;
    until = now + span;
    enter(BreakerState::open);
  }
  std::vector<bool> results;
  std::vector<int> in_flight;
  SteadyTime last_probe{};
  std::optional<SteadyTime> closed_at;
  int relapses = 0, relapses_settle = 0;
};

}  // namespace

TEST_CASE("a million random operations: as a slow, obvious model does, and never wedged") {
  const std::uint64_t seed = 20261123;
  CAPTURE(seed);
  aura::Random dice(seed);
  Rig rig;
  Model model;
  struct Held {
    aura::BreakerTicket ticket;
    Model::Ticket modelled;
  };
  std::vector<Held> held;
  double failure_rate = 0.3;
  for (int i = 0; i < 1'000'000; ++i) {
    switch (dice.below(16)) {
      default: {
        if (held.size() >= 8) break;
        const auto mine = rig.admit();
        const auto theirs = model.admit(rig.now);
        if (mine.has_value() != theirs.has_value()) FAIL("operation " << i);
        if (mine) held.push_back({*mine, *theirs});
        break;
      }
      case 8:
      case 9:
      case 10:
      case 11:
      case 12: {
        if (held.empty()) break;
        const std::size_t at = dice.below(held.size());
        const bool bad = dice.chance(failure_rate);
        rig.end(held[at].ticket, bad ? std::optional(ErrorClass::timeout) : std::nullopt);
        model.end(held[at].modelled, bad, rig.now);
        held.erase(held.begin() + static_cast<std::ptrdiff_t>(at));
        break;
      }
      case 13: {
        if (held.empty()) break;
        rig.core.cancel(held.back().ticket);
        model.cancel(held.back().modelled);
        held.pop_back();
        break;
      }
      case 14: rig.now += Duration(dice.below(8'000'000'000)); break;
      case 15:
        if (dice.below(100) == 0) {
          const auto to =
              std::vector{BreakerState::closed, BreakerState::forced_open, BreakerState::disabled}[dice.below(3)];
          if (to == BreakerState::closed) rig.core.reset(rig.now);
          if (to == BreakerState::forced_open) rig.core.force_open(rig.now);
          if (to == BreakerState::disabled) rig.core.disable(rig.now);
          model.by_hand(to);
        }
        if (dice.below(50) == 0) failure_rate = dice.uniform();
        break;
    }
    if (rig.core.state() != model.state) FAIL("operation " << i << ": " << to_string(rig.core.state()));
    if (rig.core.snapshot().probes_in_flight > 2) FAIL("operation " << i << ": too many probes");
    if (model.state == BreakerState::open && rig.core.snapshot().open_until != model.until) FAIL("operation " << i);
    rig.changes.clear();
  }
  // Never wedged: whatever it has been through, it closes once the dependency is well and somebody calls.
  for (const Held& each : held) rig.core.cancel(each.ticket);
  if (rig.core.state() == BreakerState::forced_open || rig.core.state() == BreakerState::disabled)
    rig.core.reset(rig.now);
  for (int i = 0; i < 20 && rig.core.state() != BreakerState::closed; ++i) {
    if (const auto ticket = rig.admit())
      rig.end(*ticket);
    else
      rig.now += 80s;
  }
  REQUIRE(rig.core.state() == BreakerState::closed);
}
