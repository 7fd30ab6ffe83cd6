// The runner's inner loop: take an input, decide, commit, and only then act.
//
// One run is serialised on its strand, and has one commit under way at a time. Nothing is told to anybody, and no
// action begins, before the commit that says so has completed.
#pragma once

#include <aura/durable/detail/saga_attempts.hpp>
#include <aura/durable/saga_command.hpp>
#include <aura/durable/saga_record.hpp>

#include <boost/asio/bind_executor.hpp>

#include <algorithm>
#include <atomic>
#include <bit>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

namespace aura::detail {

template <journal Journal, class Observer>
struct SagaCore : SagaAttempts<Observer> {
  using Base = SagaAttempts<Observer>;
  using typename Base::AttemptPtr;
  using typename Base::RunPtr;
  using typename Base::RunType;
  using Base::draining, Base::executor, Base::in_flight, Base::observer, Base::options, Base::stopped, Base::timers,
      Base::world;

  SagaCore(AnyRuntime runtime, Journal& storage, SagaRunnerOptions chosen, Observer listener)
      : Base(runtime, std::move(chosen), std::move(listener)), log(storage), dice_seed(runtime.random("saga runner")()) {}

  std::shared_ptr<SagaCore> self() { return std::static_pointer_cast<SagaCore>(this->shared_from_this()); }

  /// The first commit of a run found its stream there already.
  virtual void already_begun(const RunPtr& run) = 0;

  // ---- inputs, on the run's strand

  void push(const RunPtr& run, RunInput input) override {
    if (run->dropped)
      return input.reply.answer(Error{saga_errc::lost_run, ErrorClass::permanent,
                                      "run " + run->id.str() + " is no longer driven here"});
    if (run->inbox.size() >= options.run_inbox_max && input.reply)
      return input.reply.answer(Error{saga_errc::too_many_runs, ErrorClass::rejected,
                                      "too many requests wait for run " + run->id.str()});
    run->inbox.push_back(std::move(input));
    process(run);
  }

  void process(const RunPtr& run) {
    while (!run->pending && !run->inbox.empty() && !run->dropped) {
      RunInput next = std::move(run->inbox.front());
      run->inbox.erase(run->inbox.begin());
      take(run, std::move(next));
    }
  }

  void take(const RunPtr& run, RunInput next) {
    Random random(dice_seed ^ dice_count.fetch_add(1, std::memory_order_relaxed));
    const WallTime now = world.wall_now();
    const SagaWorld sees{.run = run->id.str(), .now = now, .random = random,
                         .retry_budget_spent = this->retry_budget_spent(next.input), .draining = draining.load()};
    Result<SagaDecision> decision = decide(*run->saga, run->state, std::move(next.input), sees);
    if (!decision) return refuse(run, std::move(next), decision.error());
    if (decision->events.empty()) {
      act(run, decision->actions);
      return accept_without_events(run, std::move(next));
    }
    run->pending = std::make_unique<PendingCommit>(
        PendingCommit{.decision = std::move(*decision), .cause = std::move(next), .at = now});
    busy.fetch_add(1, std::memory_order_relaxed);
    add_extras(*run, *run->pending);
    commit(run);
  }

  // ---- committing

  void commit(const RunPtr& run) {
    PendingCommit& pending = *run->pending;
    Append append{.stream = saga_stream(run->id), .expected_version = run->version, .token = run->token};
    append.records.push_back(encode_saga_record(pending.decision.events, pending.at, run->trace));
    append.index = changed_index(*run, pending);
    if (run->version == 0) append.birth = StreamBirth{.kind = "saga", .holder = options.holder};
    Batch batch;
    batch.appends.reserve(1 + pending.extras.size());
    batch.appends.push_back(std::move(append));
    for (const Append& extra : pending.extras) batch.appends.push_back(extra);
    batch.effect = pending.cause.effect;
    log.commit(std::move(batch), boost::asio::bind_executor(run->strand, [self = self(), run](Result<void> outcome) {
                 outcome ? self->committed(run) : self->not_committed(run, outcome.error());
               }));
  }

  void committed(const RunPtr& run) {
    if (run->dropped) return;
    std::unique_ptr<PendingCommit> done = std::move(run->pending);
    busy.fetch_sub(1, std::memory_order_relaxed);
    ++run->version;
    const SagaActions actions = done->decision.actions;
    for (SagaEvent& event : done->decision.events) {
      observe(*run, event);
      evolve(run->state, std::move(event), done->at, *run->saga);
    }
    run->indexed_word = run->state.word();
    run->indexed_due = earliest_wake(run->state);
    done->cause.reply.answer({});
    done.reset();
    act(run, actions);
    process(run);
    if (draining.load(std::memory_order_relaxed)) this->drain_progress();
  }

