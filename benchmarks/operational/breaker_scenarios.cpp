// What each policy of the circuit breaker does to those who call through it: six ways to fall ill in virtual time, and
// a week in which nothing is wrong.
//
// A thousand requests a second arrive as a Poisson process at a service that answers within 10 ms on average and fails
// one in a thousand. It is well for 30 s, ill for 60, and well again. Counted are the requests that failed or were slow
// (100 ms), those that were turned away while the service was well (needless), after how long every client had turned one
// away (open), and how long after the illness the last one was (recovery): so the figures mean the same for a policy
// that opens, one that throttles and one that bounds concurrency. A figure is the median of some seeds.
#include "support/bench.hpp"

#include <aura/operational/breaker/adaptive_policy.hpp>
#include <aura/operational/breaker/adaptive_throttle.hpp>
#include <aura/operational/breaker/consecutive_failures.hpp>
#include <aura/operational/breaker/failure_rate.hpp>
#include <aura/operational/breaker/failure_rate_over_time.hpp>
#include <aura/operational/breaker/gradient_limit.hpp>
#include <aura/operational/breaker/outlier_ejection.hpp>
#include <aura/operational/circuit_breaker.hpp>
#include <aura/sim/runtime.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace {

using namespace std::chrono_literals;
using aura::Duration;
using aura::SteadyTime;

constexpr double healthy_error_rate = 0.001;
constexpr double calls_per_second = 1000;
constexpr Duration slow_after = 100ms;
constexpr SteadyTime ill_from(30s), ill_until(90s), horizon(ill_until + 900s);
/// No breaker here is open for so long without a call that it turns away.
constexpr Duration quiet = 20s;

// The service.

/// How a service is at a moment.
struct Condition {
  double error_rate = healthy_error_rate;
  double slowdown = 1;
  double calls_per_second_max = std::numeric_limits<double>::infinity();
};

struct Scenario {
  std::string name;
  std::function<Condition(SteadyTime)> ill;  ///< between `ill_from` and `ill_until`
  int clients = 1;  ///< they share the load evenly
  int ill_clients = clients;  ///< the others reach a service that is well

  Condition at(SteadyTime now) const { return ill_from <= now && now < ill_until ? ill(now) : Condition(); }
};

struct Answer {
  bool fails = false;
  Duration takes{};
};

/// Answers by its condition. Where it can do only so many calls a second, the others fail at once.
class Service {
 public:
  Service(const Scenario& scenario, aura::Random dice) : scenario_(&scenario), dice_(dice) {}

  Answer ask(SteadyTime now) {
    const Condition is = refill(now);
    if (tokens_ < 1) return {true, 1ms};
    tokens_ -= 1;
    const double millis = (5 - 5 * std::log1p(-dice_.uniform())) * is.slowdown;
    return {dice_.chance(is.error_rate), Duration(static_cast<Duration::rep>(millis * 1e6))};
  }
  /// Whether a call would have been answered as always.
  bool well(SteadyTime now) {
    const Condition is = refill(now);
    return tokens_ >= 1 && is.error_rate <= healthy_error_rate && is.slowdown <= 1;
  }

 private:
  Condition refill(SteadyTime now) {
    const Condition is = scenario_->at(now);
    const double burst = std::max(1.0, 0.05 * is.calls_per_second_max);
    const double seconds = std::chrono::duration<double>(now - std::exchange(refilled_, now)).count();
    tokens_ = std::isinf(burst)
                  ? burst
                  : std::min(burst, std::isinf(tokens_) ? 0 : tokens_ + seconds * is.calls_per_second_max);
    return is;
  }

  const Scenario* scenario_;
  aura::Random dice_;
  SteadyTime refilled_{};
  double tokens_ = std::numeric_limits<double>::infinity();
};

std::vector<Scenario> scenarios() {
  const auto seconds = [](SteadyTime now) { return std::chrono::duration<double>(now - ill_from).count(); };
  return {
      {"outright", [](SteadyTime) { return Condition{.error_rate = 1}; }},
      {"slow", [](SteadyTime) { return Condition{.slowdown = 30}; }},
      {"grey", [](SteadyTime) { return Condition{.error_rate = 0.05}; }},
      {"flap",  // two seconds down, two up
       [=](SteadyTime now) {
         return static_cast<int>(seconds(now) / 2) % 2 == 0 ? Condition{.error_rate = 1} : Condition();
       }},
      {"recovers_slowly",  // dead for 20 s, then able to do 50 calls a second, and 30 more with each second
       [=](SteadyTime now) {
         if (seconds(now) < 20) return Condition{.error_rate = 1};
         return Condition{.calls_per_second_max = 50 + 30 * (seconds(now) - 20)};
       }},
      {"common_mode", [](SteadyTime) { return Condition{.error_rate = 1}; }, 8},
      {"common_grey", [](SteadyTime) { return Condition{.error_rate = 0.05}; }, 8},
      {"part_of_fleet", [](SteadyTime) { return Condition{.error_rate = 1}; }, 8, 2},
  };
}

