// Attempts: begun, guarded, timed, cancelled, ended. What a runner does between two commits.
#pragma once

#include <aura/core/exception.hpp>
#include <aura/core/observer.hpp>
#include <aura/core/runtime.hpp>
#include <aura/durable/detail/saga_run.hpp>
#include <aura/durable/detail/timer_service.hpp>
#include <aura/durable/saga_options.hpp>

#include <algorithm>
#include <atomic>
#include <bit>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

namespace aura::detail {

/// Everything here runs inside the run that it is given (`Run::enter`).
template <class Observer>
struct SagaAttempts : std::enable_shared_from_this<SagaAttempts<Observer>> {
  using RunType = Run<SagaAttempts>;
  using RunPtr = std::shared_ptr<RunType>;
  using AttemptPtr = std::shared_ptr<Attempt<SagaAttempts>>;

  SagaAttempts(AnyRuntime runtime, SagaRunnerOptions chosen, Observer listener)
      : world(runtime),
        options(std::move(chosen)),
        observer(std::move(listener)),
        executor(runtime.executor()),
        timers(std::make_shared<TimerService<RunType>>(runtime)) {
    if (options.retry_budget) budget.emplace(*options.retry_budget);
  }
  virtual ~SagaAttempts() = default;

  /// Takes what happened to its decision.
  virtual void push(const RunPtr& run, RunInput&& input) = 0;
  /// Called after each commit and each attempt while draining.
  virtual void drain_progress() = 0;

  void begin_attempt(const RunPtr& run, std::uint8_t index) {
    if (stopped.load(std::memory_order_relaxed)) return;
    const StepDefinition& step = run->saga->steps[index];
    auto made = std::make_shared<Attempt<SagaAttempts>>(run, index);
    Attempt<SagaAttempts>& attempt = *made;  // kept by its run, which nobody else is inside
    attempt.started = world.steady_now();
    if (step.guard && !attempt.compensating())
      if (auto passed = pass_guard(*run, step, attempt); !passed) return hold_back(run, attempt, passed.error());
    const AttemptRules& rules = attempt.compensating() ? step.backward : step.forward;
    attempt.set_deadline(deadline_of(rules, run->state.steps[index], attempt.started));
    run->attempts.push_back(made);
    in_flight.fetch_add(1, std::memory_order_relaxed);
    StepCounters& counters = run->counters->steps[index];
    count(attempt.compensating() ? counters.compensations : counters.attempts);
    start(*run, std::move(made), attempt.compensating() ? step.undo : step.action);
    if (attempt.finished_at_once) attempt_ended(attempt, std::move(*attempt.finished_at_once));
  }

  /// Decodes the inputs and starts the action; what finishes inside is left in `finished_at_once`.
  static void start(RunType& run, AttemptPtr&& made, const StepAction& action) {
    Attempt<SagaAttempts>& attempt = *made;
    const StepDefinition& step = run.saga->steps[attempt.step_index];
    boost::container::small_vector<std::string_view, 8> results;
    for (const std::uint8_t before : step.after) results.push_back(run.state.steps[before].result);
    const bool took_effect = (run.state.progress.done & step_bit(attempt.step_index)) != 0;
    const std::string_view own = run.state.steps[attempt.step_index].result;
    const StepInputs inputs{run.state.input, results.data(), took_effect ? &own : nullptr};
    StepCall* const outer = std::exchange(call_being_started, &attempt);
    try {
      action(std::move(made), inputs);
    } catch (...) {
      attempt.finish(error_of_current_exception("step " + step.name));
    }
    call_being_started = outer;
  }

  static Result<AnyPermit> ask(const AnyGuard& guard, SteadyTime now, std::string_view step) try {
    return guard.try_acquire(now);
  } catch (...) {
    return error_of_current_exception("the guard of step " + std::string(step));
  }

  Result<void> pass_guard(RunType& run, const StepDefinition& step, Attempt<SagaAttempts>& attempt) {
    Result<AnyPermit> permit = ask(step.guard, attempt.started, attempt.step());
    if (permit) {
      attempt.permit = std::move(*permit);
      return {};
    }
    notify(observer, GuardRejected{run.saga->name, run.id.str(), step.name, permit.error()});
    count(run.counters->steps[attempt.step_index].guard_rejections);
    return permit.error();
  }

