// A saga as a plain run-time description: what Saga<Steps...> lowers to, and what engine, runner and tools work on.
#pragma once

#include <aura/core/codec.hpp>
#include <aura/core/guard.hpp>
#include <aura/core/random.hpp>
#include <aura/core/retry.hpp>
#include <aura/durable/compensation_policy.hpp>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace aura {

class StepCall;
struct StepInputs;

/// A set of steps of one saga, bit i for step i.
using StepSet = std::uint64_t;
inline constexpr std::size_t saga_steps_max = 64;

constexpr StepSet step_bit(std::size_t step) noexcept { return StepSet{1} << step; }

enum class StepKind : std::uint8_t {
  compensatable,  ///< can be undone; runs before the pivot
  pivot,          ///< the point of no return: once it is done, the saga only goes forward
  retriable,      ///< runs after the pivot and must finish
  pure,           ///< has no effect, so there is nothing to undo
};

constexpr std::string_view to_string(StepKind kind) noexcept {
  switch (kind) {
    case StepKind::compensatable: return "compensatable";
    case StepKind::pivot: return "pivot";
    case StepKind::retriable: return "retriable";
    case StepKind::pure: return "pure";
  }
  return "unknown";
}

/// Starts one attempt: decodes its inputs at once, and finishes the call sooner or later.
using StepAction = std::function<void(std::shared_ptr<StepCall>, const StepInputs&)>;

/// How one direction of a step, forward or undo, is attempted.
struct AttemptRules {
  RetryPolicy retry;
  Duration timeout{};   ///< of one attempt; zero: none
  Duration deadline{};  ///< from the first attempt's start to the last one's end; zero: none
};

struct StepDefinition {
  std::string name;
  StepKind kind = StepKind::compensatable;
  std::vector<std::uint8_t> after;  ///< steps whose results it receives, in the order of its parameters
  StepAction action;
  StepAction undo;                  ///< empty where there is nothing to undo
  AttemptRules forward;
  AttemptRules backward{.retry = RetryPolicy::forever()};
  AnyGuard guard;
  bool result_is_void = false;
};

/// What to do with attempts that are in flight when a saga has to go back.
enum class Settle : std::uint8_t {
  finish,  ///< wait for them: their outcome is known, so less has to be compensated on suspicion
  cancel,  ///< signal their cancellation, then wait for them (at most until their timeout)
};

struct SagaDefinition {
  std::string name;
  std::uint32_t version = 1;
  std::vector<StepDefinition> steps;
  Duration deadline{};                   ///< of a run, from its start until its pivot is done; zero: none
  std::uint32_t parallel_max = 16;       ///< attempts of one run in flight together
  bool compensate_in_parallel = false;
  Settle settle = Settle::finish;
  /// A step that was running this often when its process died is given up: it may be what kills the process.
  std::uint32_t interruptions_max = 20;
  AnyCompensationPolicy policy;
  PayloadRules payload;

  // Derived by `complete()`.
  std::uint64_t fingerprint = 0;
  std::vector<StepSet> ancestors, descendants, predecessors;
  std::vector<std::uint8_t> order;  ///< a topological one
  StepSet all = 0, undoable = 0, retriable = 0;
  int pivot = -1;

  StepSet pivot_bit() const noexcept { return pivot < 0 ? 0 : step_bit(static_cast<std::size_t>(pivot)); }

  int index_of(std::string_view step) const noexcept {
    for (std::size_t i = 0; i < steps.size(); ++i)
      if (steps[i].name == step) return static_cast<int>(i);
    return -1;
  }

  /// Derives what follows from the steps. Null, or what is wrong: more than 64 steps, a cycle, two pivots.
  /// `Saga<Steps...>` has checked all of it at compile time; this serves descriptions made by hand.
  const char* complete();
};

namespace detail {

/// Kahn's algorithm, the smallest index first, so that the order is the same everywhere.
inline bool topological_order(SagaDefinition& saga) {
  StepSet placed = 0;
  saga.order.clear();
  while (saga.order.size() < saga.steps.size()) {
    const std::size_t before = saga.order.size();
    for (std::size_t i = 0; i < saga.steps.size(); ++i) {
      if ((placed & step_bit(i)) || (saga.predecessors[i] & ~placed)) continue;
      placed |= step_bit(i);
      saga.order.push_back(static_cast<std::uint8_t>(i));
      break;
    }
    if (saga.order.size() == before) return false;
  }
  return true;
}

/// What a run's records depend on: steps, kinds, edges. Not retries and timeouts, which may be tuned in between.
inline std::uint64_t fingerprint_of(const SagaDefinition& saga) {
  std::uint64_t hash = fnv1a64(saga.name);
  for (const StepDefinition& step : saga.steps) {
    hash = fnv1a64(step.name, fnv1a64(";", hash));
    hash = fnv1a64(to_string(step.kind), fnv1a64(":", hash));
    if (step.undo) hash = fnv1a64("+undo", hash);
    for (const std::uint8_t before : step.after) hash = fnv1a64(saga.steps[before].name, fnv1a64("<", hash));
  }
  return hash;
}

}  // namespace detail

inline const char* SagaDefinition::complete() {
  if (steps.empty()) return "it has no steps";
  if (steps.size() > saga_steps_max) return "it has more than 64 steps";
  all = steps.size() == saga_steps_max ? ~StepSet{0} : step_bit(steps.size()) - 1;
  undoable = retriable = 0;
  pivot = -1;
  predecessors.assign(steps.size(), 0);
  ancestors.assign(steps.size(), 0);
  descendants.assign(steps.size(), 0);
  for (std::size_t i = 0; i < steps.size(); ++i) {
    for (const std::uint8_t before : steps[i].after) {
      if (before >= steps.size()) return "a step comes after one that it does not have";
      predecessors[i] |= step_bit(before);
    }
    if (steps[i].undo) undoable |= step_bit(i);
    if (steps[i].kind == StepKind::retriable) retriable |= step_bit(i);
    if (steps[i].kind != StepKind::pivot) continue;
    if (pivot >= 0) return "it has two pivots";
    pivot = static_cast<int>(i);
  }
  if (!detail::topological_order(*this)) return "its steps wait for each other in a cycle";
  for (const std::uint8_t step : order)
    for (const std::uint8_t before : steps[step].after) ancestors[step] |= ancestors[before] | step_bit(before);
  for (std::size_t i = 0; i < steps.size(); ++i)
    for (std::size_t j = 0; j < steps.size(); ++j)
      if (ancestors[i] & step_bit(j)) descendants[j] |= step_bit(i);
  fingerprint = detail::fingerprint_of(*this);
  return nullptr;
}

}  // namespace aura
