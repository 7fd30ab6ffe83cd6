// Outlier ejection keeps the rules of Envoy's outlier detection.
#include "support/breaker_rig.hpp"
#include "support/catch.hpp"

#include <aura/core/random.hpp>
#include <aura/operational/breaker/outlier_ejection.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

using namespace std::chrono_literals;
using aura::BreakerState;
using aura::Duration;
using aura::SteadyTime;
using OutlierCore = Core<aura::OutlierEjection>;

/// The endpoints of a group, each behind its breaker.
struct Endpoints {
  std::shared_ptr<aura::OutlierGroup> group;
  std::vector<std::unique_ptr<OutlierCore>> all{};

  Endpoints(std::size_t count, const aura::OutlierEjectionOptions& options)
      : group(std::make_shared<aura::OutlierGroup>(options)) {
    for (std::size_t i = 0; i < count; ++i)
      all.push_back(std::make_unique<OutlierCore>(aura::BreakerOptions{}, aura::OutlierEjection(group), i));
  }
  OutlierCore& operator[](std::size_t i) { return *all[i]; }
  bool open(std::size_t i) const { return all[i]->state() == BreakerState::open; }
  void fail(std::size_t i, Duration now, int times) {
    for (int n = 0; n < times; ++n) (void)call(*all[i], SteadyTime(now), true);
  }
  void succeed(std::size_t i, Duration now, int times) {
    for (int n = 0; n < times; ++n) (void)call(*all[i], SteadyTime(now), false);
  }
  Duration ejected_for(std::size_t i, Duration now) const { return all[i]->snapshot().open_until - SteadyTime(now); }
};

/// Only the comparisons, so that failures in a row do not interfere.
aura::OutlierEjectionOptions comparing() {
  aura::OutlierEjectionOptions options;
  options.consecutive_failures = 1'000'000'000;
  options.max_ejected_share = 1;
  return options;
}

}  // namespace

TEST_CASE("outlier ejection: the defaults are Envoy's") {
  const aura::OutlierEjectionOptions options;
  REQUIRE(options.consecutive_failures == 5);
  REQUIRE(options.interval == 10s);
  REQUIRE(options.base_ejection_time == 30s);
  REQUIRE(options.max_ejection_time == 300s);
  REQUIRE(options.max_ejected_share == 0.1);
  REQUIRE(options.success_rate_deviations == 1.9);
  REQUIRE(options.success_rate_hosts_min == 5);
  REQUIRE(options.success_rate_calls_min == 100);
  REQUIRE(options.failure_share == 0.85);
  REQUIRE(options.failure_share_hosts_min == 5);
  REQUIRE(options.failure_share_calls_min == 50);
}