  /// Asks the guard again later, but not beyond the step's deadline: then the attempt has failed without having begun.
  void hold_back(const RunPtr& run, const Attempt<SagaAttempts>& attempt, const Error& refusal) {
    const std::uint8_t index = attempt.step_index;
    const StepDefinition& step = run->saga->steps[index];
    const SteadyTime latest = step_deadline(step.forward, run->state.steps[index], attempt.started);
    if (latest <= attempt.started)
      return push(run, RunInput{SagaAttemptEnded{
                           index, attempt.attempt(),
                           Error{core_errc::timed_out, ErrorClass::rejected,
                                 "step " + step.name + " was held back by its guard until its deadline: " +
                                     std::string(refusal.message())}}});
    const Duration wait = refusal.retry_after() > Duration::zero() ? refusal.retry_after() : std::chrono::seconds(1);
    run->wakes.push_back({index, true, std::min(latest, saturating_add(attempt.started, wait))});
  }

  /// When all attempts of the step together have had their time: by the wall clock, because a restart may lie between
  /// them, but no attempt gets more than all of it where that clock was set back.
  SteadyTime step_deadline(const AttemptRules& rules, const StepState& step, SteadyTime now) const {
    if (rules.deadline <= Duration::zero()) return SteadyTime::max();
    const Duration left = rules.deadline - (world.wall_now() - step.first_at);
    return saturating_add(now, std::clamp(left, Duration::zero(), rules.deadline));
  }

  SteadyTime deadline_of(const AttemptRules& rules, const StepState& step, SteadyTime now) const {
    const SteadyTime of_step = step_deadline(rules, step, now);
    return rules.timeout > Duration::zero() ? std::min(of_step, saturating_add(now, rules.timeout)) : of_step;
  }

  void attempt_ended(Attempt<SagaAttempts>& attempt, Result<StepOutput>&& output) {
    const RunPtr& run = attempt.run_held;
    const auto place = std::find_if(run->attempts.begin(), run->attempts.end(),
                                    [&](const AttemptPtr& each) { return each.get() == &attempt; });
    if (place == run->attempts.end()) return;  // it was given up before
    const AttemptPtr held = std::move(*place);
    run->attempts.erase(place);
    in_flight.fetch_sub(1, std::memory_order_relaxed);
    judge_attempt(*run, attempt, output);
    RunInput input{SagaInput(std::in_place_type<SagaAttemptEnded>, attempt.step_index, attempt.attempt(),
                             output ? Result<std::string>(std::move(output->bytes)) : output.error())};
    if (output && output->effect)
      input.cause.request = std::make_unique<RunRequest>(
          RunRequest{.reply = {}, .effect = std::move(output->effect), .command_stream = {}, .attributes = {}});
    push(run, std::move(input));
    if (draining.load(std::memory_order_relaxed)) drain_progress();
  }

  void judge_attempt(RunType& run, Attempt<SagaAttempts>& attempt, const Result<StepOutput>& output) {
    AttemptOutcome outcome{.latency = world.steady_now() - attempt.started};
    if (!output) outcome.failure = output.error().error_class();
    attempt.permit.record(outcome);
    StepCounters& counters = run.counters->steps[attempt.step_index];
    count(output ? counters.successes : counters.failures);
    if (output) counters.latency.observe(outcome.latency);
    if (budget && output) {
      const std::lock_guard lock(budget_mutex);
      budget->deposit();
    }
    notify(observer, AttemptEnded{run.saga->name, run.id.str(), attempt.step(), attempt.attempt(),
                                  attempt.compensating(), outcome});
  }

  bool retry_budget_spent() {
    if (!budget) return false;
    const std::lock_guard lock(budget_mutex);
    return budget->balance() < 1;
  }

  void pay_for_retries(const SagaDecision& decision) {
    if (!budget) return;
    const std::lock_guard lock(budget_mutex);
    for (const SagaEvent& event : decision.events)
      if (event.verdict == FailureVerdict::retry) budget->withdraw();
  }

  void cancel_attempt(RunType& run, std::uint8_t step) {
    std::erase_if(run.wakes, [&](const StepWake& wake) {
      if (wake.step != step || !wake.guarded) return false;
      run.inbox.push_back(
          {.input = SagaAttemptEnded{step, run.state.steps[step].attempt, waiting_was_cancelled(run, step)}});
      return true;
    });
    const auto attempts = run.attempts;  // a handler may end an attempt at once
    for (const AttemptPtr& attempt : attempts)
      if (attempt->step_index == step) attempt->cancel();
  }