// The clients.

struct Tally {
  std::uint64_t failed = 0, needless = 0, spared = 0;
  std::optional<SteadyTime> first_rejection{};  // since it fell ill; of several clients the latest, if each has one
  SteadyTime last_rejection{};

  static Tally of(const std::vector<Tally>& clients) {
    Tally all = clients.front();
    for (const Tally& each : std::span(clients).subspan(1)) {
      all.failed += each.failed;
      all.needless += each.needless;
      all.spared += each.spared;
      all.last_rejection = std::max(all.last_rejection, each.last_rejection);
      if (!each.first_rejection || !all.first_rejection)
        all.first_rejection.reset();
      else
        all.first_rejection = std::max(*all.first_rejection, *each.first_rejection);
    }
    return all;
  }
};

/// Sends its share of the requests through its breaker.
template <class Policy>
class Client {
 public:
  Client(aura::sim::Runtime& world, Policy policy, const std::string& name, Service& service, double rate,
         Tally* tally)
      : world_(&world),
        breaker_(world, std::move(policy), {.name = name, .classification = {.slow_after = slow_after}}),
        dice_(world.random("arrivals/" + name)),
        service_(&service),
        rate_(rate),
        tally_(tally) {
    wait();
  }
  Client(Client&&) = delete;

  aura::CircuitBreaker<Policy>& breaker() noexcept { return breaker_; }
  void stop() noexcept { stopped_ = true; }

 private:
  void wait() {
    const double seconds = -std::log1p(-dice_.uniform()) / rate_;
    world_->async_wait_for(Duration(static_cast<Duration::rep>(seconds * 1e9)), [this](boost::system::error_code) {
      if (stopped_) return;
      send();
      wait();
    });
  }
  void send() {
    const SteadyTime now = world_->steady_now();
    auto permit = breaker_.try_acquire(now);
    if (!permit) return turned_away(now);
    const Answer answer = service_->ask(now);
    if (tally_ != nullptr) tally_->failed += answer.fails || answer.takes >= slow_after;
    world_->async_wait_for(answer.takes,
                           [this, answer, held = *std::move(permit)](boost::system::error_code) mutable {
                             aura::AttemptOutcome outcome{.latency = answer.takes};
                             if (answer.fails) outcome.failure = aura::ErrorClass::transient;
                             held.record(outcome, world_->steady_now());
                           });
  }
  void turned_away(SteadyTime now) {
    if (tally_ == nullptr) return;
    ++(service_->well(now) ? tally_->needless : tally_->spared);
    if (ill_from <= now && now < ill_until && !tally_->first_rejection) tally_->first_rejection = now;
    tally_->last_rejection = now;
  }

  aura::sim::Runtime* world_;
  aura::CircuitBreaker<Policy> breaker_;
  aura::Random dice_;
  Service* service_;
  double rate_;
  Tally* tally_;
  bool stopped_ = false;
};

/// Every second each tells each of the others what it found, as gossip would.
template <class Policy>
void gossip(std::vector<std::unique_ptr<Client<Policy>>>& clients) {
  if constexpr (aura::hears_peers<Policy>)
    for (std::size_t from = 0; from < clients.size(); ++from)
      for (std::size_t to = 0; to < clients.size(); ++to)
        if (to != from) clients[to]->breaker().absorb(from, clients[from]->breaker().evidence());
}

