// Random sagas whose steps have effects on participants of other services, as their authors are told to write them:
// idempotent by key, and refusing an action that arrives after its compensation.
#pragma once

#include "support/random_saga.hpp"

#include <aura/durable/saga_event.hpp>
#include <aura/durable/saga_record.hpp>
#include <aura/durable/step_context.hpp>

#include <algorithm>
#include <chrono>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

/// All other services together. They live on when a process dies.
struct Participants {
  struct Entry {
    bool acted = false, undone = false;
  };
  std::map<std::string, Entry> entries{};  ///< by idempotency key
  std::vector<std::string> effects{};      ///< "act step3" and "undo step3", each when it first took effect
  std::map<std::string, int> calls{};      ///< "act step3": how often it was called
  std::map<std::string, std::set<std::string>> keys{};  ///< by step
  std::map<std::string, int> failures_left{};           ///< by call

  aura::Result<void> act(const std::string& key, const std::string& step) {
    keys[step].insert(key);
    Entry& entry = entries[key];
    if (entry.undone) return aura::Error{"participant", 1, aura::ErrorClass::permanent, "undone already"};
    if (!std::exchange(entry.acted, true)) effects.push_back("act " + step);
    return {};
  }
  void undo(const std::string& key, const std::string& step) {
    keys[step].insert(key);
    Entry& entry = entries[key];
    if (!std::exchange(entry.undone, true) && entry.acted) effects.push_back("undo " + step);
  }

  std::size_t at(const std::string& effect) const {
    return static_cast<std::size_t>(std::find(effects.begin(), effects.end(), effect) - effects.begin());
  }
  bool acted(const std::string& step) const { return at("act " + step) < effects.size(); }
  bool undone(const std::string& step) const { return at("undo " + step) < effects.size(); }
};

namespace saga_participants {

using aura::Error;
using aura::ErrorClass;
using aura::StepKind;

/// How one call goes: how long it takes, and how it fails while its step has failures left.
struct Plan {
  aura::Duration takes{};
  ErrorClass failure{};
  bool effect_all_the_same = false;
};

inline void carry_out(const std::shared_ptr<aura::StepCall>& call, Participants& services, const Plan& plan) {
  const std::string step(call->step());
  const std::string what = (call->compensating() ? "undo " : "act ") + step;
  const bool fails = services.failures_left[what] > 0;
  if (fails) --services.failures_left[what];
  aura::Result<void> outcome;
  if (!fails || plan.effect_all_the_same) {
    if (call->compensating()) services.undo(call->idempotency_key(), step);
    else outcome = services.act(call->idempotency_key(), step);
  }
  if (fails) outcome = Error{"participant", 2, plan.failure, "trouble"};
  if (outcome) call->finish(aura::StepOutput{.bytes = "done", .effect = {}});
  else call->finish(outcome.error());
}

inline aura::StepAction action(const std::shared_ptr<Participants>& services, Plan plan) {
  return [services, plan](std::shared_ptr<aura::StepCall> call, const aura::StepInputs&) {
    ++services->calls[(call->compensating() ? "undo " : "act ") + std::string(call->step())];
    const bool quick = plan.takes == aura::Duration::zero() || call->attempt() > 2;  // in time, sooner or later
    if (quick) return carry_out(call, *services, plan);
    // Nobody can call it back: it takes effect even if the process that asked is dead by then.
    const aura::AnyRuntime world = call->runtime();
    world.async_wait_for(plan.takes, [services, plan, call = std::move(call)](boost::system::error_code) {
      carry_out(call, *services, plan);
    });
  };
}

/// A random saga over these participants. The same dice give the same saga with the same faults.
inline aura::SagaDefinition make(aura::Random dice, const std::shared_ptr<Participants>& services,
                                 std::size_t steps_max) {
  using namespace std::chrono_literals;
  aura::SagaDefinition saga = random_saga::make(dice, steps_max);
  const auto some_plan = [&](bool may_be_permanent) {
    Plan plan{.takes = std::chrono::milliseconds(dice.below(3) * 10),
              .failure = dice.chance(0.5) ? ErrorClass::transient : ErrorClass::timeout,
              .effect_all_the_same = dice.chance(0.5)};
    if (may_be_permanent && dice.chance(0.3)) plan = {plan.takes, ErrorClass::permanent, false};
    return plan;
  };
  for (auto& step : saga.steps) {
    if (dice.chance(0.3)) services->failures_left["act " + step.name] = static_cast<int>(1 + dice.below(4));
    if (dice.chance(0.3)) services->failures_left["undo " + step.name] = static_cast<int>(1 + dice.below(2));
    step.action = action(services, some_plan(true));
    if (step.undo) step.undo = action(services, some_plan(false));
    step.forward.deadline = {};
    step.forward.retry.base = step.backward.retry.base = 10ms;
    step.forward.retry.cap = step.backward.retry.cap = 50ms;
    step.forward.retry.deadline = step.backward.retry.deadline = std::nullopt;
    if (dice.chance(0.2)) step.forward.timeout = 15ms;
  }
  saga.interruptions_max = 20;
  if (const char* fault = saga.complete()) throw std::logic_error(fault);
  return saga;
}

/// What is wrong with how a run ended; empty where all is as it should be.
inline std::string audit(const aura::SagaDefinition& saga, const Participants& services, const std::string& outcome,
                         const std::vector<aura::Record>& history) {
  const auto name = [&](std::size_t i) { return saga.steps[i].name; };
  const bool completed = outcome == "completed";
  if (!completed && outcome != "compensated" && outcome != "failed") return "the run is " + outcome;
  for (std::size_t i = 0; i < saga.steps.size(); ++i) {
    const StepKind kind = saga.steps[i].kind;
    if (services.keys.contains(name(i)) && services.keys.at(name(i)) != std::set<std::string>{"r/" + name(i)})
      return "the idempotency key of " + name(i) + " is not stable";
    if (completed && (!services.acted(name(i)) || services.undone(name(i))))
      return "completed, but " + name(i) + " has no effect";
    if (!completed && kind == StepKind::compensatable && services.acted(name(i)) != services.undone(name(i)))
      return outcome + ", but " + name(i) + " left its effect";
    if (!completed && (kind == StepKind::pivot || kind == StepKind::retriable) && services.acted(name(i)))
      return outcome + ", but " + name(i) + " cannot be undone and took effect";
    for (std::size_t j = 0; j < saga.steps.size(); ++j) {
      if (!random_saga::comes_before(saga, i, j)) continue;
      if (services.acted(name(j)) && services.at("act " + name(i)) > services.at("act " + name(j)))
        return name(j) + " took effect before " + name(i);
      if (services.undone(name(i)) && services.undone(name(j)) &&
          services.at("undo " + name(i)) < services.at("undo " + name(j)))
        return name(i) + " was undone before " + name(j);
    }
  }
  // Every call was allowed by a fact that was durable before it.
  std::map<std::string, int> allowed;
  bool undoing = false;
  for (const aura::Record& record : history)
    for (const aura::SagaEvent& event : decode_saga_record(record).value()) {
      if (event.type == aura::SagaEventType::compensation_began) undoing = true;
      if (event.type == aura::SagaEventType::attempt_started || event.type == aura::SagaEventType::interrupted)
        ++allowed[(undoing ? "undo " : "act ") + name(event.step)];
    }
  for (const auto& [call, times] : services.calls)
    if (times > allowed[call]) return call + " was called before the record of its start was durable";
  return {};
}

}  // namespace saga_participants
