// The adaptive policy keeps its promises: as few false openings as asked, and quick where it matters.
#include "support/catch.hpp"

#include <aura/core/random.hpp>
#include <aura/operational/breaker/adaptive_policy.hpp>
#include <aura/operational/breaker/core.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace {

using namespace std::chrono_literals;
using aura::AdaptivePolicy;
using aura::AdaptivePolicyOptions;
using aura::BreakerState;
using aura::CallResult;
using aura::SteadyTime;
using Kind = aura::Verdict::Kind;

constexpr auto never = [] { return SteadyTime(); };

/// Asked for one false opening in 20,000 calls.
AdaptivePolicyOptions impatient() { return {.between_false_openings = 20s, .calls_per_second = 1000}; }

/// How many calls there were for each false opening, where each fails or is slow independently of the others.
double calls_between_openings(AdaptivePolicy& policy, std::uint64_t openings, std::uint64_t calls_max, double fails,
                              double slow, std::uint64_t seed) {
  aura::Random dice(seed);
  const double bad = 1 - (1 - fails) * (1 - slow);
  std::uint64_t calls = 0, opened = 0;
  while (opened < openings && calls < calls_max) {
    const auto successes = static_cast<std::uint64_t>(std::log1p(-dice.uniform()) / std::log1p(-bad));
    for (std::uint64_t i = 0; i < successes; ++i) (void)policy.record({}, never);
    const double die = dice.uniform() * bad;  // which of the ways to be bad
    const CallResult call{.failed = die < fails, .slow = die >= fails * (1 - slow)};
    calls += successes + 1;
    if (policy.record(call, never).kind != Kind::open) continue;
    ++opened;
    policy.reset(SteadyTime());
  }
  return static_cast<double>(calls) / static_cast<double>(std::max<std::uint64_t>(opened, 1));
}

/// Calls until it opens; each fails with the given probability.
std::uint64_t calls_to_opening(AdaptivePolicy& policy, double fails, aura::Random& dice, const CallResult& bad) {
  for (std::uint64_t calls = 1; calls < 1'000'000; ++calls)
    if (policy.record(dice.chance(fails) ? bad : CallResult{}, never).kind == Kind::open) return calls;
  return 1'000'000;
}

std::string complaint(const AdaptivePolicyOptions& options) {
  try {
    AdaptivePolicy{options};
  } catch (const std::invalid_argument& e) {
    return e.what();
  }
  return "";
}

constexpr double rates[] = {0.001, 0.01, 0.05};

}  // namespace

// False openings.