  /// The run goes back: there is no point in an action that would only have to be undone.
  void never_begun(const RunPtr& run, std::uint8_t step) {
    push(run, {.input = SagaAttemptEnded{step, run->state.steps[step].attempt, waiting_was_cancelled(*run, step)}});
  }

  static Error waiting_was_cancelled(const RunType& run, std::uint8_t step) {
    return Error{core_errc::cancelled, ErrorClass::rejected,
                 "step " + run.saga->steps[step].name + " was cancelled while its guard held it back"};
  }

  // ---- time

  void wait_for_retry(RunType& run, std::uint8_t step) {
    const Duration left =
        std::clamp(run.state.steps[step].wake_at - world.wall_now(), Duration::zero(), longest_wait(run, step));
    std::erase_if(run.wakes, [&](const StepWake& wake) { return wake.step == step && !wake.guarded; });
    run.wakes.push_back({step, false, saturating_add(world.steady_now(), left)});
  }

  /// A wall clock that was set back while nobody looked must not stretch a backoff beyond what its policy allows.
  static Duration longest_wait(const RunType& run, std::uint8_t step) {
    const StepState& known = run.state.steps[step];
    const StepDefinition& definition = run.saga->steps[step];
    const bool undoing = run.state.progress.phase == SagaPhase::compensating;
    const Duration cap = (undoing ? definition.backward : definition.forward).retry.cap;
    const Duration advised = known.error ? known.error->retry_after() : Duration::zero();
    const Duration planned = known.wake_at - run.state.started_at;  // a policy's own delay may be longer
    return std::max({cap, advised, planned});
  }

  /// Sees to it that the run is called when something of it is due next.
  void reschedule(const RunPtr& run) {
    SteadyTime next = run->state.progress.phase == SagaPhase::forward ? run->expires : SteadyTime::max();
    for (const StepWake& wake : run->wakes) next = std::min(next, wake.when);
    for (const AttemptPtr& attempt : run->attempts) next = std::min(next, attempt->deadline());
    if (next != SteadyTime::max()) timers->set(run, next);
  }

  void on_timer(const RunPtr& run) {
    if (run->dropped || stopped.load(std::memory_order_relaxed)) return;
    const SteadyTime now = world.steady_now();
    give_up_late_attempts(run, now);
    wake_steps(run, now);
    if (now >= run->expires && !run->dropped) {
      run->expires = SteadyTime::max();
      push(run, RunInput{.input = SagaExpired{}});
    }
    if (!run->dropped) reschedule(run);
  }

  void give_up_late_attempts(const RunPtr& run, SteadyTime now) {
    const auto attempts = run->attempts;
    for (const AttemptPtr& attempt : attempts) {
      if (attempt->deadline() > now) continue;
      attempt_ended(*attempt, Error{core_errc::timed_out, ErrorClass::timeout,
                                    std::string(attempt->compensating() ? "the compensation of step " : "step ") +
                                        std::string(attempt->step()) + " did not answer in time"});
      attempt->cancel();
    }
  }

  void wake_steps(const RunPtr& run, SteadyTime now) {
    std::vector<StepWake> due;
    std::erase_if(run->wakes, [&](const StepWake& wake) {
      if (wake.when <= now) due.push_back(wake);
      return wake.when <= now;
    });
    for (const StepWake& wake : due) {
      if (run->dropped) return;
      if (!wake.guarded)
        push(run, RunInput{.input = SagaWoke{wake.step}});
      else if (draining.load(std::memory_order_relaxed))
        continue;  // whoever resumes the run will begin it
      else if (run->state.progress.phase == SagaPhase::settling)
        never_begun(run, wake.step);
      else if (run->state.progress.in_flight & step_bit(wake.step))
        begin_attempt(run, wake.step);
    }
  }

  AnyRuntime world;
  SagaRunnerOptions options;
  Observer observer;
  boost::asio::any_io_executor executor;
  std::shared_ptr<TimerService<RunType>> timers;
  std::atomic<std::int64_t> in_flight{0};  ///< attempts
  std::atomic<bool> draining{false}, stopped{false};
  std::mutex budget_mutex;
  std::optional<RetryBudget> budget;
};

}  // namespace aura::detail
