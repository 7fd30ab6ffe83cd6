// The breaker's policies, each against a slow obvious model or the rules of those who published it.
#include "support/breaker_rig.hpp"
#include "support/catch.hpp"

#include <aura/operational/breaker/adaptive_throttle.hpp>
#include <aura/operational/breaker/all_of.hpp>
#include <aura/operational/breaker/consecutive_failures.hpp>
#include <aura/operational/breaker/core.hpp>
#include <aura/operational/breaker/failure_rate.hpp>
#include <aura/operational/breaker/failure_rate_over_time.hpp>
#include <aura/operational/breaker/gradient_limit.hpp>
#include <aura/operational/breaker/outlier_ejection.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <deque>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace {

using namespace std::chrono_literals;
using aura::BreakerState;
using aura::CallResult;
using aura::Duration;
using aura::SteadyTime;
using Kind = aura::Verdict::Kind;

constexpr CallResult good{};
constexpr CallResult failed{.failed = true};

}  // namespace

// Consecutive failures.

TEST_CASE("consecutive failures: opens at the last of so many failures in a row, and at no other call") {
  for (const std::uint32_t needed : {1u, 2u, 5u, 9u}) {
    for (const bool slow_counts : {false, true}) {
      aura::ConsecutiveFailures policy({.failures = needed, .slow_counts = slow_counts});
      aura::Random dice(needed);
      std::uint32_t row = 0;
      int openings = 0;
      for (int i = 0; i < 50'000; ++i) {
        const CallResult outcome{.failed = dice.chance(0.4), .slow = dice.chance(0.2)};
        row = outcome.failed || (slow_counts && outcome.slow) ? row + 1 : 0;
        const Kind verdict = policy.record(outcome, at(0s)).kind;
        REQUIRE(verdict == (row >= needed ? Kind::open : Kind::keep));
        REQUIRE(policy.view().failures == row);
        if (row < needed) continue;
        policy.reset(SteadyTime());
        row = 0;
        ++openings;
      }
      REQUIRE(openings > 5);
    }
  }
  REQUIRE(names(complaint([] { aura::ConsecutiveFailures({.failures = 0}); }), "failures"));
}

// Failure rate over a count of calls.

TEST_CASE("failure rate: opens at the very call after which the last calls hold too large a share") {
  struct Case {
    aura::FailureRateOptions options;
    double fail, slow;
  };
  const Case cases[] = {
      {{}, 0.42, 0.1},
      {{.window = 10, .calls_min = 5, .failure_rate = 0.5, .slow_rate = 0.5}, 0.2, 0.2},
      {{.window = 64, .calls_min = 1, .failure_rate = 0.25, .slow_rate = 0.3}, 0.1, 0.1},
      {{.window = 7, .calls_min = 7, .failure_rate = 1, .slow_rate = 0.9}, 0.5, 0.4},
      {{.window = 1, .calls_min = 1}, 0.01, 0},
      {{.window = 1000, .calls_min = 300, .failure_rate = 0.06, .slow_rate = 2}, 0.05, 0.9},
  };
  for (const Case& each : cases) {
    INFO("window " << each.options.window);
    aura::FailureRate policy(each.options);
    aura::Random dice(7);
    std::deque<CallResult> last;
    std::uint64_t calls = 0;
    int openings = 0;
    for (int i = 0; i < 100'000; ++i) {
      const double wave = 1 + 0.5 * std::sin(i / 500.0);  // so that the rates wander across the threshold
      const CallResult outcome{.failed = dice.chance(each.fail * wave), .slow = dice.chance(each.slow * wave)};
      last.push_back(outcome);
      if (last.size() > each.options.window) last.pop_front();
      ++calls;
      const auto failures = std::count_if(last.begin(), last.end(), [](const CallResult& c) { return c.failed; });
      const auto slows = std::count_if(last.begin(), last.end(), [](const CallResult& c) { return c.slow; });
      const auto size = static_cast<double>(last.size());
      const bool opens =
          calls >= each.options.calls_min && (static_cast<double>(failures) / size >= each.options.failure_rate ||
                                              static_cast<double>(slows) / size >= each.options.slow_rate);
      const Kind verdict = policy.record(outcome, at(0s)).kind;
      if (verdict != (opens ? Kind::open : Kind::keep)) FAIL("call " << i << ": " << failures << " of " << size);
      if (i % 17 == 0) {
        const aura::PolicyView seen = policy.view();
        REQUIRE(seen.calls == last.size());
        REQUIRE(seen.failures == static_cast<std::uint64_t>(failures));
        REQUIRE(seen.slow == static_cast<std::uint64_t>(slows));
      }
      if (!opens) continue;
      policy.reset(SteadyTime());
      last.clear();
      calls = 0;
      ++openings;
    }
    REQUIRE(openings > 5);
  }
}

