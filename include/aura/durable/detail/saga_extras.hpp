// What joins a run's record in its commit: dead letters, and the commands of operators.
#pragma once

#include <aura/durable/dead_letter.hpp>
#include <aura/durable/detail/saga_run.hpp>
#include <aura/durable/saga_command.hpp>

#include <bit>
#include <cstdint>
#include <string>
#include <utility>

namespace aura::detail {

template <class RunType>
DeadLetter letter_for(const RunType& run, const PendingCommit& pending, std::uint8_t index, std::string queue) {
  const StepDefinition& step = run.saga->steps[index];
  const StepState& known = run.state.steps[index];
  const bool undoing = run.state.progress.phase == SagaPhase::compensating;
  DeadLetter letter{.queue = std::move(queue), .source = "saga"};
  letter.id = run.id.str() + "/" + step.name + "/" + std::to_string(known.stuck_count + 1);
  letter.what = run.saga->name + " v" + std::to_string(run.saga->version) + " " + run.id.str() + ": " +
                (undoing ? "compensation of " : "step ") + step.name;
  letter.redrive = run.id.str() + " " + step.name;
  letter.payload = run.state.input;
  for (const SagaEvent& event : pending.decision.events)
    if (event.type == SagaEventType::attempt_failed && event.step == index) letter.error = *event.error;
  letter.attempts = known.attempt;
  letter.redrives = known.stuck_count;
  letter.first_failure = known.error ? known.failed_first : pending.at;
  letter.last_failure = pending.at;
  return letter;
}

/// Adds what a decision says besides the run's own record: letters of steps that are newly stuck, the closing of those
/// that are stuck no more, and of the command that it carries out.
template <class RunType>
void add_extras(const RunType& run, PendingCommit& pending, const DeadLetterLimits& limits) {
  for (StepSet left = pending.decision.actions.dead_letter; left != 0; left &= left - 1)
    pending.extras.push_back(write_dead_letter(
        letter_for(run, pending, static_cast<std::uint8_t>(std::countr_zero(left)), limits.queue), limits));
  for (StepSet left = pending.decision.actions.close_letter; left != 0; left &= left - 1) {
    const auto step = static_cast<std::size_t>(std::countr_zero(left));
    const SagaEvent& first = pending.decision.events.front();
    pending.extras.push_back(close_dead_letter(
        letter_id(run.id, run.saga->steps[step], run.state.steps[step]), 1,
        first.type == SagaEventType::retry_asked ? "redriven" : "resolved",
        std::string(to_string(first.type)) + ": " + (first.error ? std::string(first.error->message()) : first.bytes),
        pending.at));
  }
  if (pending.cause.has_command())
    pending.extras.push_back(close_saga_command(pending.cause.request->command_stream, "done", {}, pending.at));
}

}  // namespace aura::detail
