// The saga engine: pure. A state and an input go in, facts to record and actions to carry out come out.
//
// After the saga of Garcia-Molina and Salem (1987), with the step kinds of Mehrotra et al. (pivot, retriable, 1992).
// The shell commits the facts first, and only then carries out the actions and feeds back how they ended.
#pragma once

#include <aura/core/random.hpp>
#include <aura/core/result.hpp>
#include <aura/durable/saga_definition.hpp>
#include <aura/durable/saga_error.hpp>
#include <aura/durable/saga_event.hpp>
#include <aura/durable/saga_state.hpp>

#include <bit>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace aura {

// What can happen to a run.

struct SagaBegin {
  SagaBirth birth;
  std::string input;
};
/// The attempt of this number ended. A number that is not in flight is an attempt that was given up: ignored.
struct SagaAttemptEnded {
  std::uint8_t step;
  std::uint32_t attempt;
  Result<std::string> result;
};
/// A backoff is over.
struct SagaWoke {
  std::uint8_t step;
};
/// Another process, or this one after a restart, drives the run from here.
struct SagaResumed {};
struct SagaCancel {
  Error reason;
};
/// The run's deadline has passed.
struct SagaExpired {};
enum class OperatorVerb : std::uint8_t { retry, skip, supply };
struct SagaResolve {
  OperatorVerb verb;
  std::uint8_t step;
  std::string bytes;  ///< the reason, or, to supply, the encoded result
};

using SagaInput =
    std::variant<SagaBegin, SagaAttemptEnded, SagaWoke, SagaResumed, SagaCancel, SagaExpired, SagaResolve>;

/// What the shell shall do once the facts are durable. Steps as sets.
struct SagaActions {
  StepSet attempt = 0;       ///< begin an attempt (which way follows from the phase)
  StepSet wait = 0;          ///< send SagaWoke at the step's `wake_at`
  StepSet cancel = 0;        ///< signal cancellation to the attempt in flight
  StepSet dead_letter = 0;   ///< newly stuck: write a dead letter in the same commit
  StepSet close_letter = 0;  ///< stuck no more
  bool ended = false;

  friend bool operator==(const SagaActions&, const SagaActions&) = default;
};

struct SagaDecision {
  SagaEvents events;  ///< none: nothing to record, and no action
  SagaActions actions;
};

/// What a decision may draw on besides the state.
struct SagaWorld {
  std::string_view run;
  WallTime now;
  Random& random;
  bool retry_budget_spent = false;  ///< retries then wait for their policy's cap: put off, never dropped
  bool draining = false;            ///< begin no attempt: whoever resumes the run will
};

/// Everything that should be under way in this state. A shell that resumes a run carries it out.
inline SagaActions outstanding(const SagaState& state) {
  return {.attempt = state.progress.in_flight,
          .wait = state.progress.backing_off,
          .ended = state.progress.phase == SagaPhase::ended};
}

namespace detail {

class SagaDecider {
 public:
  /// The decision is built in place: it is several events long, and this is the hot path.
  SagaDecider(const SagaDefinition& saga, const SagaState& state, const SagaWorld& world, SagaDecision& decision)
      : saga_(saga), state_(state), world_(world), progress_(state.progress), decision_(decision) {}

  Result<void> decide(SagaInput&& input) {
    const bool resumed = std::holds_alternative<SagaResumed>(input);  // a drained run may have steps to begin
    Result<void> accepted = std::visit([this](auto&& what) { return accept(std::move(what)); }, std::move(input));
    if (!accepted) return accepted.error();
    if (!decision_.events.empty() || resumed) advance();
    return {};
  }

  /// What follows from the progress alone, whatever the input was.
  void advance() {
    if (progress_.phase == SagaPhase::settling) settle();
    if (progress_.phase == SagaPhase::forward) go_forward();
    if (progress_.phase == SagaPhase::compensating) go_back();
  }