TEST_CASE("failure rate: options that make no sense are named") {
  const auto of = [](aura::FailureRateOptions options) { return complaint([&] { aura::FailureRate{options}; }); };
  REQUIRE(names(of({.window = 0}), "window"));
  REQUIRE(names(of({.window = (1u << 20) + 1}), "window"));
  REQUIRE(names(of({.calls_min = 0}), "calls_min"));
  REQUIRE(names(of({.window = 10, .calls_min = 11}), "calls_min"));
  REQUIRE(names(of({.failure_rate = 0}), "failure_rate"));
  REQUIRE(names(of({.failure_rate = std::nan("")}), "failure_rate"));
  REQUIRE(names(of({.slow_rate = -1}), "slow_rate"));
  REQUIRE(of({}).empty());
}

// Failure rate over time.

TEST_CASE("failure rate over time: is the rate of the calls in the last sixteen sixteenths of the window") {
  const aura::FailureRateOverTimeOptions options{
      .window = 1600ms, .calls_min = 40, .failure_rate = 0.3, .slow_rate = 0.4};
  struct Call {
    std::int64_t part;
    CallResult outcome;
  };
  aura::FailureRateOverTime policy(options);
  aura::Random dice(11);
  std::deque<Call> last;
  Duration begin{}, now = 5s;
  std::int64_t part_before = -1;
  int openings = 0;
  for (int i = 0; i < 100'000; ++i) {
    now += Duration(dice.below(dice.chance(0.01) ? 600'000'000 : 20'000'000));  // never a whole window
    if (last.empty() && part_before < 0) begin = now;
    const double wave = 0.2 + 0.12 * std::sin(i / 300.0);
    const CallResult outcome{.failed = dice.chance(wave), .slow = dice.chance(wave * 1.2)};
    const std::int64_t part = (now - begin) / 100ms;
    const bool first_of_part = part != part_before;
    part_before = part;
    last.push_back({part, outcome});
    while (last.front().part <= part - 16) last.pop_front();
    const auto failures = std::count_if(last.begin(), last.end(), [](const Call& c) { return c.outcome.failed; });
    const auto slows = std::count_if(last.begin(), last.end(), [](const Call& c) { return c.outcome.slow; });
    const auto size = static_cast<double>(last.size());
    const bool judged = first_of_part || outcome.bad();
    const bool opens = judged && last.size() >= options.calls_min &&
                       (static_cast<double>(failures) / size >= options.failure_rate ||
                        static_cast<double>(slows) / size >= options.slow_rate);
    const Kind verdict = policy.record(outcome, at(now)).kind;
    if (verdict != (opens ? Kind::open : Kind::keep)) FAIL("call " << i << ": " << failures << " of " << size);
    if (i % 7 == 0) {
      const aura::PolicyView seen = policy.view();
      REQUIRE(seen.calls == last.size());
      REQUIRE(seen.failures == static_cast<std::uint64_t>(failures));
      REQUIRE(seen.slow == static_cast<std::uint64_t>(slows));
    }
    if (!opens) continue;
    policy.reset(SteadyTime(now));
    last.clear();
    part_before = -1;
    ++openings;
  }
  REQUIRE(openings > 20);
}