/// `make(group)` makes a policy. Where it compares endpoints, each client has four more of them: they share the illness
/// where it is a common one.
template <class Make>
Tally run(const Scenario& scenario, std::uint64_t seed, Make make) {
  using Policy = decltype(make(std::shared_ptr<aura::OutlierGroup>(), seed));
  static const Scenario always_well{"well", [](SteadyTime) { return Condition(); }};
  aura::sim::Runtime world({.seed = seed});
  Service service(scenario, world.random("service"));
  Service elsewhere(always_well, world.random("elsewhere"));
  std::vector<Tally> tallies(static_cast<std::size_t>(scenario.clients));
  std::vector<std::unique_ptr<Client<Policy>>> clients;
  for (int i = 0; i < scenario.clients; ++i) {
    const auto group = std::make_shared<aura::OutlierGroup>();
    const std::string name = "client " + std::to_string(i);
    const double rate = calls_per_second / scenario.clients;
    const auto policy_seed = world.random(name)();
    Service& reached = i < scenario.ill_clients ? service : elsewhere;
    clients.push_back(std::make_unique<Client<Policy>>(world, make(group, policy_seed), name, reached, rate,
                                                       &tallies[static_cast<std::size_t>(i)]));
    if constexpr (std::is_same_v<Policy, aura::OutlierEjection>)
      for (int k = 0; k < 4; ++k)
        clients.push_back(
            std::make_unique<Client<Policy>>(world, make(group, policy_seed), name + " sibling " + std::to_string(k),
                                             scenario.clients > 1 ? reached : elsewhere, rate / 10, nullptr));
  }
  while (world.steady_now() < horizon) {
    world.run_for(1s);
    gossip(clients);
    if (world.steady_now() > std::max(ill_until, Tally::of(tallies).last_rejection) + quiet) break;
  }
  for (auto& client : clients) client->stop();
  world.run();  // the permits come home
  return Tally::of(tallies);
}

// The rows.

struct TableRow {
  std::string scenario, policy;
  double failed = 0, needless = 0, spared = 0;
  std::optional<double> open_ms{}, recovery_ms{};
  bool endless = false;  ///< still turns calls away a quarter of an hour after the illness
};

class Scenarios {
 public:
  explicit Scenarios(aura::bench::Suite& suite) : suite_(&suite), seeds_(suite.quick() ? 1 : 5) {}

  template <class Make>
  void add(const Scenario& scenario, const std::string& policy, Make make) {
    const std::string name = "circuit_breaker/scenario/" + scenario.name + "/" + policy + "/";
    bool wanted = false;
    for (const char* each : {"failed", "needless", "open_ms", "recovery_ms"}) wanted |= suite_->wants(name + each);
    if (!wanted) return;
    std::vector<double> failed, needless, spared, open, recovery;
    TableRow row{.scenario = scenario.name, .policy = policy};
    for (std::uint64_t seed = 1; seed <= seeds_; ++seed) {
      const Tally tally = run(scenario, seed, make);
      const auto millis = [](Duration span) { return std::chrono::duration<double, std::milli>(span).count(); };
      failed.push_back(static_cast<double>(tally.failed));
      needless.push_back(static_cast<double>(tally.needless));
      spared.push_back(static_cast<double>(tally.spared));
      row.endless |= tally.last_rejection > horizon - quiet;
      if (tally.first_rejection) open.push_back(millis(*tally.first_rejection - ill_from));
      if (tally.last_rejection > ill_from)
        recovery.push_back(std::max(0.0, millis(tally.last_rejection - ill_until)));
    }
    row.failed = put(name + "failed", "requests", failed);
    row.needless = put(name + "needless", "requests", needless);
    row.spared = aura::bench::median_of(spared);
    if (2 * open.size() > seeds_) row.open_ms = put(name + "open_ms", "ms", open);
    if (2 * recovery.size() > seeds_ && !row.endless) row.recovery_ms = put(name + "recovery_ms", "ms", recovery);
    rows_.push_back(std::move(row));
  }

  void print() const {
    if (rows_.empty()) return;
    fmt::print("\n60,000 requests while it is ill: from 30 s on, for 60 s. Medians of {} seeds.\n", seeds_);
    fmt::print("{:<16} {:<18} {:>9} {:>9} {:>9} {:>12} {:>14}\n", "scenario", "policy", "failed", "needless",
               "spared", "open after", "recovery after");
    std::string before;
    for (const TableRow& row : rows_) {
      if (!before.empty() && before != row.scenario) fmt::print("\n");
      const auto time = [](const std::optional<double>& ms) {
        return !ms ? "-" : *ms < 10'000 ? fmt::format("{:.0f} ms", *ms) : fmt::format("{:.1f} s", *ms / 1000);
      };
      fmt::print("{:<16} {:<18} {:>9.0f} {:>9.0f} {:>9.0f} {:>12} {:>14}\n",
                 before == row.scenario ? "" : row.scenario, row.policy, row.failed, row.needless, row.spared,
                 time(row.open_ms), row.endless ? "never" : time(row.recovery_ms));
      before = row.scenario;
    }
  }