 private:
  Result<void> accept(SagaBegin&& begin) {
    SagaEvent event{.type = SagaEventType::started, .bytes = std::move(begin.input)};
    event.birth = std::move(begin.birth);
    emit(std::move(event));
    return {};
  }

  Result<void> accept(SagaAttemptEnded&& ended) {
    if (!in_flight(ended.step, ended.attempt)) return {};
    if (!ended.result) {
      fail(ended.step, ended.result.error());
      return {};
    }
    SagaEvent event{.type = SagaEventType::attempt_succeeded, .step = ended.step, .attempt = ended.attempt};
    event.bytes = std::move(*ended.result);
    emit(std::move(event));
    return {};
  }

  Result<void> accept(SagaWoke&& woke) {
    const bool due = progress_.phase != SagaPhase::settling && !world_.draining && woke.step < saga_.steps.size() &&
                     (progress_.backing_off & step_bit(woke.step));
    if (due) start(woke.step);
    return {};
  }

  Result<void> accept(SagaResumed&&) {
    for (StepSet left = progress_.in_flight; left != 0; left &= left - 1) {
      const auto step = static_cast<std::uint8_t>(std::countr_zero(left));
      emit({.type = SagaEventType::interrupted, .step = step, .attempt = state_.steps[step].attempt});
      if (progress_.phase == SagaPhase::settling && step_bit(step) != saga_.pivot_bit())
        fail(step, Error{core_errc::cancelled, ErrorClass::cancelled,
                         "step " + saga_.steps[step].name + " was interrupted while its run went back"});
      else if (state_.steps[step].interruptions + 1 > saga_.interruptions_max)
        fail(step, Error{saga_errc::interrupted_often, ErrorClass::transient,
                         "step " + saga_.steps[step].name + " was running each of " +
                             std::to_string(saga_.interruptions_max) + " times its process died"});
      else
        decision_.actions.attempt |= step_bit(step);
    }
    decision_.actions.wait |= progress_.backing_off;
    return {};
  }

  Result<void> accept(SagaCancel&& cancel) {
    if (progress_.phase == SagaPhase::ended) return ended_error();
    if (progress_.past_pivot(saga_))
      return Error{saga_errc::past_pivot, ErrorClass::permanent,
                   "run " + std::string(world_.run) + " is past its point of no return and only goes forward"};
    if (progress_.phase != SagaPhase::forward) return {};
    SagaEvent event{.type = SagaEventType::cancel_requested};
    event.error = std::move(cancel.reason);
    emit(std::move(event));
    decision_.actions.cancel = progress_.in_flight;
    return {};
  }

  Result<void> accept(SagaExpired&&) {
    if (progress_.phase != SagaPhase::forward || progress_.past_pivot(saga_)) return {};
    SagaEvent event{.type = SagaEventType::expired};
    event.error = Error{saga_errc::run_deadline, ErrorClass::timeout,
                        "run " + std::string(world_.run) + " passed its deadline"};
    emit(std::move(event));
    decision_.actions.cancel = progress_.in_flight;
    return {};
  }

  Result<void> accept(SagaResolve&& resolve) {
    if (progress_.phase == SagaPhase::ended) return ended_error();
    if (resolve.step >= saga_.steps.size() || !(progress_.stuck & step_bit(resolve.step)))
      return Error{saga_errc::not_stuck, ErrorClass::permanent,
                   "run " + std::string(world_.run) + " has no stuck step " +
                       (resolve.step < saga_.steps.size() ? saga_.steps[resolve.step].name : "of that number")};
    const bool undoing = progress_.phase == SagaPhase::compensating;
    SagaEvent event{.type = SagaEventType::retry_asked, .step = resolve.step};
    if (resolve.verb == OperatorVerb::skip) {
      if (!undoing && result_is_used(resolve.step))
        return Error{saga_errc::result_needed, ErrorClass::permanent,
                     "a later step takes the result of " + saga_.steps[resolve.step].name +
                         ": supply one instead of skipping"};
      event.type = SagaEventType::skipped;
    } else if (resolve.verb == OperatorVerb::supply) {
      if (undoing)
        return Error{
            saga_errc::not_stuck, ErrorClass::permanent,
            "a compensation has no result to supply: skip or retry that of " + saga_.steps[resolve.step].name};
      event.type = SagaEventType::supplied;
    }
    event.bytes = std::move(resolve.bytes);
    emit(std::move(event));
    return {};
  }

