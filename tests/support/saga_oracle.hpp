// What a saga promises, judged from its history alone: a slow reading of the facts, one rule after another, that shares
// nothing with the engine but the words of its events.
#pragma once

#include "support/random_saga.hpp"

#include <aura/durable/saga_engine.hpp>
#include <aura/durable/saga_event.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

/// Reads facts one at a time. `fault()` is the first promise that was broken, empty where none was.
class SagaOracle {
 public:
  using Type = aura::SagaEventType;
  using Kind = aura::StepKind;

  explicit SagaOracle(const aura::SagaDefinition& saga) : saga_(saga), steps_(saga.steps.size()) {}

  const std::string& fault() const { return fault_; }
  bool ended() const { return ended_; }
  bool settling() const { return going_back_ && !compensating_ && !ended_; }
  std::set<std::size_t> running() const { return where(&Step::running); }
  std::set<std::size_t> waiting() const { return where(&Step::waiting); }
  std::set<std::size_t> stuck() const { return where(&Step::stuck); }

  void read(const aura::SagaEvent& event) {
    if (ended_) broken("a fact after the end", event.step);
    switch (event.type) {
      case Type::started: if (begun_) broken("a second start", 0); begun_ = true; break;
      case Type::attempt_started: compensating_ ? undo_started(event) : act_started(event); break;
      case Type::attempt_succeeded: succeeded(event); break;
      case Type::attempt_failed: failed(event); break;
      case Type::interrupted: interrupted(event); break;
      case Type::cancel_requested:
      case Type::expired: turned_back(event.type); break;
      case Type::compensation_began: compensation_began(); break;
      case Type::went_forward: went_forward(); break;
      case Type::retry_asked: resolve(event.step); break;
      case Type::skipped:
      case Type::supplied: resolved(event); break;
      case Type::ended: end(event.outcome); break;
    }
  }

 private:
  struct Step {
    bool running = false, waiting = false, stuck = false;
    bool acted = false;     ///< an attempt succeeded, or an operator supplied a result
    bool skipped = false;   ///< an operator said that it counts as done, without effect
    bool may_have = false;  ///< an attempt ended without anybody knowing what it did
    bool undone = false;
    std::uint32_t attempt = 0;
  };

  bool done(std::size_t i) const { return steps_[i].acted || steps_[i].skipped; }
  bool has_undo(std::size_t i) const { return static_cast<bool>(saga_.steps[i].undo); }
  bool to_be_undone(std::size_t i) const {
    return has_undo(i) && (steps_[i].acted || steps_[i].may_have) && !steps_[i].undone;
  }
  std::optional<std::size_t> pivot() const {
    for (std::size_t i = 0; i < steps_.size(); ++i)
      if (saga_.steps[i].kind == Kind::pivot) return i;
    return std::nullopt;
  }
  /// Nothing can be taken back any more: the pivot is done, or there is none and some step must finish.
  bool only_forward() const {
    if (pivot()) return done(*pivot());
    return std::any_of(saga_.steps.begin(), saga_.steps.end(),
                       [](const auto& step) { return step.kind == Kind::retriable; });
  }
  std::set<std::size_t> where(bool Step::*flag) const {
    std::set<std::size_t> found;
    for (std::size_t i = 0; i < steps_.size(); ++i)
      if (steps_[i].*flag) found.insert(i);
    return found;
  }

  void begin(const aura::SagaEvent& event) {
    Step& step = steps_[event.step];
    if (step.running) broken("two attempts of one step in flight", event.step);
    if (step.stuck) broken("an attempt of a stuck step that nobody resolved", event.step);
    if (event.attempt != step.attempt + 1) broken("an attempt's number does not follow the last one's", event.step);
    step.attempt = event.attempt;
    step.running = true;
    step.waiting = false;
    if (running().size() > saga_.parallel_max) broken("more attempts in flight than the bound", event.step);
  }

  void act_started(const aura::SagaEvent& event) {
    if (going_back_) broken("an action begins although the run goes back", event.step);
    if (done(event.step)) broken("an action of a step that is done", event.step);
    for (const std::uint8_t before : saga_.steps[event.step].after)
      if (!done(before)) broken("an action begins before a step that it comes after is done", event.step);
    if (saga_.steps[event.step].kind == Kind::retriable && pivot() && !done(*pivot()))
      broken("a retriable step begins before the pivot is done", event.step);
    begin(event);
  }

  void undo_started(const aura::SagaEvent& event) {
    if (!has_undo(event.step)) broken("a compensation of a step that has none", event.step);
    if (!to_be_undone(event.step)) broken("a compensation of a step without effect, or undone already", event.step);
    for (std::size_t other = 0; other < steps_.size(); ++other) {
      if (other == event.step) continue;
      if (to_be_undone(other) && random_saga::comes_before(saga_, event.step, other))
        broken("a step is undone before one that came after it", event.step);
      if (!saga_.compensate_in_parallel && (steps_[other].running || steps_[other].waiting))
        broken("two compensations at once, although one after another was asked", event.step);
    }
    begin(event);
  }