TEST_CASE(
    "failure rate over time: forgets what is a window old, keeps what is not, and bears any jump of the clock") {
  const Duration window = 16s;
  aura::FailureRateOverTime policy({.window = window, .calls_min = 1'000'000});
  aura::Random dice(3);
  std::deque<Duration> calls;
  Duration now = 100s;
  for (int i = 0; i < 20'000; ++i) {
    now += Duration(dice.below(dice.chance(0.002) ? 100'000'000'000 : 200'000'000));
    calls.push_back(now);
    (void)policy.record(good, at(now));
    while (calls.front() <= now - window) calls.pop_front();
    const auto sure = std::count_if(calls.begin(), calls.end(), [&](Duration t) { return t > now - 15s; });
    const std::uint64_t seen = policy.view().calls;
    REQUIRE(seen >= static_cast<std::uint64_t>(sure));
    REQUIRE(seen <= calls.size());
  }
  const std::uint64_t before = policy.view().calls;
  for (int i = 0; i < 100; ++i) (void)policy.record(good, at(now - std::chrono::hours(i)));
  REQUIRE(policy.view().calls == before + 100);  // a clock that goes back forgets nothing
  (void)policy.record(good, [] { return SteadyTime::max(); });
  REQUIRE(policy.view().calls == 1);
}

TEST_CASE("failure rate over time: a rate that rises because good calls age is seen in the next sixteenth") {
  aura::FailureRateOverTime policy({.window = 16s, .calls_min = 10, .failure_rate = 0.5});
  for (int i = 0; i < 90; ++i) REQUIRE(policy.record(good, at(10ms * i)).kind == Kind::keep);
  for (int i = 0; i < 60; ++i) REQUIRE(policy.record(failed, at(5s + 10ms * i)).kind == Kind::keep);
  REQUIRE(policy.record(good, at(15'500ms)).kind == Kind::keep);
  REQUIRE(policy.record(good, at(16'500ms)).kind == Kind::open);
}

TEST_CASE("failure rate over time: options that make no sense are named") {
  const auto of = [](aura::FailureRateOverTimeOptions options) {
    return complaint([&] { aura::FailureRateOverTime{options}; });
  };
  REQUIRE(names(of({.window = 0s}), "window"));
  REQUIRE(names(of({.calls_min = 0}), "calls_min"));
  REQUIRE(names(of({.failure_rate = 0}), "failure_rate"));
  REQUIRE(names(of({.slow_rate = std::nan("")}), "slow_rate"));
}

// Adaptive throttle.

namespace {

/// Site Reliability Engineering, chapter 21.
double sre_probability(double requests, double accepts, double k) {
  return std::max(0.0, (requests - k * accepts) / (requests + 1));
}

}  // namespace

TEST_CASE("adaptive throttle: turns away with the probability of the SRE book") {
  for (const double k : {1.0, 1.1, 2.0, 5.0}) {
    for (const int accepted : {0, 1, 10, 100, 1000}) {
      for (const int refused : {1, 10, 99, 100, 101, 2000}) {
        aura::AdaptiveThrottle policy({.k = k});
        for (int i = 0; i < accepted; ++i) (void)policy.record(good, at(0s));
        aura::Verdict verdict;
        for (int i = 0; i < refused; ++i) verdict = policy.record(failed, at(0s));
        const double expected = sre_probability(accepted + refused, accepted, k);
        REQUIRE(1 - policy.view().pass_probability == Approx(expected).margin(1e-9));
        REQUIRE(verdict.kind == (expected > 0 ? Kind::throttle : Kind::keep));
      }
    }
  }
}

TEST_CASE("adaptive throttle: counts what it turned away, and the dice fall as often as the probability says") {
  aura::AdaptiveThrottle policy;
  aura::detail::SharedRandom random(5);
  for (int i = 0; i < 40; ++i) (void)policy.record(good, at(0s));
  for (int i = 0; i < 60; ++i) (void)policy.record(failed, at(0s));
  double requests = 100, expected_rejections = 0;
  int rejections = 0;
  for (int i = 0; i < 20'000; ++i) {
    const double probability = sre_probability(requests, 40, 2);
    expected_rejections += probability;
    const aura::Admission answer = policy.admit(SteadyTime(), 0, random);
    if (!answer.passes) {
      REQUIRE(answer.code == aura::rejection_errc::breaker_throttled);
      REQUIRE(answer.retry_after > 0s);
      ++rejections;
      ++requests;
    }
    if (requests < 4000) {  // below that each one counts
      REQUIRE(static_cast<double>(policy.view().calls) == requests);
      REQUIRE(1 - policy.view().pass_probability == Approx(sre_probability(requests, 40, 2)).margin(1e-9));
    }
  }
  REQUIRE(rejections == Approx(expected_rejections).epsilon(0.02));
  REQUIRE(static_cast<double>(policy.view().calls) == Approx(requests).epsilon(0.1));  // sampled
}

TEST_CASE("adaptive throttle: sends k times as much as the dependency accepts, whatever is asked for") {
  for (const double k : {1.5, 2.0}) {
    Core<aura::AdaptiveThrottle> core({}, aura::AdaptiveThrottle({.window = 10s, .k = k}), 9);
    int sent = 0, accepted = 0;
    double tokens = 0;
    for (int i = 0; i < 60'000; ++i) {  // a thousand a second, of which it can do one hundred
      const SteadyTime now(1ms * i);
      tokens = std::min(tokens + 0.1, 50.0);
      const auto admission = core.admit(now);
      if (!admission.passes()) continue;
      const bool fits = tokens >= 1;
      if (fits) tokens -= 1;
      if (i >= 30'000) ++sent, accepted += fits;
      aura::AttemptOutcome outcome;
      if (!fits) outcome.failure = aura::ErrorClass::rejected;
      core.record(admission.ticket, outcome, [now] { return now; });
    }
    INFO("k " << k << ", sent " << sent << ", accepted " << accepted);
    REQUIRE(accepted > 2600);  // it does not starve what could be done
    REQUIRE(sent == Approx(k * accepted).epsilon(0.1));
    REQUIRE(core.state() == BreakerState::throttling);
  }
}

TEST_CASE(
    "adaptive throttle: holds nothing back from a dependency that accepts more than one in k, and ends when it is "
    "well") {
  Core<aura::AdaptiveThrottle> core({}, aura::AdaptiveThrottle({.window = 10s}), 9);
  aura::Random dice(2);
  for (int i = 0; i < 30'000; ++i) {
    const bool passed = call(core, SteadyTime(1ms * i), i > 100 && dice.chance(0.4));
    REQUIRE(passed);
  }
  int turned_away = 0;
  for (int i = 30'000; i < 60'000; ++i) turned_away += !call(core, SteadyTime(1ms * i), true);
  REQUIRE(turned_away > 20'000);
  REQUIRE(core.state() == BreakerState::throttling);
  for (int i = 60'000; i < 200'000; ++i) {  // the formula takes several windows to believe it
    const bool passed = call(core, SteadyTime(1ms * i), false);
    if (i > 180'000) REQUIRE(passed);
  }
  REQUIRE(core.state() == BreakerState::closed);
}

TEST_CASE("adaptive throttle: successes are heeded from the next call that passes on") {
  aura::AdaptiveThrottle policy;
  aura::detail::SharedRandom random(5);
  for (int i = 0; i < 100; ++i) (void)policy.record(good, at(0s));
  for (int i = 0; i < 101; ++i) (void)policy.record(failed, at(0s));
  for (int i = 0; i < 100; ++i) (void)policy.record(good, at(0s));
  const aura::Admission one = policy.admit(SteadyTime(), 0, random), two = policy.admit(SteadyTime(), 0, random);
  REQUIRE((one.passes && !one.calm));  // it was one in two hundred that it would not
  REQUIRE((two.passes && two.calm));
}

TEST_CASE("adaptive throttle: options that make no sense are named") {
  REQUIRE(names(complaint([] { aura::AdaptiveThrottle({.window = 0s}); }), "window"));
  REQUIRE(names(complaint([] { aura::AdaptiveThrottle({.k = 0.5}); }), "k must"));
  REQUIRE(names(complaint([] { aura::AdaptiveThrottle({.k = std::nan("")}); }), "k must"));
}

// Gradient limit.

namespace {

/// Gradient2 as Netflix publishes it: an exponential average with a warm-up of ten samples, a tolerance of 1.5, a
/// gradient held in [0.5, 1], a queue of 4, a smoothing of 0.2.
class Gradient2 {
 public:
  explicit Gradient2(double initial) : limit_(initial) {}
  int update(double rtt, int in_flight) {
    double normal = 0;
    if (warm_.size() < 10) {
      warm_.push_back(rtt);
      for (const double each : warm_) normal += each;
      normal /= static_cast<double>(warm_.size());
    } else {
      const double factor = 2.0 / (600 + 1);
      normal = normal_ * (1 - factor) + rtt * factor;
    }
    normal_ = normal / rtt > 2 ? normal * 0.95 : normal;
    if (in_flight < limit_ / 2) return static_cast<int>(limit_);
    const double gradient = std::max(0.5, std::min(1.0, 1.5 * normal / rtt));
    const double wanted = limit_ * gradient + 4;
    limit_ = std::max(20.0, std::min(200.0, limit_ * (1 - 0.2) + wanted * 0.2));
    return static_cast<int>(limit_);
  }

 private:
  double limit_, normal_ = 0;
  std::vector<double> warm_;
};

/// A second of calls: so many at once, each of that latency. Ends with the call that ends the window.
template <class Policy>
void second(Policy& policy, Duration& now, std::uint32_t in_flight, Duration latency,
            aura::detail::SharedRandom& random) {
  REQUIRE(policy.admit(SteadyTime(now), in_flight - 1, random).passes);
  for (int i = 0; i < 11; ++i) (void)policy.record({.latency = latency}, at(now));
  now += 1s;
  (void)policy.record({.latency = latency}, at(now));
}

}  // namespace

TEST_CASE("gradient limit: moves as Netflix's Gradient2 does, over thousands of windows") {
  aura::GradientLimit policy;
  Gradient2 published(20);
  aura::detail::SharedRandom random(1);
  aura::Random dice(17);
  Duration now = 1s;
  (void)policy.record({.failed = true, .latency = 1h}, at(now));  // a failure tells nothing
  REQUIRE(policy.record({.latency = 1024us}, at(now)).kind == Kind::keep);  // begins the first window
  int most = 0, least = 1000, shown = 20;
  bool first = true;
  double level = 2;
  for (int i = 0; i < 5000; ++i) {
    if (dice.chance(0.01)) level = dice.chance(0.5) ? 2 : 2 * std::exp(3 * dice.uniform());
    const Duration latency =
        std::max<std::int64_t>(static_cast<std::int64_t>(level * (500 + 1000 * dice.uniform())), 1) * 1024ns;
    const auto in_flight = 1 + static_cast<std::uint32_t>(dice.below(static_cast<std::uint64_t>(shown)));
    second(policy, now, in_flight, latency, random);
    const double rtt =
        first ? (1'024'000 + 12 * static_cast<double>(latency.count())) / 13 : static_cast<double>(latency.count());
    first = false;
    shown = published.update(rtt, static_cast<int>(in_flight));
    most = std::max(most, shown);
    least = std::min(least, shown);
    REQUIRE(policy.view().limit == static_cast<std::uint32_t>(shown));
  }
  REQUIRE(most > 40);
  REQUIRE(least == 20);
}

TEST_CASE("gradient limit: the constants are the published ones, and the walk is what they come to by hand") {
  const aura::GradientLimitOptions options;
  REQUIRE(options.initial == 20);
  REQUIRE(options.min == 20);
  REQUIRE(options.max == 200);
  REQUIRE(options.smoothing == 0.2);
  REQUIRE(options.long_window == 600);
  REQUIRE(options.tolerance == 1.5);
  REQUIRE(options.queue == 4);
  REQUIRE(options.sample_window == 1s);
  REQUIRE(options.sample_calls_min == 10);

  aura::GradientLimit policy;
  aura::detail::SharedRandom random(1);
  Duration now = 1s;
  (void)policy.record({.latency = 1024us}, at(now));
  const auto full = [&](Duration latency) { second(policy, now, policy.view().limit, latency, random); };
  for (int i = 0; i < 100; ++i) full(1024us);
  REQUIRE(policy.view().limit == 100);  // a fifth of 4 a window
  for (int i = 0; i < 200; ++i) full(1024us);
  REQUIRE(policy.view().limit == 200);
  full(10'240us);
  REQUIRE(policy.view().limit == 180);  // 0.8 × 200 + 0.2 × (0.5 × 200 + 4) = 180.8
  for (int i = 0; i < 20; ++i) full(1024us + 400us);  // within the tolerance: no reason to shrink
  REQUIRE(policy.view().limit == 196);
}

TEST_CASE("gradient limit: turns away what would be one too many and says so; too few calls teach nothing") {
  Core<aura::GradientLimit> core({}, aura::GradientLimit({.initial = 3, .min = 2, .max = 5}), 1);
  std::vector<aura::BreakerTicket> held;
  for (int i = 0; i < 3; ++i) {
    const auto admission = core.admit(SteadyTime());
    REQUIRE(admission.passes());
    held.push_back(admission.ticket);
  }
  const auto rejected = core.admit(SteadyTime());
  REQUIRE(rejected.code == aura::rejection_errc::concurrency_limit);
  REQUIRE(rejected.retry_after > 0s);
  REQUIRE(core.in_flight() == 3);
  core.cancel(held.back());
  REQUIRE(core.admit(SteadyTime()).passes());
  REQUIRE(core.in_flight() == 3);

  aura::GradientLimit policy;
  aura::detail::SharedRandom random(1);
  for (int i = 0; i < 9; ++i) {
    REQUIRE(policy.admit(SteadyTime(), 19, random).passes);
    (void)policy.record({.latency = 1ms}, at(10s * i));
    REQUIRE(policy.view().limit == 20);
  }
  (void)policy.record({.latency = 1ms}, at(200s));
  (void)policy.record({.latency = 1ms}, at(201s));
  REQUIRE(policy.view().limit == 20);  // 20.8 by now
  policy.reset(SteadyTime());
  REQUIRE(policy.view().limit == 20);
}

TEST_CASE("gradient limit: options that make no sense are named") {
  const auto of = [](aura::GradientLimitOptions options) { return complaint([&] { aura::GradientLimit{options}; }); };
  REQUIRE(names(of({.min = 0}), "min"));
  REQUIRE(names(of({.initial = 30, .max = 25}), "initial"));
  REQUIRE(names(of({.min = 30}), "initial"));
  REQUIRE(names(of({.max = 10}), "min"));
  REQUIRE(names(of({.smoothing = 0}), "smoothing"));
  REQUIRE(names(of({.smoothing = std::nan("")}), "smoothing"));
  REQUIRE(names(of({.long_window = 0}), "long_window"));
  REQUIRE(names(of({.tolerance = 0.9}), "tolerance"));
  REQUIRE(names(of({.sample_window = 0s}), "sample_window"));
}

// Several as one.

TEST_CASE("all of: opens as soon as one of them would, and each sees every call") {
  using Both = aura::AllOf<aura::ConsecutiveFailures, aura::FailureRate>;
  const aura::FailureRateOptions rate{.window = 20, .calls_min = 10, .failure_rate = 0.4};
  Both both(aura::ConsecutiveFailures({.failures = 3}), aura::FailureRate(rate));
  aura::ConsecutiveFailures first({.failures = 3});
  aura::FailureRate second(rate);
  aura::Random dice(31);
  int by_first = 0, by_second = 0;
  for (int i = 0; i < 20'000; ++i) {
    const CallResult outcome{.failed = dice.chance(0.25)};
    const bool one = first.record(outcome, at(0s)).kind == Kind::open;
    const bool other = second.record(outcome, at(0s)).kind == Kind::open;
    REQUIRE((both.record(outcome, at(0s)).kind == Kind::open) == (one || other));
    by_first += one && !other;
    by_second += other && !one;
    REQUIRE(both.view().failures == std::max(first.view().failures, second.view().failures));
    if (!one && !other) continue;
    both.reset(SteadyTime());
    first.reset(SteadyTime());
    second.reset(SteadyTime());
  }
  REQUIRE(by_first > 10);
  REQUIRE(by_second > 10);
}

TEST_CASE("all of: open is stronger than throttle, and the longest opening wins") {
  aura::AllOf both(aura::AdaptiveThrottle(), aura::ConsecutiveFailures({.failures = 2}));
  REQUIRE(both.record(failed, at(0s)).kind == Kind::throttle);
  REQUIRE(both.record(failed, at(0s)).kind == Kind::open);

  aura::AllOf reversed(aura::ConsecutiveFailures({.failures = 2}), aura::AdaptiveThrottle());
  REQUIRE(reversed.record(failed, at(0s)).kind == Kind::throttle);
  REQUIRE(reversed.record(failed, at(0s)).kind == Kind::open);

  const auto group = std::make_shared<aura::OutlierGroup>();
  aura::AllOf ejects(aura::ConsecutiveFailures({.failures = 5}), aura::OutlierEjection(group));
  aura::Verdict verdict;
  for (int i = 0; i < 5; ++i) verdict = ejects.record(failed, at(0s));
  REQUIRE(verdict.kind == Kind::open);
  REQUIRE(verdict.open_for == 30s);
}

TEST_CASE("all of: a call passes where all let it pass, and the breaker is calm again when all of them are") {
  using Both = aura::AllOf<aura::AdaptiveThrottle, aura::GradientLimit>;
  STATIC_REQUIRE(Both::needs_time);
  STATIC_REQUIRE(Both::needs_in_flight);
  STATIC_REQUIRE(Both::always_asked);
  Core<Both> core({}, Both(aura::AdaptiveThrottle({.window = 1s}), aura::GradientLimit({.initial = 2, .min = 2})), 1);
  const auto one = core.admit(SteadyTime());
  const auto two = core.admit(SteadyTime());
  REQUIRE(one.passes());
  REQUIRE(two.passes());
  REQUIRE(core.admit(SteadyTime()).code == aura::rejection_errc::concurrency_limit);
  core.cancel(one.ticket);
  core.record(two.ticket, {.failure = aura::ErrorClass::transient}, at(0s));
  REQUIRE(core.in_flight() == 0);
  REQUIRE(core.state() == BreakerState::throttling);
  int turned_away = 0;
  for (int i = 0; i < 100; ++i) {
    const auto admission = core.admit(SteadyTime());
    if (admission.passes())
      core.cancel(admission.ticket);
    else
      turned_away += admission.code == aura::rejection_errc::breaker_throttled;
  }
  REQUIRE(turned_away > 80);
  REQUIRE(turned_away < 100);
  REQUIRE(core.state() == BreakerState::throttling);  // the other one is calm, but not this one
  for (int i = 0; i < 5; ++i) REQUIRE(call(core, SteadyTime(3s), false));
  REQUIRE(core.state() == BreakerState::closed);
}

TEST_CASE("all of: recovers as the first that has a way of its own") {
  const auto group = std::make_shared<aura::OutlierGroup>();
  const aura::AllOf both{aura::ConsecutiveFailures(), aura::OutlierEjection(group)};
  REQUIRE(both.recovery().step_count == 0);
  REQUIRE(both.recovery().open_for == 30s);
  using Neither = aura::AllOf<aura::ConsecutiveFailures, aura::FailureRate>;
  STATIC_REQUIRE_FALSE(aura::recovers_its_own_way<Neither>);
}