  void fail(std::uint8_t step, Error error) {
    SagaEvent event{.type = SagaEventType::attempt_failed, .step = step, .attempt = state_.steps[step].attempt};
    judge(step, error, event);
    event.error = std::move(error);
    const bool going_back = event.verdict == FailureVerdict::go_back;
    emit(std::move(event));
    if (going_back && saga_.settle == Settle::cancel) decision_.actions.cancel = progress_.in_flight;
  }

  /// Fills in what becomes of a step whose attempt failed.
  void judge(std::uint8_t step, const Error& error, SagaEvent& event) {
    const StepState& known = state_.steps[step];
    const bool undoing = progress_.phase == SagaPhase::compensating;
    const StepSet bit = step_bit(step);
    const bool doubtful_pivot =
        (bit & saga_.pivot_bit()) != 0 && ((progress_.unknown & bit) || effect_unknown(error.error_class()));
    if (progress_.phase == SagaPhase::settling) {
      event.verdict = doubtful_pivot ? FailureVerdict::stuck : FailureVerdict::settled;
      return;
    }
    const AttemptRules& rules = undoing ? saga_.steps[step].backward : saga_.steps[step].forward;
    if (const auto wait = next_attempt(rules, known, error)) {
      event.verdict = FailureVerdict::retry;
      event.wake_at = saturating_add(world_.now, *wait);
      return;
    }
    event.verdict = FailureVerdict::stuck;
    const bool must_finish = undoing || doubtful_pivot || pivot_waits_in_doubt() || progress_.past_pivot(saga_) ||
                             saga_.steps[step].kind == StepKind::retriable;
    if (must_finish) return;
    const FailureDecision choice = saga_.policy.choose({.saga = saga_.name,
                                                        .run = world_.run,
                                                        .step = saga_.steps[step].name,
                                                        .error = error,
                                                        .attempts = known.attempt,
                                                        .interruptions = known.interruptions,
                                                        .age = world_.now - state_.started_at,
                                                        .steps_done = progress_.done});
    if (choice.choice == FailureChoice::compensate) event.verdict = FailureVerdict::go_back;
    if (choice.choice != FailureChoice::retry) return;
    event.verdict = FailureVerdict::retry;
    event.wake_at = saturating_add(world_.now, std::max(choice.delay, Duration::zero()));
  }

  std::optional<Duration> next_attempt(const AttemptRules& rules, const StepState& known, const Error& error) const {
    const Duration elapsed = world_.now - known.first_at;
    const Duration left = rules.deadline > Duration::zero() ? rules.deadline - elapsed : Duration::max();
    const std::optional<Duration> wait = rules.retry.next(known.attempts_spent, error, elapsed, world_.random);
    if (!wait || *wait >= left) return std::nullopt;
    if (!world_.retry_budget_spent || rules.retry.cap <= *wait) return wait;
    return std::min(rules.retry.cap, std::max(*wait, left - left / 8));  // put off, and still with time to act
  }

  /// Then nothing can go back until the pivot's next attempt, or an operator, says whether it happened.
  bool pivot_waits_in_doubt() const noexcept {
    return (saga_.pivot_bit() & progress_.unknown & ~progress_.in_flight) != 0;
  }

  void settle() {
    if (progress_.in_flight != 0) return;
    const bool pivot_stands = ((progress_.done | progress_.unknown) & saga_.pivot_bit()) != 0;
    emit({.type = pivot_stands ? SagaEventType::went_forward : SagaEventType::compensation_began});
  }