  void not_committed(const RunPtr& run, const Error& error) {
    if (run->dropped) return;
    PendingCommit& pending = *run->pending;
    const bool by_effect = pending.cause.effect && !is_journal_trouble(error);
    if (by_effect) return effect_failed(run, error);
    if (error.is(journal_errc::kind_full) && !pending.extras.empty()) return commit_without_letters(run);
    if (error.is(journal_errc::version_conflict) && !pending.extras.empty()) return commit_without_extras(run);
    if (error.is(journal_errc::version_conflict) && run->version == 0) return already_begun(run);
    if (error.is(journal_errc::version_conflict) || error.is(journal_errc::fenced)) return lose(run, error);
    notify(observer, CommitDelayed{run->saga->name, run->id.str(), error});
    if (stopped.load()) return;
    const RetryPolicy patience{.attempts_max = 0, .cap = std::chrono::seconds(5)};
    world.async_wait_for(patience.backoff_max(++pending.tries),
                         boost::asio::bind_executor(run->strand, [self = self(), run](boost::system::error_code) {
                           if (!run->dropped && run->pending && !self->stopped.load()) self->commit(run);
                         }));
  }

  /// An effect that refused has failed the attempt that asked for it; nothing was recorded.
  void effect_failed(const RunPtr& run, const Error& error) {
    std::unique_ptr<PendingCommit> failed = std::move(run->pending);
    busy.fetch_sub(1, std::memory_order_relaxed);
    const SagaEvent& event = failed->decision.events.front();
    run->inbox.insert(run->inbox.begin(), RunInput{.input = SagaAttemptEnded{event.step, event.attempt, error}});
    process(run);
  }

  void commit_without_letters(const RunPtr& run) {
    PendingCommit& pending = *run->pending;
    std::erase_if(pending.extras, [](const Append& extra) { return extra.birth.has_value(); });
    for (StepSet left = pending.decision.actions.dead_letter; left != 0; left &= left - 1)
      notify(observer, DeadLetterRefused{run->saga->name, run->id.str(),
                                         run->saga->steps[static_cast<std::size_t>(std::countr_zero(left))].name});
    commit(run);
  }

  /// A letter or a command that somebody else has closed is no reason to hold up the run.
  void commit_without_extras(const RunPtr& run) {
    if (!run->pending->cause.command_stream.empty()) {  // then the command is carried out already
      run->pending.reset();
      busy.fetch_sub(1, std::memory_order_relaxed);
      return process(run);
    }
    std::erase_if(run->pending->extras, [](const Append& extra) { return !extra.birth; });
    commit(run);
  }

  /// Why a commit failed that the journal itself is to blame for, and not an effect.
  static bool is_journal_trouble(const Error& error) {
    return error.domain() == error_domain(journal_errc{}) && !error.is(journal_errc::effect_failed) &&
           !error.is(journal_errc::effect_unsupported);
  }

  std::optional<StreamIndex> changed_index(const RunType& run, const PendingCommit& pending) const {
    SagaState ahead;  // only what the word and the due time depend on
    ahead.progress = run.state.progress;
    WallTime due = WallTime::max();
    for (const SagaEvent& event : pending.decision.events) ahead.progress.apply(event, *run.saga);
    for (StepSet left = ahead.progress.backing_off; left != 0; left &= left - 1)
      due = std::min(due, wake_of(run, pending, static_cast<std::uint8_t>(std::countr_zero(left))));
    const std::string_view word = ahead.word();
    if (run.version != 0 && word == run.indexed_word && due == run.indexed_due) return std::nullopt;
    StreamIndex index{.state = std::string(word), .open = !ahead.ended()};
    if (due != WallTime::max()) index.due = due;
    if (run.version == 0) {
      index.attributes = run.birth_attributes;
      index.attributes->emplace_back("saga", run.saga->name);
    }
    return index;
  }

  static WallTime wake_of(const RunType& run, const PendingCommit& pending, std::uint8_t step) {
    for (const SagaEvent& event : pending.decision.events)
      if (event.type == SagaEventType::attempt_failed && event.step == step) return event.wake_at;
    return run.state.steps[step].wake_at;
  }

  static WallTime earliest_wake(const SagaState& state) {
    WallTime due = WallTime::max();
    for (StepSet left = state.progress.backing_off; left != 0; left &= left - 1)
      due = std::min(due, state.steps[static_cast<std::size_t>(std::countr_zero(left))].wake_at);
    return due;
  }

  // ---- dead letters and commands: what joins the commit

  void add_extras(const RunType& run, PendingCommit& pending) {
    for (StepSet left = pending.decision.actions.dead_letter; left != 0; left &= left - 1)
      pending.extras.push_back(
          write_dead_letter(letter_for(run, pending, static_cast<std::uint8_t>(std::countr_zero(left))),
                            options.dead_letters));
    for (StepSet left = pending.decision.actions.close_letter; left != 0; left &= left - 1) {
      const auto step = static_cast<std::size_t>(std::countr_zero(left));
      const SagaEvent& first = pending.decision.events.front();
      pending.extras.push_back(close_dead_letter(
          letter_id(run.id, run.saga->steps[step], run.state.steps[step]), 1,
          first.type == SagaEventType::retry_asked ? "redriven" : "resolved",
          std::string(to_string(first.type)) + ": " + (first.error ? std::string(first.error->message()) : first.bytes),
          pending.at));
    }
    if (!pending.cause.command_stream.empty())
      pending.extras.push_back(close_saga_command(pending.cause.command_stream, "done", {}, pending.at));
  }