TEST_CASE("adaptive: where the healthy rate is given, false openings are within 20% of what was asked") {
  for (const double rate : rates) {
    AdaptivePolicyOptions options = impatient();
    options.healthy_rate = rate;
    AdaptivePolicy policy(options);
    const double between = calls_between_openings(policy, 500, 100'000'000, rate, 0, 41);  // a deviation is 4.5%
    INFO("at " << rate << " one in " << between);
    REQUIRE(between == Approx(20'000).epsilon(0.2));
  }
}

TEST_CASE("adaptive: where the healthy rate is learned, false openings are at most as many as asked") {
  for (const double rate : rates) {
    AdaptivePolicy policy(impatient());
    const double between = calls_between_openings(policy, 300, 6'000'000, rate, 0, 43);
    INFO("at " << rate << " one in " << between << ", learned " << policy.view().healthy_rate);
    REQUIRE(between > 0.85 * 20'000);  // 2.5 deviations of 300, and at 5% the rate assumed is the true one
    REQUIRE(policy.view().healthy_rate >= rate);
  }
}

TEST_CASE("adaptive: failures and slow calls together open falsely no more often than asked") {
  AdaptivePolicyOptions options = impatient();
  options.healthy_rate = 0.01;
  options.slow_rate = 0.3;
  options.healthy_slow_rate = 0.05;
  AdaptivePolicy policy(options);
  const double between = calls_between_openings(policy, 500, 100'000'000, 0.01, 0.05, 47);
  INFO("one in " << between);
  REQUIRE(between == Approx(20'000).epsilon(0.2));

  options.healthy_rate = options.healthy_slow_rate = std::nullopt;
  AdaptivePolicy learning(options);
  REQUIRE(calls_between_openings(learning, 300, 6'000'000, 0.01, 0.05, 53) > 0.85 * 20'000);
}

TEST_CASE("adaptive: what it learns is the true rate from above, and it learns nothing from an outage") {
  AdaptivePolicy policy;
  REQUIRE(policy.view().healthy_rate == Approx(0.05));
  aura::Random dice(59);
  for (int i = 0; i < 1'000'000; ++i) REQUIRE(policy.record({.failed = dice.chance(0.01)}, never).kind == Kind::keep);
  const double learned = policy.view().healthy_rate;
  REQUIRE(learned > 0.01);
  REQUIRE(learned < 0.0115);
  for (int outage = 0; outage < 8; ++outage) {
    REQUIRE(calls_to_opening(policy, 1, dice, {.failed = true}) < 20);
    policy.reset(SteadyTime());
    for (int i = 0; i < 140'000; ++i) (void)policy.record({.failed = dice.chance(0.01)}, never);
  }
  REQUIRE(policy.view().healthy_rate == Approx(learned).epsilon(0.06));  // a step of the grid it is rounded to
}

TEST_CASE("adaptive: one outage after a time of health costs nothing of what was learned") {
  AdaptivePolicy policy;
  aura::Random dice(61);
  for (int outage = 0; outage < 4; ++outage) {
    for (int i = 0; i < 200'000; ++i)
      REQUIRE(policy.record({.failed = dice.chance(0.001)}, never).kind == Kind::keep);
    const double learned = policy.view().healthy_rate;
    REQUIRE(learned < 0.002);
    REQUIRE(calls_to_opening(policy, 1, dice, {.failed = true}) < 20);
    policy.reset(SteadyTime());
    REQUIRE(policy.view().healthy_rate == learned);
  }
}

TEST_CASE(
    "adaptive: a dependency that has become worse for good, though not ill, is given up a few times, then learned") {
  for (const double before : {0.0, 0.001, 0.01}) {
    for (const double after : {0.02, 0.03, 0.04}) {
      AdaptivePolicy policy;
      aura::Random dice(79);
      REQUIRE(calls_between_openings(policy, 1, 1'000'000, std::max(before, 1e-9), 0, 83) >= 1'000'000);
      REQUIRE(policy.view().healthy_rate < 0.02);
      int openings = 0, late = 0;
      for (int i = 0; i < 1'500'000; ++i) {
        if (policy.record({.failed = dice.chance(after)}, never).kind != Kind::open) continue;
        policy.reset(SteadyTime());
        ++openings;
        late += i > 1'000'000;
      }
      INFO("from " << before << " to " << after << ": " << openings << ", learned " << policy.view().healthy_rate);
      REQUIRE(openings <= 40);
      REQUIRE(late == 0);
      REQUIRE(policy.view().healthy_rate > 0.9 * after);  // what it remembers of before fades in a million calls
    }
  }
}

// Detection.

TEST_CASE("adaptive: an outright failure opens within some twenty calls, whatever was healthy") {
  for (const double rate : {0.0, 0.001, 0.01, 0.05}) {
    AdaptivePolicyOptions options;
    if (rate > 0) options.healthy_rate = rate;
    AdaptivePolicy policy(options);
    for (int i = 0; i < 100'000; ++i) REQUIRE(policy.record({}, never).kind == Kind::keep);
    std::uint64_t calls = 1;
    aura::Verdict verdict = policy.record({.failed = true}, never);
    while (verdict.kind == Kind::keep && calls < 100) {
      verdict = policy.record({.failed = true}, never);
      ++calls;
    }
    INFO("healthy " << rate << ", calls " << calls);
    REQUIRE(calls >= 2);
    REQUIRE(calls <= 22);
    REQUIRE(verdict.kind == Kind::open);
    REQUIRE(verdict.why == "too many failures");
    REQUIRE(policy.view().evidence == 1);
  }
}

TEST_CASE("adaptive: a rate that matters is found as soon as the plan predicts, and a higher one sooner") {
  for (const double rate : rates) {
    AdaptivePolicyOptions options;
    options.healthy_rate = rate;
    AdaptivePolicy policy(options);
    const aura::CusumPlan plan = policy.plan();
    REQUIRE(plan.p1 == Approx(0.1).epsilon(0.08));
    // What no test with as few false alarms can do much better than: ln(calls between them) over the information of one.
    const double p = plan.p1, information = p * std::log(p / rate) + (1 - p) * std::log((1 - p) / (1 - rate));
    const double bound = std::log(options.calls_per_second * 86'400) / information;
    aura::Random dice(61);
    const auto mean_delay = [&](double fails) {
      std::uint64_t sum = 0;
      for (int run = 0; run < 400; ++run) {
        sum += calls_to_opening(policy, fails, dice, {.failed = true});
        policy.reset(SteadyTime());
      }
      return static_cast<double>(sum) / 400;
    };
    const double delay = mean_delay(plan.p1);
    INFO("healthy " << rate << ": " << delay << " calls, predicted " << aura::cusum_detection_delay(plan)
                    << ", bound " << bound);
    REQUIRE(delay == Approx(aura::cusum_detection_delay(plan)).epsilon(0.1));
    REQUIRE(delay < 1.25 * bound);
    REQUIRE(mean_delay(3 * plan.p1) < delay / 2);
  }
}

TEST_CASE("adaptive: slow calls go through the same machine, where they are looked at") {
  aura::Random dice(67);
  AdaptivePolicy blind;
  REQUIRE(calls_to_opening(blind, 0.5, dice, {.slow = true}) == 1'000'000);

  AdaptivePolicyOptions options;
  options.slow_rate = 0.3;
  options.healthy_slow_rate = 0.05;
  AdaptivePolicy policy(options);
  std::uint64_t all = 0;
  aura::Verdict verdict;
  for (; verdict.kind == Kind::keep && all < 100; ++all) verdict = policy.record({.slow = true}, never);
  REQUIRE(all <= 22);
  REQUIRE(verdict.kind == Kind::open);
  REQUIRE(verdict.why == "too many slow calls");
  policy.reset(SteadyTime());

  const aura::CusumPlan plan = aura::plan_cusum(0.05, 0.3, 2 * 86'400'000.0).value();
  double sum = 0;
  for (int run = 0; run < 400; ++run) {
    sum += static_cast<double>(calls_to_opening(policy, plan.p1, dice, {.slow = true}));
    policy.reset(SteadyTime());
  }
  REQUIRE(sum / 400 == Approx(aura::cusum_detection_delay(plan)).epsilon(0.1));
}

TEST_CASE("adaptive: a call that is bad in one way alone is a good one in the other") {
  AdaptivePolicyOptions options;
  options.healthy_rate = 0.01;
  options.slow_rate = 0.3;
  options.healthy_slow_rate = 0.05;
  AdaptivePolicy policy(options), failing_only({.healthy_rate = 0.01, .between_false_openings = 48h});
  aura::Random dice(71);
  int openings = 0;
  for (int i = 0; i < 300'000;
       ++i) {  // failures and slow calls that exclude each other, the latter within what is healthy
    const double die = dice.uniform();
    const CallResult call{.failed = die<0.07, .slow = die> 0.97};
    const bool opens = policy.record(call, never).kind == Kind::open;
    const bool alone = failing_only.record({.failed = call.failed}, never).kind == Kind::open;
    openings += alone;
    // One success more or less is the draw of the run; it can move the opening by a failure, no more.
    if (!opens && !alone) continue;
    REQUIRE(policy.view().evidence > 0.95);
    REQUIRE(failing_only.view().evidence > 0.95);
    policy.reset(SteadyTime());
    failing_only.reset(SteadyTime());
  }
  REQUIRE(openings > 100);
}

// Peers.

namespace {

/// Failures in a row until it opens, with so many peers that are sure.
int failures_to_opening(int peers, double share_max, std::chrono::seconds later = 0s) {
  AdaptivePolicy policy({.healthy_rate = 0.01, .peers_share_max = share_max});
  for (int peer = 0; peer < peers; ++peer)
    policy.absorb(static_cast<std::uint64_t>(peer), {.epoch = 1, .verdict = BreakerState::open, .evidence = 1},
                  SteadyTime(1s));
  for (int failures = 1; failures < 100; ++failures)
    if (policy.record({.failed = true}, [&] { return SteadyTime(1s + later); }).kind == Kind::open) return failures;
  return 100;
}

}  // namespace

TEST_CASE("adaptive: peers make it quicker, each by an eighth and all together by no more than their share") {
  const int alone = failures_to_opening(0, 0.5);
  REQUIRE(failures_to_opening(1, 0.5) < alone);
  REQUIRE(failures_to_opening(1, 0.5) >= alone * 7 / 8);
  REQUIRE(failures_to_opening(4, 0.5) < failures_to_opening(1, 0.5));
  REQUIRE(failures_to_opening(32, 0.5) == failures_to_opening(4, 0.5));
  REQUIRE(failures_to_opening(1000, 0.5) == failures_to_opening(4, 0.5));
  REQUIRE(failures_to_opening(4, 0.5) >= alone / 2);
  REQUIRE(failures_to_opening(32, 0) == alone);
  REQUIRE(failures_to_opening(32, 0.5, 11s) == alone);  // what they said is forgotten
}

TEST_CASE("adaptive: peers never open it alone") {
  AdaptivePolicy policy({.healthy_rate = 0.01, .peers_share_max = 0.99});
  for (std::uint64_t peer = 0; peer < 100; ++peer)
    policy.absorb(peer, {.epoch = 1, .verdict = BreakerState::open, .evidence = 1}, SteadyTime());
  for (int i = 0; i < 10'000; ++i) REQUIRE(policy.record({}, never).kind == Kind::keep);
  AdaptivePolicy half({.healthy_rate = 0.01});
  for (std::uint64_t peer = 0; peer < 100; ++peer)
    half.absorb(peer, {.epoch = 1, .verdict = BreakerState::open, .evidence = 1}, SteadyTime());
  for (int i = 0; i < 100'000; ++i) REQUIRE(half.record({.failed = i % 100 == 0}, never).kind == Kind::keep);
  REQUIRE(half.view().evidence < 0.5);  // nor does it tell on what it was told
}

TEST_CASE("adaptive: of a peer the newest word counts, and nonsense is not heard") {
  const auto failures = [](const std::vector<aura::BreakerEvidence>& said) {
    AdaptivePolicy policy({.healthy_rate = 0.01});
    for (const auto& each : said) policy.absorb(7, each, SteadyTime());
    int count = 1;
    while (policy.record({.failed = true}, never).kind == Kind::keep && count < 100) ++count;
    return count;
  };
  const aura::BreakerEvidence ill{.epoch = 5, .verdict = BreakerState::open, .evidence = 1}, well{.epoch = 6};
  const int alone = failures({}), helped = failures({ill});
  REQUIRE(helped < alone);
  REQUIRE(failures({ill, well}) == alone);
  REQUIRE(failures({well, ill}) == alone);
  REQUIRE(failures({ill, ill, ill}) == helped);
  for (const double wrong : {-1.0, 1.5, 1e9, std::nan(""), std::numeric_limits<double>::infinity()})
    REQUIRE(failures({{.epoch = 9, .verdict = BreakerState::open, .evidence = wrong}}) == alone);
}

// Recovery.

namespace {

struct Opened {
  aura::BreakerCore<AdaptivePolicy> core;
  SteadyTime now{};

  explicit Opened(const AdaptivePolicyOptions& options, std::uint64_t seed)
      : core(aura::BreakerOptions{}, AdaptivePolicy(options), seed) {
    for (int i = 0; i < 100 && core.state() == BreakerState::closed; ++i) (void)call(true);
    wait();
  }
  /// To the end of the opening.
  void wait() { now = core.snapshot().open_until; }
  bool call(bool fails) {
    const auto admission = core.admit(now);
    if (!admission.passes()) return false;
    end(admission.ticket, fails);
    return true;
  }
  void end(aura::BreakerTicket ticket, bool fails) {
    aura::AttemptOutcome outcome;
    if (fails) outcome.failure = aura::ErrorClass::timeout;
    core.record(ticket, outcome, [this] { return now; });
  }
};

}  // namespace

TEST_CASE("adaptive: comes back in steps, each earned by the probes of the one before") {
  const double shares[] = {0.05, 0.25, 0.5};
  const std::size_t places[] = {4, 16, 64};
  int asked[3] = {}, passed[3] = {};
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    Opened breaker({}, seed);
    REQUIRE(breaker.core.state() == BreakerState::open);
    for (std::uint32_t step = 0; step < 3; ++step) {
      // As many probes as there are places, and not one more, however many ask. Dropped, they say nothing.
      std::vector<aura::BreakerTicket> held;
      for (int i = 0; i < 3000; ++i)
        if (const auto admission = breaker.core.admit(breaker.now); admission.passes())
          held.push_back(admission.ticket);
      REQUIRE(held.size() == places[step]);
      REQUIRE(breaker.core.state() == BreakerState::half_open);
      REQUIRE(breaker.core.snapshot().recovery_step == step);
      for (const auto& ticket : held) breaker.core.cancel(ticket);
      REQUIRE(breaker.core.snapshot().recovery_step == step);
      int successes = 0;
      for (int i = 0; i < 3000 && breaker.core.state() == BreakerState::half_open &&
                      breaker.core.snapshot().recovery_step == step;
           ++i) {
        ++asked[step];
        successes += breaker.call(false);
      }
      REQUIRE(successes == 18);  // ln 20 over ln(0.95 / 0.8), rounded up
      passed[step] += successes;
    }
    REQUIRE(breaker.core.state() == BreakerState::closed);
  }
  for (int step = 0; step < 3; ++step)
    REQUIRE(static_cast<double>(passed[step]) / asked[step] == Approx(shares[step]).epsilon(0.12));
}

TEST_CASE("adaptive: a relapse waits longer, and no two of a fleet as long") {
  std::set<std::int64_t> ends;
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    Opened breaker({}, seed);
    ends.insert(breaker.now.time_since_epoch().count());
    REQUIRE(breaker.now >= SteadyTime(2s));
    REQUIRE(breaker.now <= SteadyTime(2600ms));
    for (const aura::Duration least : {4s, 8s, 10s, 10s}) {
      const SteadyTime before = breaker.now;
      for (int i = 0; i < 10'000 && breaker.core.state() != BreakerState::open; ++i) (void)breaker.call(true);
      for (int i = 0; i < 10'000 && breaker.core.snapshot().open_until <= before; ++i) (void)breaker.call(true);
      breaker.wait();
      REQUIRE(breaker.now - before >= least);
      REQUIRE(breaker.now - before <= least * 13 / 10);
    }
  }
  REQUIRE(ends.size() == 50);
}

TEST_CASE("recovery: without a bound openings grow until they are for ever, and never wrap") {
  aura::RecoveryOptions options;
  options.open_max = aura::Duration::max();
  aura::Recovery recovery(options);
  SteadyTime before{};
  for (int i = 0; i < 100; ++i) {
    const SteadyTime until = recovery.opened(SteadyTime(1s), {}, 0.999);
    REQUIRE(until >= before);
    before = until;
  }
  REQUIRE(before > SteadyTime(std::chrono::hours(24 * 365 * 250)));
}

TEST_CASE("adaptive: a dependency that is as healthy as it ever was comes back, most often at once") {
  for (const double rate : rates) {
    for (const bool given : {true, false}) {
      int at_once = 0;
      aura::Random dice(73);
      for (std::uint64_t seed = 1; seed <= 300; ++seed) {
        AdaptivePolicyOptions options;
        if (given) options.healthy_rate = rate;
        Opened breaker(options, seed);
        (void)breaker.call(dice.chance(rate));
        for (int i = 0; i < 100'000 && breaker.core.state() == BreakerState::half_open; ++i)
          (void)breaker.call(dice.chance(rate));
        at_once += breaker.core.state() == BreakerState::closed;
      }
      INFO("at " << rate << (given ? " given" : " learned") << ": " << at_once << " of 300");
      REQUIRE(at_once > 240);  // three steps, each wrong one time in twenty
    }
  }
}

TEST_CASE("adaptive: one that still fails outright does not") {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    Opened breaker({}, seed);
    int probes = 0;
    for (int i = 0; i < 10'000 && breaker.now >= breaker.core.snapshot().open_until; ++i)
      probes += breaker.call(true);
    REQUIRE(breaker.core.state() == BreakerState::open);
    REQUIRE(probes <= 4);
  }
}

// Options.

TEST_CASE("adaptive: options that make no sense are named") {
  const auto says = [](const AdaptivePolicyOptions& options, const char* culprit) {
    return complaint(options).find(culprit) != std::string::npos;
  };
  REQUIRE(complaint({}).empty());
  REQUIRE(says({.failing_rate = 0}, "failing_rate"));
  REQUIRE(says({.failing_rate = 1}, "failing_rate"));
  REQUIRE(says({.failing_rate = std::nan("")}, "failing_rate"));
  REQUIRE(says({.failing_rate = 1e-6}, "failing_rate"));
  REQUIRE(says({.healthy_rate = 0.1}, "failing_rate"));
  REQUIRE(says({.healthy_rate = 0.0}, "healthy rate"));
  REQUIRE(says({.healthy_rate_max = 0.2}, "healthy rate"));
  REQUIRE(says({.healthy_rate_max = 0.0}, "healthy rate"));
  REQUIRE(says({.slow_rate = 2.0}, "slow_rate"));
  REQUIRE(says({.slow_rate = 0.3, .healthy_slow_rate = 0.4}, "slow_rate"));
  REQUIRE(says({.between_false_openings = 0s}, "between_false_openings"));
  REQUIRE(says({.calls_per_second = 0}, "calls_per_second"));
  REQUIRE(says({.calls_per_second = std::nan("")}, "calls_per_second"));
  REQUIRE(says({.peers_share_max = 1}, "peers_share_max"));
  REQUIRE(says({.peers_share_max = -0.1}, "peers_share_max"));
  REQUIRE(says({.peers_share_max = std::nan("")}, "peers_share_max"));
}

TEST_CASE("adaptive: every failing rate that can be planned can also be learned for, and any other is named") {
  for (double rate = 1e-6; rate < 1; rate *= 1.3) {
    try {
      AdaptivePolicy policy({.failing_rate = rate});
      REQUIRE(policy.record({}, never).kind == Kind::keep);
    } catch (const std::invalid_argument& e) {
      REQUIRE(std::string_view(e.what()).find("failing_rate") != std::string_view::npos);
    }
  }
}