 private:
  double put(const std::string& name, const char* unit, const std::vector<double>& figures) {
    suite_->add({.name = name, .unit = unit}, figures, std::nullopt);
    return aura::bench::median_of(figures);
  }

  aura::bench::Suite* suite_;
  std::uint64_t seeds_;
  std::vector<TableRow> rows_{};
};

// A week of health.

struct CountOpenings {
  std::uint64_t* openings;
  /// Relapses are of the same opening.
  void operator()(const aura::BreakerChanged& change) const {
    const bool was_at_ease =
        change.from == aura::BreakerState::closed || change.from == aura::BreakerState::throttling;
    *openings += was_at_ease && change.to == aura::BreakerState::open;
    *openings += change.from == aura::BreakerState::closed && change.to == aura::BreakerState::throttling;
  }
};

/// The core alone, a call each millisecond, every one of them recorded. What is turned away passes unseen.
template <class Policy>
class Healthy {
 public:
  Healthy(Policy policy, std::uint64_t seed, double error_rate, std::uint64_t* openings)
      : core_({}, std::move(policy), seed, CountOpenings{openings}), dice_(seed), log_good_(std::log1p(-error_rate)) {
    draw();
  }

  /// So many calls from `begin` on, one each `step`.
  void feed(SteadyTime begin, Duration step, std::uint64_t calls) {
    SteadyTime now = begin;
    while (calls > 0) {
      const std::uint64_t run = std::min(calls, good_left_);
      for (std::uint64_t i = 0; i < run; ++i, now += step) {
        const auto admission = core_.admit(now);
        if (admission.passes()) [[likely]]
          core_.record_success(admission.ticket, {}, [now] { return now; });
      }
      calls -= run;
      good_left_ -= run;
      if (calls == 0) return;
      const auto admission = core_.admit(now);
      if (admission.passes())
        core_.record(admission.ticket, {.failure = aura::ErrorClass::transient}, [now] { return now; });
      now += step;
      --calls;
      draw();
    }
  }

 private:
  /// Successes until the next failure: geometric.
  void draw() { good_left_ = static_cast<std::uint64_t>(std::log1p(-dice_.uniform()) / log_good_); }

  aura::BreakerCore<Policy, CountOpenings> core_;
  aura::Random dice_;
  double log_good_;
  std::uint64_t good_left_ = 0;
};

class HealthyWeek {
 public:
  explicit HealthyWeek(aura::bench::Suite& suite) : suite_(&suite), calls_(week / faster()) {
    if (suite.quick())
      fmt::print(
          "quick: six hours stand for the week; the adaptive policy is asked for one false opening in 24/28 hours "
          "there, what the others did counts 28 times\n");
  }

  /// How many times as often as it would in the week a policy has to err that is told how often it may.
  unsigned faster() const { return suite_->quick() ? 28 : 1; }

  /// The mean of so many weeks. `counts` is what an opening counts for.
  template <class Make>
  void add(const std::string& policy, std::uint64_t weeks, double counts, Make make) {
    std::array<std::optional<double>, 3> row;
    bool any = false;
    for (std::size_t i = 0; i < rates.size(); ++i) {
      const std::string name = "circuit_breaker/false_openings_per_week/" + policy + "/" + rates[i].first;
      if (!suite_->wants(name)) continue;
      any = true;
      double sum = 0;
      for (std::uint64_t n = 0; n < weeks; ++n) sum += counts * openings(make, rates[i].second, 100 * (n + 1) + i);
      row[i] = sum / static_cast<double>(weeks);
      suite_->add({.name = name, .unit = "openings"}, {*row[i]}, std::nullopt);
    }
    if (any) rows_.emplace_back(policy, row);
  }

  void print() const {
    if (rows_.empty()) return;
    fmt::print(
        "\nFalse openings in a week of health, {:.0f} calls a second{}. The adaptive policy was asked for 7.\n",
        calls_per_second, calls_ == week ? "" : " (extrapolated)");
    fmt::print("{:<24} {:>8} {:>8} {:>8}   of the calls fail\n", "policy", rates[0].first, rates[1].first,
               rates[2].first);
    for (const auto& [policy, row] : rows_) {
      fmt::print("{:<24}", policy);
      for (const auto& figure : row) fmt::print(" {:>8}", figure ? fmt::format("{:.1f}", *figure) : "-");
      fmt::print("\n");
    }
  }