  DeadLetter letter_for(const RunType& run, const PendingCommit& pending, std::uint8_t index) const {
    const StepDefinition& step = run.saga->steps[index];
    const StepState& known = run.state.steps[index];
    const bool undoing = run.state.progress.phase == SagaPhase::compensating;
    DeadLetter letter{.queue = options.dead_letters.queue, .source = "saga"};
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

  // ---- answers to inputs that record nothing

  void refuse(const RunPtr& run, RunInput cause, const Error& error) {
    cause.reply.answer(error);
    if (!cause.command_stream.empty()) close_command(cause.command_stream, "refused", std::string(error.message()));
    (void)run;
  }

  void accept_without_events(const RunPtr& run, RunInput cause) {
    cause.reply.answer({});
    if (!cause.command_stream.empty()) close_command(cause.command_stream, "done", "nothing was left to do");
    (void)run;
  }

  /// Where this fails, the command is found again at the next poll.
  void close_command(const std::string& stream, std::string state, std::string reason) {
    Batch batch;
    batch.appends.push_back(close_saga_command(stream, std::move(state), std::move(reason), world.wall_now()));
    log.commit(std::move(batch), boost::asio::bind_executor(executor, [](Result<void>) {}));
  }

  // ---- acting

  void act(const RunPtr& run, const SagaActions& actions) {
    for (StepSet left = actions.cancel; left != 0; left &= left - 1)
      this->cancel_attempt(*run, static_cast<std::uint8_t>(std::countr_zero(left)));
    for (StepSet left = actions.wait; left != 0; left &= left - 1)
      this->wait_for_retry(*run, static_cast<std::uint8_t>(std::countr_zero(left)));
    if (actions.ended) return finish(run);
    for (StepSet left = actions.attempt; left != 0 && !run->dropped; left &= left - 1)
      this->begin_attempt(run, static_cast<std::uint8_t>(std::countr_zero(left)));
    if (!run->dropped && (actions.wait | actions.attempt)) this->reschedule(run);
  }

  // ---- ending

  void finish(const RunPtr& run) {
    SagaReport report = report_of(run->state, *run->saga, run->id);
    const Duration age = world.wall_now() - run->state.started_at;
    notify(observer, RunEnded{run->saga->name, run->id.str(), report.outcome, age});
    for (auto& waiter : run->waiters) waiter.answer(report);
    drop(run);
  }

  void lose(const RunPtr& run, const Error& error) {
    notify(observer, RunLost{run->saga->name, run->id.str(), error});
    const Error told{saga_errc::lost_run, ErrorClass::permanent,
                     "run " + run->id.str() + " is driven by somebody else: " + std::string(error.message())};
    abandon(run, told);
  }

  /// Answers whoever waits with an error and lets go of the run. Its history stands as committed.
  void abandon(const RunPtr& run, const Error& told) {
    if (run->dropped) return;
    if (run->pending) run->pending->cause.reply.answer(told);
    if (std::exchange(run->pending, nullptr)) busy.fetch_sub(1, std::memory_order_relaxed);
    for (RunInput& input : run->inbox) input.reply.answer(told);
    for (auto& waiter : run->waiters) waiter.answer(told);
    drop(run);
  }

  void drop(const RunPtr& run) {
    run->dropped = true;
    run->inbox.clear();
    run->waiters.clear();
    in_flight.fetch_sub(static_cast<std::int64_t>(run->attempts.size()), std::memory_order_relaxed);
    for (const AttemptPtr& attempt : std::exchange(run->attempts, {})) attempt->cancel();
    timers->remove(*run);
    const std::lock_guard lock(mutex);
    const auto found = runs.find(run->id.str());
    if (found != runs.end() && found->second == run) runs.erase(found);
  }

  void observe(const RunType& run, const SagaEvent& event) {
    if (event.type == SagaEventType::started) {
      count(run.counters->started);
      notify(observer, RunStarted{run.saga->name, run.id.str()});
    } else if (event.type == SagaEventType::ended) {
      count(event.outcome == RunOutcome::completed     ? run.counters->completed
            : event.outcome == RunOutcome::compensated ? run.counters->compensated
                                                       : run.counters->failed);
    } else if (event.type == SagaEventType::attempt_failed && event.verdict == FailureVerdict::stuck) {
      count(run.counters->steps[event.step].stuck);
      notify(observer, StepStuck{run.saga->name, run.id.str(), run.saga->steps[event.step].name,
                                 run.state.progress.phase == SagaPhase::compensating, *event.error});
    }
  }

  Journal& log;
  const std::uint64_t dice_seed;
  std::atomic<std::uint64_t> dice_count{0};
  std::atomic<std::int64_t> busy{0};  ///< commits under way
  std::mutex mutex;                   ///< guards the map; never held while anything of the user's runs
  std::unordered_map<std::string_view, RunPtr> runs;  ///< open ones; keyed by the id in the run itself
};

}  // namespace aura::detail