TEST_CASE("outlier ejection: five failures in a row eject for the base time, and it comes back in full") {
  Endpoints endpoints(2, {});
  endpoints.fail(0, 1s, 4);
  endpoints.succeed(0, 1s, 1);
  endpoints.fail(0, 1s, 4);
  REQUIRE_FALSE(endpoints.open(0));
  endpoints.fail(0, 1s, 1);
  REQUIRE(endpoints.open(0));
  REQUIRE(endpoints.ejected_for(0, 1s) == 30s);
  REQUIRE(endpoints.group->ejected(SteadyTime(30'999ms)) == 1);
  REQUIRE_FALSE(call(endpoints[0], SteadyTime(30'999ms), false));
  REQUIRE(endpoints.group->ejected(SteadyTime(31s)) == 0);
  REQUIRE(call(endpoints[0], SteadyTime(31s), false));
  REQUIRE(endpoints[0].state() == BreakerState::closed);
}

TEST_CASE("outlier ejection: grows by the base time with each ejection in a row, up to its bound") {
  Endpoints endpoints(1, {});
  Duration now = 1s;
  for (const Duration expected : {30s, 60s, 90s, 120s, 150s, 180s, 210s, 240s, 270s, 300s, 300s, 300s, 300s}) {
    endpoints.fail(0, now, 5);
    REQUIRE(endpoints.ejected_for(0, now) == expected);
    now += expected;
  }
  // Envoy's multiplier stops with the time, at 11: seven intervals later it is 4, and the next ejection is its fifth.
  now += 70s;
  endpoints.fail(0, now, 5);
  REQUIRE(endpoints.ejected_for(0, now) == 150s);
}

TEST_CASE("outlier ejection: shrinks by the base time with each interval of health, also where nobody fails") {
  for (const int healthy_intervals : {0, 1, 2, 3, 10}) {
    Endpoints endpoints(1, {});
    Duration now = 1s;
    for (const Duration expected : {30s, 60s, 90s}) {
      endpoints.fail(0, now, 5);
      REQUIRE(endpoints.ejected_for(0, now) == expected);
      now += expected;
    }
    endpoints.succeed(0, now, 10);
    now += 10s * healthy_intervals + 1s;
    endpoints.fail(0, now, 5);
    REQUIRE(endpoints.ejected_for(0, now) == 30s * (4 - std::min(healthy_intervals, 3)));
  }
}

TEST_CASE("outlier ejection: never more than the stated share at once, but always one") {
  struct Case {
    double share;
    std::size_t hosts, most;
  };
  for (const Case& each :
       {Case{0.1, 20, 2}, {0.1, 5, 1}, {0, 7, 1}, {0.5, 7, 3}, {1, 6, 6}, {0.29, 100, 29}, {0.35, 20, 7}}) {
    INFO(each.share << " of " << each.hosts);
    aura::OutlierEjectionOptions options;
    options.max_ejected_share = each.share;
    Endpoints endpoints(each.hosts, options);
    for (std::size_t i = 0; i < each.hosts; ++i) {
      endpoints.fail(i, 1s, 12);
      REQUIRE(endpoints.group->ejected(SteadyTime(1s)) == std::min(i + 1, each.most));
      REQUIRE(endpoints.open(i) == (i < each.most));
    }
    if (each.most == each.hosts) continue;
    endpoints.fail(each.most, 32s, 5);  // those before have had their time
    REQUIRE(endpoints.open(each.most));
  }
}

TEST_CASE("outlier ejection: a breaker that is reset by hand gives its place back") {
  Endpoints endpoints(3, {});
  endpoints.fail(0, 1s, 5);
  endpoints.fail(1, 1s, 5);
  REQUIRE(endpoints.open(0));
  REQUIRE_FALSE(endpoints.open(1));
  endpoints[0].reset(SteadyTime(2s));
  REQUIRE(endpoints.group->ejected(SteadyTime(2s)) == 0);
  endpoints.fail(1, 2s, 5);
  REQUIRE(endpoints.open(1));
}

TEST_CASE("outlier ejection: an endpoint whose breaker is gone holds no place") {
  Endpoints endpoints(3, {});
  endpoints.fail(0, 1s, 5);
  endpoints.all.erase(endpoints.all.begin());
  REQUIRE(endpoints.group->hosts() == 2);
  endpoints.fail(0, 1s, 5);
  REQUIRE(endpoints.open(0));
}

TEST_CASE("outlier ejection: ejects those below the mean success rate by 1.9 deviations, and nobody else") {
  aura::Random dice(23);
  int ejections = 0;
  for (int round = 0; round < 200; ++round) {
    aura::OutlierEjectionOptions options = comparing();
    options.failure_share = 2;
    const std::size_t hosts = 2 + dice.below(9);
    Endpoints endpoints(hosts, options);
    endpoints.fail(0, 1s, 1);  // begins the interval
    std::vector<double> rates;
    std::vector<std::size_t> compared;
    for (std::size_t i = 0; i < hosts; ++i) {
      const int calls = 80 + static_cast<int>(dice.below(100));
      const int failures = dice.chance(0.25) ? static_cast<int>(dice.below(60)) : 1 + static_cast<int>(dice.below(5));
      endpoints.fail(i, 5s, failures);
      endpoints.succeed(i, 5s, calls - failures);
      const int counted = i == 0 ? calls + 1 : calls;  // with the one that began the interval
      if (counted < 100) continue;
      compared.push_back(i);
      rates.push_back(static_cast<double>(calls - failures) / counted);
    }
    std::set<std::size_t> outliers;
    if (compared.size() >= 5) {
      double mean = 0, variance = 0;
      for (const double rate : rates) mean += rate / static_cast<double>(rates.size());
      for (const double rate : rates) variance += (rate - mean) * (rate - mean) / static_cast<double>(rates.size());
      for (std::size_t i = 0; i < compared.size(); ++i)
        if (rates[i] < mean - 1.9 * std::sqrt(variance)) outliers.insert(compared[i]);
    }
    for (std::size_t i = 0; i < hosts; ++i) endpoints.fail(i, 11s, 1);
    for (std::size_t i = 0; i < hosts; ++i) {
      INFO("round " << round << ", endpoint " << i);
      REQUIRE(endpoints.open(i) == outliers.contains(i));
    }
    ejections += static_cast<int>(outliers.size());
  }
  REQUIRE(ejections > 20);
}

TEST_CASE("outlier ejection: Envoy's own example of success rates: 50 among 100s is below 52") {
  Endpoints endpoints(5, comparing());
  endpoints.fail(0, 1s, 100);
  endpoints.succeed(0, 1s, 100);
  for (std::size_t i = 1; i < 5; ++i) endpoints.succeed(i, 1s, 200);
  REQUIRE_FALSE(endpoints.open(0));
  for (std::size_t i = 0; i < 5; ++i) endpoints.fail(i, 11s, 1);
  REQUIRE(endpoints.open(0));
  for (std::size_t i = 1; i < 5; ++i) REQUIRE_FALSE(endpoints.open(i));
}

TEST_CASE("outlier ejection: ejects those that failed 85% of 50 calls, among five that had as many") {
  struct Case {
    std::size_t hosts;
    int failures, calls;
    bool ejects;
  };
  for (const Case& each : {Case{5, 85, 100, true},
                           {5, 84, 100, false},
                           {5, 17, 20, false},
                           {5, 43, 50, true},
                           {5, 42, 50, false},
                           {4, 50, 50, false},
                           {5, 49, 49, false}}) {
    INFO(each.failures << " of " << each.calls << " among " << each.hosts);
    aura::OutlierEjectionOptions options = comparing();
    options.success_rate_hosts_min = 1000;
    Endpoints endpoints(each.hosts, options);
    for (std::size_t i = 0; i < each.hosts; ++i) {
      endpoints.fail(i, 1s, each.failures);
      endpoints.succeed(i, 1s, each.calls - each.failures);
    }
    for (std::size_t i = 0; i < each.hosts; ++i) endpoints.fail(i, 11s, 1);
    for (std::size_t i = 0; i < each.hosts; ++i) REQUIRE(endpoints.open(i) == each.ejects);
  }
}

TEST_CASE("outlier ejection: who was an outlier once and has been well since is not ejected for one failure") {
  Endpoints endpoints(5, comparing());
  endpoints.fail(0, 1s, 100);
  for (std::size_t i = 0; i < 5; ++i) endpoints.succeed(i, 1s, 100);
  endpoints.fail(1, 11s, 1);  // the comparison: 0 is an outlier now
  for (std::size_t i = 0; i < 5; ++i) endpoints.succeed(i, 12s, 100);
  endpoints.fail(0, 25s, 1);  // the comparison of an interval in which it was well
  REQUIRE_FALSE(endpoints.open(0));
}

TEST_CASE("outlier ejection: while it is ejected an endpoint is not compared, and comes back without a record") {
  aura::OutlierEjectionOptions options;
  options.max_ejected_share = 1;
  Endpoints endpoints(6, options);
  for (std::size_t i = 1; i < 6; ++i) endpoints.succeed(i, 1s, 200);
  endpoints.succeed(0, 1s, 100);
  endpoints.fail(0, 1s, 1);
  for (int i = 0; i < 25; ++i) {
    endpoints.succeed(0, 1s, 1);
    endpoints.fail(0, 1s, 4);
  }
  endpoints.fail(0, 1s, 1);
  REQUIRE(endpoints.open(0));  // for 30 s, and its bad record is of this interval
  endpoints.succeed(1, 2s, 100);
  endpoints.fail(1, 11'500ms, 1);  // the comparison
  REQUIRE(call(endpoints[0], SteadyTime(31s), false));
  REQUIRE(call(endpoints[0], SteadyTime(31s), true));
  REQUIRE_FALSE(endpoints.open(0));  // one failure after its return

  // Nor does it move the mean of the others: with it, the deviation would hide the second worst.
  Endpoints two(6, options);
  for (std::size_t i = 2; i < 6; ++i) two.succeed(i, 1s, 200);
  for (int i = 0; i < 50; ++i) {
    two.succeed(0, 1s, 1);
    two.fail(0, 1s, 4);
    two.succeed(1, 1s, 3);
    two.fail(1, 1s, 1);
  }
  two.fail(0, 1s, 5);
  REQUIRE(two.open(0));
  REQUIRE_FALSE(two.open(1));
  two.fail(1, 12s, 1);
  REQUIRE(two.open(1));
}

TEST_CASE("outlier ejection: options that make no sense are named, and a full group says so") {
  const auto of = [](auto change) {
    aura::OutlierEjectionOptions options;
    change(options);
    return complaint([&] { aura::OutlierGroup{options}; });
  };
  using Options = aura::OutlierEjectionOptions;
  REQUIRE(names(of([](Options& o) { o.consecutive_failures = 0; }), "consecutive_failures"));
  REQUIRE(names(of([](Options& o) { o.interval = 0s; }), "interval"));
  REQUIRE(names(of([](Options& o) { o.base_ejection_time = 0s; }), "base_ejection_time"));
  REQUIRE(names(of([](Options& o) { o.max_ejected_share = 1.5; }), "max_ejected_share"));
  REQUIRE(names(of([](Options& o) { o.max_ejected_share = std::nan(""); }), "max_ejected_share"));
  REQUIRE(names(of([](Options& o) { o.failure_share = 0; }), "failure_share"));
  Options small;
  small.hosts_max = 2;
  Endpoints endpoints(2, small);
  REQUIRE_THROWS_AS(aura::OutlierEjection(endpoints.group), std::length_error);
  endpoints.all.pop_back();
  REQUIRE_NOTHROW(aura::OutlierEjection(endpoints.group));
}
