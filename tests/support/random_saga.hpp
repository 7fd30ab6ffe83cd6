// Random saga definitions that keep the rules of step kinds, and nothing else.
#pragma once

#include <aura/core/random.hpp>
#include <aura/durable/saga_definition.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <numeric>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace random_saga {

using aura::Random;
using aura::SagaDefinition;
using aura::StepKind;

/// Which steps come before a step, directly or not: by walking the edges, so that tests need not ask the definition.
inline bool comes_before(const SagaDefinition& saga, std::size_t earlier, std::size_t later) {
  for (const std::uint8_t before : saga.steps[later].after)
    if (before == earlier || comes_before(saga, earlier, before)) return true;
  return false;
}

inline aura::RetryPolicy some_retries(Random& dice, bool for_ever_allowed) {
  aura::RetryPolicy policy;
  policy.attempts_max = static_cast<std::uint32_t>(1 + dice.below(3));
  if (for_ever_allowed && dice.chance(0.3)) policy.attempts_max = 0;
  policy.base = std::chrono::milliseconds(dice.below(200));
  policy.cap = std::chrono::milliseconds(50 + dice.below(2000));
  policy.factor = 1 + 2 * dice.uniform();
  policy.retry_timeouts = dice.chance(0.8);
  policy.retry_permanent = dice.chance(0.2);
  if (dice.chance(0.2)) policy.deadline = std::chrono::seconds(1 + static_cast<int>(dice.below(5)));
  return policy;
}

/// A graph of 1 to `steps_max` steps, then kinds that fit it: with a pivot, what comes before it is compensatable or
/// pure, and the rest retriable or pure; without one, all is compensatable or pure, or all retriable or pure.
inline SagaDefinition make(Random& dice, std::size_t steps_max = 10) {
  SagaDefinition saga;
  saga.name = "random";
  const std::size_t count = 1 + dice.below(steps_max);
  std::vector<std::size_t> place(count);  // so that the order of the indexes is not the order of the graph
  std::iota(place.begin(), place.end(), std::size_t{0});
  for (std::size_t i = count; i > 1; --i) std::swap(place[i - 1], place[dice.below(i)]);
  saga.steps.resize(count);
  const double density = 0.1 + 0.5 * dice.uniform();
  for (std::size_t i = 0; i < count; ++i) {
    saga.steps[place[i]].name = "step" + std::to_string(place[i]);
    for (std::size_t j = 0; j < i; ++j)
      if (dice.chance(density)) saga.steps[place[i]].after.push_back(static_cast<std::uint8_t>(place[j]));
  }
  const std::uint64_t shape = dice.below(4);  // 0, 1: with a pivot; 2: compensatable; 3: retriable
  const std::size_t pivot = shape < 2 ? dice.below(count) : count;
  for (std::size_t i = 0; i < count; ++i) {
    auto& step = saga.steps[i];
    const bool before_pivot = pivot < count && i != pivot && comes_before(saga, i, pivot);
    step.kind = i == pivot                                      ? StepKind::pivot
                : dice.chance(0.2)                              ? StepKind::pure
                : shape == 2 || before_pivot                    ? StepKind::compensatable
                                                                : StepKind::retriable;
    if (step.kind == StepKind::compensatable)
      step.undo = [](std::shared_ptr<aura::StepCall>, const aura::StepInputs&) {};
    step.forward.retry = some_retries(dice, true);
    step.backward.retry = some_retries(dice, true);
    if (dice.chance(0.2)) step.forward.deadline = std::chrono::seconds(1 + static_cast<int>(dice.below(5)));
    step.result_is_void = dice.chance(0.3);
  }
  saga.parallel_max = static_cast<std::uint32_t>(1 + dice.below(4));
  saga.compensate_in_parallel = dice.chance(0.5);
  saga.settle = dice.chance(0.5) ? aura::Settle::finish : aura::Settle::cancel;
  saga.interruptions_max = static_cast<std::uint32_t>(1 + dice.below(3));
  if (const char* fault = saga.complete()) throw std::logic_error(fault);
  return saga;
}

/// "step0 compensatable < step2; …", for failure messages.
inline std::string describe(const SagaDefinition& saga) {
  std::string text;
  for (const auto& step : saga.steps) {
    text += step.name + " " + std::string(to_string(step.kind));
    for (const std::uint8_t before : step.after) text += " <" + std::to_string(before);
    text += "; ";
  }
  text += "parallel " + std::to_string(saga.parallel_max) + (saga.compensate_in_parallel ? ", undo in parallel" : "") +
          (saga.settle == aura::Settle::cancel ? ", settle by cancelling" : "");
  return text;
}

}  // namespace random_saga