 private:
  static constexpr std::uint64_t week = 604'800'000;
  static constexpr std::array<std::pair<const char*, double>, 3> rates{{{"0.1%", 0.001}, {"1%", 0.01}, {"5%", 0.05}}};

  template <class Make>
  double openings(Make make, double error_rate, std::uint64_t seed) const {
    using Policy = decltype(make(std::shared_ptr<aura::OutlierGroup>(), seed, error_rate));
    const auto group = std::make_shared<aura::OutlierGroup>();
    // Endpoints that are compared share the load, five of them, in turns of a second; those of the others are all one.
    constexpr std::size_t endpoints = std::is_same_v<Policy, aura::OutlierEjection> ? 5 : 1;
    std::uint64_t count = 0;
    std::vector<std::unique_ptr<Healthy<Policy>>> all;
    for (std::size_t i = 0; i < endpoints; ++i)
      all.push_back(
          std::make_unique<Healthy<Policy>>(make(group, seed + i, error_rate), seed + 10 * i, error_rate, &count));
    for (std::uint64_t done = 0; done < calls_; done += 1000)
      for (auto& each : all)
        each->feed(SteadyTime(1ms * static_cast<std::int64_t>(done)), 1ms * endpoints, 1000 / endpoints);
    return static_cast<double>(count);
  }

  aura::bench::Suite* suite_;
  std::uint64_t calls_;
  std::vector<std::pair<std::string, std::array<std::optional<double>, 3>>> rows_{};
};

}  // namespace

int main(int argc, char** argv) {
  aura::bench::Suite suite(argc, argv);
  using Group = std::shared_ptr<aura::OutlierGroup>;

  Scenarios table(suite);
  for (const Scenario& scenario : scenarios()) {
    table.add(scenario, "consecutive",
              [](const Group&, std::uint64_t) { return aura::ConsecutiveFailures({.slow_counts = true}); });
    table.add(scenario, "failure_rate", [](const Group&, std::uint64_t) { return aura::FailureRate(); });
    table.add(scenario, "failure_rate_over_time",
              [](const Group&, std::uint64_t) { return aura::FailureRateOverTime(); });
    table.add(scenario, "throttle", [](const Group&, std::uint64_t) { return aura::AdaptiveThrottle(); });
    table.add(scenario, "gradient", [](const Group&, std::uint64_t) { return aura::GradientLimit(); });
    table.add(scenario, "outlier", [](const Group& group, std::uint64_t) { return aura::OutlierEjection(group); });
    table.add(scenario, "adaptive", [](const Group&, std::uint64_t seed) {
      return aura::AdaptivePolicy(
          {.healthy_rate = healthy_error_rate, .slow_rate = 0.3, .healthy_slow_rate = 0.01, .seed = seed});
    });
    table.add(scenario, "adaptive_learned", [](const Group&, std::uint64_t seed) {
      return aura::AdaptivePolicy({.slow_rate = 0.3, .seed = seed});
    });
    if (scenario.clients > 1)  // without what the others say
      table.add(scenario, "adaptive_alone", [](const Group&, std::uint64_t seed) {
        return aura::AdaptivePolicy({.healthy_rate = healthy_error_rate,
                                     .slow_rate = 0.3,
                                     .healthy_slow_rate = 0.01,
                                     .peers_share_max = 0,
                                     .seed = seed});
      });
  }

  HealthyWeek week(suite);
  const auto times = static_cast<double>(week.faster());
  week.add("consecutive", 1, times, [](const Group&, std::uint64_t, double) { return aura::ConsecutiveFailures(); });
  week.add("failure_rate", 1, times, [](const Group&, std::uint64_t, double) { return aura::FailureRate(); });
  week.add("failure_rate_over_time", 1, times,
           [](const Group&, std::uint64_t, double) { return aura::FailureRateOverTime(); });
  week.add("throttle", 1, times, [](const Group&, std::uint64_t, double) { return aura::AdaptiveThrottle(); });
  week.add("outlier", 1, times,
           [](const Group& group, std::uint64_t, double) { return aura::OutlierEjection(group); });
  const Duration between = Duration(24h) / week.faster();
  week.add("adaptive", 3, 1, [=](const Group&, std::uint64_t seed, double rate) {
    return aura::AdaptivePolicy({.healthy_rate = rate, .between_false_openings = between, .seed = seed});
  });
  week.add("adaptive_learned", 3, 1, [=](const Group&, std::uint64_t seed, double) {
    return aura::AdaptivePolicy({.between_false_openings = between, .seed = seed});
  });

  table.print();
  week.print();
  return suite.finish();
}