  void stop(const aura::SagaEvent& event) {
    Step& step = steps_[event.step];
    if (!step.running || step.attempt != event.attempt) broken("an attempt ends that is not in flight", event.step);
    step.running = false;
  }

  void succeeded(const aura::SagaEvent& event) {
    stop(event);
    (compensating_ ? steps_[event.step].undone : steps_[event.step].acted) = true;
  }

  void failed(const aura::SagaEvent& event) {
    using Verdict = aura::FailureVerdict;
    const bool could_go_back = !compensating_ && !only_forward();
    stop(event);
    Step& step = steps_[event.step];
    const auto failure = event.error->error_class();
    if (!compensating_ && failure != aura::ErrorClass::permanent && failure != aura::ErrorClass::rejected)
      step.may_have = true;
    if (event.verdict == Verdict::retry) step.waiting = true;
    if (event.verdict == Verdict::stuck) step.stuck = true;
    if (event.verdict == Verdict::go_back) {
      if (!could_go_back) broken("the run goes back from where it only goes forward", event.step);
      if (saga_.steps[event.step].kind == Kind::pivot && step.may_have)
        broken("the run goes back over a pivot that may have happened", event.step);
      going_back_ = true;
    }
    if (event.verdict == Verdict::settled && !going_back_) broken("settled, but the run was not going back", event.step);
  }

  void interrupted(const aura::SagaEvent& event) {
    Step& step = steps_[event.step];
    if (!step.running || step.attempt != event.attempt) broken("interrupted, but not in flight", event.step);
    if (!compensating_) step.may_have = true;
  }

  void turned_back(Type why) {
    if (going_back_) broken("told to go back twice", 0);
    if (only_forward()) broken("told to go back past the point of no return", 0);
    if (why == Type::cancel_requested && pivot() && steps_[*pivot()].stuck) steps_[*pivot()].may_have = false;
    going_back_ = true;
  }

  void compensation_began() {
    if (!going_back_ || compensating_) broken("compensation begins although nobody asked to go back", 0);
    if (!running().empty()) broken("compensation begins before every attempt has settled", 0);
    if (only_forward()) broken("compensation past the point of no return", 0);
    if (pivot() && steps_[*pivot()].may_have) broken("compensation although the pivot may have happened", *pivot());
    compensating_ = true;
    for (Step& step : steps_) {
      step.waiting = step.stuck = false;
      step.attempt = 0;
    }
  }

  void went_forward() {
    if (!going_back_ || compensating_) broken("goes forward again although it did not go back", 0);
    if (!running().empty()) broken("goes forward before every attempt has settled", 0);
    if (!pivot() || !(done(*pivot()) || steps_[*pivot()].may_have)) broken("goes forward without a pivot", 0);
    going_back_ = false;
  }

  void resolve(std::uint8_t index) {
    if (!steps_[index].stuck) broken("an operator resolves what is not stuck", index);
    steps_[index].stuck = false;
  }

  void resolved(const aura::SagaEvent& event) {
    resolve(event.step);
    Step& step = steps_[event.step];
    if (compensating_) step.undone = true;
    else (event.type == Type::skipped ? step.skipped : step.acted) = true;
    if (event.type != Type::skipped || compensating_) return;
    for (std::size_t i = 0; i < steps_.size(); ++i)
      for (const std::uint8_t before : saga_.steps[i].after)
        if (before == event.step && !saga_.steps[event.step].result_is_void)
          broken("skipped, although a later step takes its result", event.step);
  }

  void end(aura::RunOutcome outcome) {
    if (!running().empty()) broken("ends with attempts in flight", 0);
    if (!stuck().empty()) broken("ends with a stuck step", 0);
    bool all_done = true, any_undone = false;
    for (std::size_t i = 0; i < steps_.size(); ++i) {
      all_done = all_done && done(i);
      any_undone = any_undone || steps_[i].undone;
    }
    const bool completed = outcome == aura::RunOutcome::completed;
    if (completed && (!all_done || going_back_)) broken("completed, but not every step is done", 0);
    if (!completed && !compensating_) broken("ends undone without having gone back", 0);
    for (std::size_t i = 0; i < steps_.size() && !completed; ++i)
      if (to_be_undone(i)) broken("ends, but a step that may have taken effect was not undone", i);
    if (!completed && any_undone != (outcome == aura::RunOutcome::compensated))
      broken("compensated and failed are mistaken for each other", 0);
    ended_ = true;
  }

  void broken(std::string_view promise, std::size_t step) {
    if (fault_.empty()) fault_ = std::string(promise) + " (step " + std::to_string(step) + ")";
  }

  const aura::SagaDefinition& saga_;
  std::vector<Step> steps_;
  bool begun_ = false, going_back_ = false, compensating_ = false, ended_ = false;
  std::string fault_;
};
