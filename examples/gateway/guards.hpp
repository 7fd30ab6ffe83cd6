// What stands before the workers and the ledger: circuit breakers.
#pragma once

#include "worker_shape.hpp"

#include <aura/core/runtime.hpp>
#include <aura/operational/breaker/adaptive_policy.hpp>
#include <aura/operational/breaker_group.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace gateway {

/// What breakers tell, counted. Shared between threads.
struct GuardCounts {
  std::atomic<std::uint64_t> rejected{0}, openings{0};
};
struct GuardObserver {
  GuardCounts* counts;
  void operator()(const aura::BreakerChanged& change) const {
    if (change.to == aura::BreakerState::open) ++counts->openings;
  }
  void operator()(const aura::BreakerRejected&) const { ++counts->rejected; }
};

/// One breaker for each worker, one for quota, one for billing.
class Guards {
 public:
  using Breaker = aura::CircuitBreaker<aura::AdaptivePolicy, GuardObserver>;
  using Group = aura::BreakerGroup<aura::AdaptivePolicy, GuardObserver>;

  /// `speed`: so many seconds of the trace pass in one of the runtime.
  Guards(aura::AnyRuntime world, double speed)
      : workers(
            world, {.keys_max = 64}, [](std::string_view) { return policy(); }, options("worker", speed),
            GuardObserver{&worker_counts}),
        quota(world, policy(), options("quota", speed), GuardObserver{&quota_counts}),
        billing(world, policy(), options("billing", speed), GuardObserver{&billing_counts}),
        probe_retry_after_(options("", speed).recovery->probe_retry_after) {}

  static std::string key(std::uint32_t worker) { return fmt::format("{}", worker); }

  /// How long the worker is not to be asked; zero where it may be.
  aura::Duration closed_for(std::uint32_t worker, aura::SteadyTime now) {
    const aura::BreakerSnapshot shot = workers.find(key(worker), now)->snapshot();
    if (shot.state == aura::BreakerState::half_open && shot.probes_in_flight >= probes_max) return probe_retry_after_;
    if (shot.state != aura::BreakerState::open || shot.open_until <= now) return {};
    return shot.open_until - now;
  }

  /// As a guard of the step that asks a worker: while every one's breaker is open, a run waits here.
  struct Reachable {
    struct Permit {
      void record(const aura::AttemptOutcome&) {}
    };
    Guards* guards;
    aura::Result<Permit> try_acquire(aura::SteadyTime now) const {
      aura::Duration soonest = aura::Duration::max();
      for (std::uint32_t worker = 0; worker < WorkerShape::workers; ++worker)
        soonest = std::min(soonest, guards->closed_for(worker, now));
      if (soonest == aura::Duration::zero()) return Permit{};
      return aura::Error::fixed("gateway", 4, aura::ErrorClass::rejected, "every worker's circuit breaker is open")
          .with_retry_after(soonest);
    }
  };

  GuardCounts worker_counts, quota_counts, billing_counts;
  Group workers;
  Breaker quota, billing;
  Reachable reachable{this};

 private:
  static constexpr std::uint32_t probes_max = 2;

  /// A twentieth of failures is normal, three tenths are not; falsely open once a day, at a call a second.
  static aura::AdaptivePolicy policy() {
    return aura::AdaptivePolicy({.failing_rate = 0.3, .healthy_rate = 0.05, .calls_per_second = 1});
  }
  static aura::BreakerOptions options(std::string name, double speed) {
    const auto span = [speed](std::chrono::duration<double> of_trace) {
      return std::chrono::duration_cast<aura::Duration>(of_trace / speed);
    };
    aura::RecoveryOptions recovery = aura::RecoveryOptions::single(probes_max);
    recovery.open_for = span(std::chrono::seconds(10));
    recovery.open_max = span(std::chrono::minutes(2));
    recovery.settled_after = span(std::chrono::minutes(5));
    recovery.probe_timeout = span(std::chrono::minutes(2));
    recovery.probe_retry_after = span(std::chrono::seconds(1));
    return {.name = std::move(name), .recovery = recovery};
  }

  aura::Duration probe_retry_after_;
};

}  // namespace gateway
