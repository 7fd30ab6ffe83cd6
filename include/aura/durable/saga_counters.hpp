// What a runner counts, for each saga and step.
#pragma once

#include <aura/durable/saga_definition.hpp>
#include <aura/stats/latency_histogram.hpp>

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace aura {

/// A moment's view of one step's counters.
struct StepCounts {
  std::string step;
  std::uint64_t attempts = 0, successes = 0, failures = 0, compensations = 0, stuck = 0, guard_rejections = 0;
  Duration latency_p50{}, latency_p95{}, latency_p99{};  ///< of attempts that succeeded; within 6.25%
};

/// A moment's view of one saga's counters, all its versions together.
struct SagaCounts {
  std::string saga;
  std::uint64_t started = 0, completed = 0, compensated = 0, failed = 0;
  std::vector<StepCounts> steps;
};

namespace detail {

/// May be shared between threads: relaxed atomics, a few nanoseconds each.
struct StepCounters {
  std::atomic<std::uint64_t> attempts{0}, successes{0}, failures{0}, compensations{0}, stuck{0}, guard_rejections{0};
  LatencyHistogram latency;
};

struct SagaCounters {
  explicit SagaCounters(const SagaDefinition& saga) : steps(saga.steps.size()) {}

  std::atomic<std::uint64_t> started{0}, completed{0}, compensated{0}, failed{0};
  std::vector<StepCounters> steps;

  SagaCounts read(const SagaDefinition& saga) const {
    SagaCounts counts{saga.name, started, completed, compensated, failed, {}};
    for (std::size_t i = 0; i < steps.size(); ++i) {
      const StepCounters& step = steps[i];
      counts.steps.push_back({saga.steps[i].name, step.attempts, step.successes, step.failures, step.compensations,
                              step.stuck, step.guard_rejections, step.latency.quantile(0.5),
                              step.latency.quantile(0.95), step.latency.quantile(0.99)});
    }
    return counts;
  }
};

inline void count(std::atomic<std::uint64_t>& counter) noexcept { counter.fetch_add(1, std::memory_order_relaxed); }

}  // namespace detail
}  // namespace aura