  void go_forward() {
    if ((progress_.done & saga_.all) == saga_.all)
      return emit({.type = SagaEventType::ended, .outcome = RunOutcome::completed});
    if (world_.draining) return;
    StepSet ready = saga_.all & ~(progress_.done | progress_.unresolved());
    if (!progress_.past_pivot(saga_)) ready &= ~saga_.retriable;
    for (; ready != 0; ready &= ready - 1) {
      const auto step = static_cast<std::uint8_t>(std::countr_zero(ready));
      if ((saga_.predecessors[step] & ~progress_.done) != 0) continue;
      if (!has_room()) return;
      start(step);
    }
  }

  void go_back() {
    const StepSet pending = progress_.to_undo(saga_);
    if (pending == 0)
      return emit(
          {.type = SagaEventType::ended, .outcome = progress_.undone ? RunOutcome::compensated : RunOutcome::failed});
    for (auto step = saga_.order.rbegin(); step != saga_.order.rend(); ++step) {
      if (!has_room() || world_.draining) return;
      if (!saga_.compensate_in_parallel && (progress_.in_flight | progress_.backing_off) != 0) return;
      const bool ready = (pending & step_bit(*step)) && !(progress_.unresolved() & step_bit(*step)) &&
                         (saga_.descendants[*step] & pending) == 0;
      if (ready) start(*step);
    }
  }

  void start(std::uint8_t step) {
    const bool counts_anew =
        progress_.phase == SagaPhase::compensating && state_.progress.phase != SagaPhase::compensating;
    const std::uint32_t before = counts_anew || state_.steps.empty() ? 0 : state_.steps[step].attempt;
    emit({.type = SagaEventType::attempt_started, .step = step, .attempt = before + 1});
  }

  void emit(SagaEvent&& event) {
    const StepSet stuck_before = progress_.stuck;
    progress_.apply(event, saga_);
    SagaActions& actions = decision_.actions;
    actions.dead_letter |= progress_.stuck & ~stuck_before;
    actions.close_letter |= stuck_before & ~progress_.stuck;
    if (event.type == SagaEventType::attempt_started) actions.attempt |= step_bit(event.step);
    if (event.type == SagaEventType::attempt_failed && event.verdict == FailureVerdict::retry)
      actions.wait |= step_bit(event.step);
    if (event.type == SagaEventType::went_forward) actions.wait |= progress_.backing_off;
    if (event.type == SagaEventType::ended) actions.ended = true;
    decision_.events.push_back(std::move(event));
  }

  /// A step that backs off keeps its place, so that the bound holds when it wakes.
  bool has_room() const noexcept {
    const StepSet active = progress_.in_flight | progress_.backing_off;
    return active == 0 || static_cast<std::uint32_t>(std::popcount(active)) < saga_.parallel_max;
  }

  bool in_flight(std::uint8_t step, std::uint32_t attempt) const {
    return step < state_.steps.size() && (progress_.in_flight & step_bit(step)) &&
           state_.steps[step].attempt == attempt;
  }

  bool result_is_used(std::uint8_t step) const {
    if (saga_.steps[step].result_is_void) return false;
    for (const StepDefinition& other : saga_.steps)
      for (const std::uint8_t before : other.after)
        if (before == step) return true;
    return false;
  }

  Error ended_error() const {
    return Error{saga_errc::ended, ErrorClass::permanent,
                 "run " + std::string(world_.run) + " has ended: " + std::string(to_string(progress_.outcome))};
  }

  const SagaDefinition& saga_;
  const SagaState& state_;
  const SagaWorld& world_;
  SagaProgress progress_;
  SagaDecision& decision_;
};

}  // namespace detail

/// Decides what becomes of a run. Errors are the caller's (a cancel that comes too late); they change nothing.
/// Cost: no allocation besides the events' own text; O(steps) where a step ends.
inline Result<SagaDecision> decide(const SagaDefinition& saga, const SagaState& state, SagaInput input,
                                   const SagaWorld& world) {
  SagaDecision decision;
  Result<void> accepted = detail::SagaDecider(saga, state, world, decision).decide(std::move(input));
  if (!accepted) return accepted.error();
  return decision;
}

}  // namespace aura
