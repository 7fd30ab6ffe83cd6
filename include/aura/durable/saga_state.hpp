// What is known of a run: the sum of its records.
#pragma once

#include <aura/durable/saga_definition.hpp>
#include <aura/durable/saga_event.hpp>

#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace aura {

enum class SagaPhase : std::uint8_t {
  unborn,
  forward,       ///< attempts act
  settling,      ///< it will go back; waits for the attempts in flight
  compensating,  ///< attempts undo
  ended,
};

/// Which steps are where: all that a decision depends on besides results and times. Trivially copyable, so that a
/// decision can look ahead on a copy. Whether `in_flight`, `backing_off` and `stuck` speak of acting or of undoing
/// follows from the phase: nothing is undone before every action has settled.
struct SagaProgress {
  SagaPhase phase = SagaPhase::unborn;
  RunOutcome outcome{};
  StepSet done = 0;         ///< acted, or resolved by an operator
  StepSet skipped = 0;      ///< resolved without an effect
  StepSet unknown = 0;      ///< an attempt may have taken effect without our knowing
  StepSet in_flight = 0;
  StepSet backing_off = 0;
  StepSet stuck = 0;
  StepSet undone = 0;

  StepSet unresolved() const noexcept { return in_flight | backing_off | stuck; }

  /// Steps that have, or may have, an effect which is not undone yet.
  StepSet to_undo(const SagaDefinition& saga) const noexcept {
    return saga.undoable & ((done & ~skipped) | unknown) & ~undone;
  }

  bool past_pivot(const SagaDefinition& saga) const noexcept {
    return saga.pivot >= 0 ? (done & saga.pivot_bit()) != 0 : saga.retriable != 0;
  }

  /// The word that the index holds for it.
  std::string_view word() const noexcept {
    switch (phase) {
      case SagaPhase::ended: return to_string(outcome);
      case SagaPhase::unborn:
      case SagaPhase::forward: return stuck ? "stuck" : "running";
      case SagaPhase::settling:
      case SagaPhase::compensating: return stuck ? "stuck" : "compensating";
    }
    return "unknown";
  }

  void apply(const SagaEvent& event, const SagaDefinition& saga) noexcept;
};

/// What is known of one step besides its place.
struct StepState {
  std::string result;                ///< encoded
  WallTime first_at{};               ///< the first attempt's start in this direction, or since an operator's retry
  WallTime wake_at{};                ///< when backing off
  std::uint32_t attempt = 0;         ///< the last one's number, in this direction
  std::uint32_t attempts_spent = 0;  ///< since the allowance of retries was last renewed
  std::uint32_t stuck_count = 0;
  std::uint32_t interruptions = 0;
  std::unique_ptr<const Error> error;  ///< the last attempt's
  WallTime failed_first{};             ///< of this direction, for dead letters
};

struct SagaState {
  SagaProgress progress;
  std::vector<StepState> steps;
  std::string input;
  WallTime started_at{};
  WallTime deadline = WallTime::max();
  std::unique_ptr<const Error> failure;  ///< why it went back

  bool ended() const noexcept { return progress.phase == SagaPhase::ended; }
};

inline void SagaProgress::apply(const SagaEvent& event, const SagaDefinition& saga) noexcept {
  const StepSet bit = step_bit(event.step);
  switch (event.type) {
    case SagaEventType::started: phase = SagaPhase::forward; break;
    case SagaEventType::attempt_started:
      in_flight |= bit;
      backing_off &= ~bit;
      break;
    case SagaEventType::attempt_succeeded:
      in_flight &= ~bit;
      (phase == SagaPhase::compensating ? undone : done) |= bit;
      break;
    case SagaEventType::attempt_failed:
      in_flight &= ~bit;
      if (phase != SagaPhase::compensating && event.error && effect_unknown(event.error->error_class()))
        unknown |= bit;
      if (event.verdict == FailureVerdict::retry) backing_off |= bit;
      if (event.verdict == FailureVerdict::stuck) stuck |= bit;
      if (event.verdict == FailureVerdict::go_back) phase = SagaPhase::settling;
      break;
    case SagaEventType::interrupted:
      if (phase != SagaPhase::compensating) unknown |= bit;
      break;
    case SagaEventType::cancel_requested:  // cancelling over a stuck pivot states that the pivot did not happen
      unknown &= ~(saga.pivot_bit() & stuck);
      [[fallthrough]];
    case SagaEventType::expired: phase = SagaPhase::settling; break;
    case SagaEventType::compensation_began:
      phase = SagaPhase::compensating;
      backing_off = stuck = 0;
      break;
    case SagaEventType::went_forward: phase = SagaPhase::forward; break;
    case SagaEventType::retry_asked: stuck &= ~bit; break;
    case SagaEventType::skipped:
      stuck &= ~bit;
      skipped |= phase == SagaPhase::compensating ? 0 : bit;
      (phase == SagaPhase::compensating ? undone : done) |= bit;
      break;
    case SagaEventType::supplied:
      stuck &= ~bit;
      (phase == SagaPhase::compensating ? undone : done) |= bit;
      break;
    case SagaEventType::ended:
      phase = SagaPhase::ended;
      outcome = event.outcome;
      break;
  }
}

/// Adds one fact to a state. Takes the event's bytes. `at` is its record's time. The event must fit the definition:
/// `decode_saga_events` and `check_saga_event` make sure of that for events from outside.
inline void evolve(SagaState& state, SagaEvent&& event, WallTime at, const SagaDefinition& saga) {
  const SagaPhase before = state.progress.phase;
  state.progress.apply(event, saga);
  if (event.type == SagaEventType::started) {
    state.steps.resize(saga.steps.size());
    state.input = std::move(event.bytes);
    state.started_at = at;
    if (event.birth && event.birth->deadline) state.deadline = *event.birth->deadline;
    return;
  }
  if (event.step >= state.steps.size()) return;
  StepState& step = state.steps[event.step];
  switch (event.type) {
    case SagaEventType::attempt_started:
      if (step.attempts_spent++ == 0) step.first_at = at;
      step.attempt = event.attempt;
      break;
    case SagaEventType::attempt_succeeded:
    case SagaEventType::supplied:
      if (before != SagaPhase::compensating) step.result = std::move(event.bytes);
      step.error.reset();
      break;
    case SagaEventType::attempt_failed:
      if (!step.error) step.failed_first = at;
      if (event.verdict == FailureVerdict::retry) step.wake_at = event.wake_at;
      if (event.verdict == FailureVerdict::stuck) ++step.stuck_count;
      if (event.verdict == FailureVerdict::go_back && event.error)
        state.failure = std::make_unique<const Error>(*event.error);
      if (event.error) step.error = std::make_unique<const Error>(std::move(*event.error));
      break;
    case SagaEventType::interrupted: ++step.interruptions; break;
    case SagaEventType::retry_asked:
      step.attempts_spent = 0;
      step.interruptions = 0;
      break;
    case SagaEventType::cancel_requested:
    case SagaEventType::expired:
      state.failure = std::make_unique<const Error>(event.error ? std::move(*event.error) : Error{});
      break;
    case SagaEventType::went_forward: state.failure.reset(); break;
    case SagaEventType::compensation_began:  // undoing counts anew
      for (StepState& each : state.steps) {
        each.attempt = each.attempts_spent = each.interruptions = 0;
        each.error.reset();
      }
      break;
    default: break;
  }
}

}  // namespace aura
