// The runner's inner loop: take an input, decide, commit, and only then act.
//
// One run is serialised, and has one commit under way at a time. Nothing is told to anybody, and no
// action begins, before the commit that says so has completed.
#pragma once

#include <aura/durable/detail/saga_attempts.hpp>
#include <aura/durable/detail/saga_extras.hpp>
#include <aura/durable/saga_command.hpp>
#include <aura/durable/saga_record.hpp>

#include <boost/asio/bind_executor.hpp>

#include <algorithm>
#include <atomic>
#include <bit>
#include <functional>
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
  using Base::draining, Base::executor, Base::in_flight, Base::observer, Base::options, Base::stopped, Base::timers,
      Base::world;
  using typename Base::AttemptPtr;
  using typename Base::RunPtr;
  using typename Base::RunType;

  SagaCore(AnyRuntime runtime, Journal& storage, SagaRunnerOptions chosen, Observer listener)
      : Base(runtime, std::move(chosen), std::move(listener)),
        log(storage),
        dice_seed(runtime.random("saga runner")()) {}

  std::shared_ptr<SagaCore> self() { return std::static_pointer_cast<SagaCore>(this->shared_from_this()); }

  /// The first commit of a run found its stream there already.
  virtual void already_begun(const RunPtr& run) = 0;

  // ---- inputs, inside the run

  void push(const RunPtr& run, RunInput&& input) override {
    if (run->dropped)
      return input.cause.answer(
          Error{saga_errc::lost_run, ErrorClass::permanent, "run " + run->id.str() + " is no longer driven here"});
    if (!run->pending && run->inbox.empty()) return take(run, std::move(input));
    if (run->inbox.size() >= options.run_inbox_max && (input.cause.has_reply() || input.cause.has_command()))
      return input.cause.answer(
          Error{saga_errc::too_many_runs, ErrorClass::rejected, "too many requests wait for run " + run->id.str()});
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

  void take(const RunPtr& run, RunInput&& next) {
    Random random(dice_seed ^ dice_count.fetch_add(1, std::memory_order_relaxed));
    const WallTime now = world.wall_now();
    const SagaWorld sees{.run = run->id.str(),
                         .now = now,
                         .random = random,
                         .retry_budget_spent = this->retry_budget_spent(),
                         .draining = draining.load()};
    auto pending = run->spare ? std::move(run->spare) : std::make_unique<PendingCommit>();
    Result<void> accepted =
        SagaDecider(*run->saga, run->state, sees, pending->decision).decide(std::move(next.input));
    if (!accepted) return refuse(next.cause, accepted.error());
    this->pay_for_retries(pending->decision);
    if (pending->decision.events.empty()) {
      act(run, pending->decision.actions);
      return accept_without_events(next.cause);
    }
    pending->cause = std::move(next.cause);
    pending->at = now;
    run->pending = std::move(pending);
    busy.fetch_add(1, std::memory_order_relaxed);
    add_extras(*run, *run->pending, options.dead_letters);
    commit(run);
  }

  // ---- committing

  /// How a commit completes: on the executor, inside the run.
  struct Committed {
    RunPtr run;

    using executor_type = boost::asio::any_io_executor;
    const executor_type& get_executor() const noexcept { return run->core->executor; }

    void operator()(Result<void> result) const {
      RunType::enter(run, [outcome = std::move(result)](const RunPtr& entered) {
        auto& core = static_cast<SagaCore&>(*entered->core);
        outcome ? core.committed(entered) : core.not_committed(entered, outcome.error());
      });
    }
  };

  void commit(const RunPtr& run) {
    PendingCommit& pending = *run->pending;
    Batch batch;
    batch.appends.reserve(1 + pending.extras.size());
    Append& append = batch.appends.emplace_back();  // filled in where it stays: it is large, and this is the hot path
    append.stream = saga_stream(run->id);
    append.expected_version = run->version;
    append.token = run->token;
    append.records.push_back(encode_saga_record(pending.decision.events, pending.at, run->trace));
    append.index = changed_index(*run, pending);
    if (run->version == 0) append.birth = StreamBirth{.kind = "saga", .holder = options.holder};
    for (const Append& extra : pending.extras) batch.appends.push_back(extra);
    if (pending.cause.has_effect()) batch.effect = pending.cause.request->effect;
    log.commit(std::move(batch), Committed{run});
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
    run->indexed_word = run->state.progress.word();
    run->indexed_due = earliest_wake(run->state);
    done->cause.answer(Result<void>());
    if (actions.attempt != 0) {  // the next commit is not far; a run that only waits holds nothing
      done->clear();
      run->spare = std::move(done);
    }
    done.reset();
    act(run, actions);
    process(run);
    if (draining.load(std::memory_order_relaxed)) this->drain_progress();
  }

  void not_committed(const RunPtr& run, const Error& error) {
    if (run->dropped) return;
    PendingCommit& pending = *run->pending;
    const bool by_effect = pending.cause.has_effect() && !is_journal_trouble(error);
    if (by_effect) return effect_failed(run, error);
    if (error.is(journal_errc::kind_full) && !pending.extras.empty()) return commit_without_letters(run);
    if (error.is(journal_errc::version_conflict)) return look_into_conflict(run, error);
    if (error.is(journal_errc::fenced)) return lose(run, error);
    if (run->version == 0 && error.error_class() == ErrorClass::permanent) return abandon(run, error);
    delay_commit(run, error);
  }

  void delay_commit(const RunPtr& run, const Error& error) {
    notify(observer, CommitDelayed{run->saga->name, run->id.str(), error});
    if (stopped.load()) return;
    const RetryPolicy patience{.attempts_max = 0, .cap = std::chrono::seconds(5)};
    world.async_wait_for(patience.backoff_max(++run->pending->tries),
                         boost::asio::bind_executor(executor, [self = self(), run](boost::system::error_code) {
                           RunType::enter(run, [self](const RunPtr& entered) {
                             if (!entered->dropped && entered->pending && !self->stopped.load())
                               self->commit(entered);
                           });
                         }));
  }

  /// Whose version was it? The record may be ours, from a try whose answer was lost; or somebody else's; or there is
  /// none, and what conflicts is a letter or a command that goes with it.
  void look_into_conflict(const RunPtr& run, const Error& error) {
    log.read(saga_stream(run->id), run->version, 1,
             boost::asio::bind_executor(executor, [self = self(), run, error](Result<std::vector<Record>> found) {
               RunType::enter(run, [self, error, found = std::move(found)](const RunPtr& entered) {
                 if (!entered->dropped && entered->pending) self->judge_conflict(entered, error, found);
               });
             }));
  }

  void judge_conflict(const RunPtr& run, const Error& error, const Result<std::vector<Record>>& found) {
    const PendingCommit& pending = *run->pending;
    if (!found) return delay_commit(run, found.error());
    if (found->empty() && !pending.extras.empty()) return commit_without_extras(run);
    const bool ours = pending.tries > 0 && !found->empty() &&
                      found->front() == encode_saga_record(pending.decision.events, pending.at, run->trace);
    if (ours) return committed(run);
    run->version == 0 && !found->empty() ? already_begun(run) : lose(run, error);
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

  /// A letter that somebody else has closed, or that was never written, is no reason to hold up the run, nor is one of
  /// a name that is taken. What remains then is a command, and it was carried out already.
  void commit_without_extras(const RunPtr& run) {
    PendingCommit& pending = *run->pending;
    const auto closes_letter = [&](const Append& extra) {
      return !extra.birth && !(pending.cause.has_command() && extra.stream == pending.cause.request->command_stream);
    };
    const auto letters =
        std::stable_partition(pending.extras.begin(), pending.extras.end(), std::not_fn(closes_letter));
    if (letters != pending.extras.end()) {
      for (auto letter = letters; letter != pending.extras.end(); ++letter) close_as_it_is(std::move(*letter));
      pending.extras.erase(letters, pending.extras.end());
      return commit(run);
    }
    if (!pending.cause.has_command()) return commit_without_letters(run);
    run->pending.reset();
    busy.fetch_sub(1, std::memory_order_relaxed);
    process(run);
    if (draining.load(std::memory_order_relaxed)) this->drain_progress();
  }

  /// A letter that was noted on since (a redrive that failed) has another version: closed in a commit of its own.
  void close_as_it_is(Append closing) {
    const std::string stream = closing.stream;
    log.head(stream, boost::asio::bind_executor(executor, [self = self(), closing = std::move(closing)](
                                                              Result<std::optional<StreamHead>> head) mutable {
               if (!head || !*head || !(*head)->open || self->stopped.load()) return;
               closing.expected_version = (*head)->version;
               Batch batch;
               batch.appends.push_back(std::move(closing));
               self->log.commit(std::move(batch), boost::asio::bind_executor(self->executor, [](Result<void>) {}));
             }));
  }

  /// Why a commit failed that the journal itself is to blame for, and not an effect.
  static bool is_journal_trouble(const Error& error) {
    return error.domain() == error_domain(journal_errc{}) && !error.is(journal_errc::effect_failed) &&
           !error.is(journal_errc::effect_unsupported);
  }

  std::optional<StreamIndex> changed_index(const RunType& run, const PendingCommit& pending) const {
    SagaProgress ahead = run.state.progress;
    WallTime due = WallTime::max();
    for (const SagaEvent& event : pending.decision.events) ahead.apply(event, *run.saga);
    for (StepSet left = ahead.backing_off; left != 0; left &= left - 1)
      due = std::min(due, wake_of(run, pending, static_cast<std::uint8_t>(std::countr_zero(left))));
    const std::string_view word = ahead.word();
    if (run.version != 0 && word == run.indexed_word && due == run.indexed_due) return std::nullopt;
    StreamIndex index{.state = std::string(word), .open = ahead.phase != SagaPhase::ended};
    if (due != WallTime::max()) index.due = due;
    if (run.version == 0) {
      index.attributes = pending.cause.request ? pending.cause.request->attributes : Attributes{};
      index.attributes->emplace_back("saga", run.saga->name);
    }
    return index;
  }

  /// Makes the index say again how a run is that it calls held.
  void show(const RunPtr& run) {
    Append append{.stream = saga_stream(run->id), .expected_version = run->version, .token = run->token};
    append.index = StreamIndex{.state = std::string(run->state.progress.word())};
    if (const WallTime due = earliest_wake(run->state); due != WallTime::max()) append.index->due = due;
    Batch batch;
    batch.appends.push_back(std::move(append));
    log.commit(std::move(batch), boost::asio::bind_executor(executor, [](Result<void>) {}));
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

  // ---- answers to inputs that record nothing

  void refuse(const RunCause& cause, const Error& error) {
    cause.answer(error);
    if (cause.has_command()) close_command(cause.request->command_stream, "refused", std::string(error.message()));
  }

  void accept_without_events(const RunCause& cause) {
    cause.answer(Result<void>());
    if (cause.has_command()) close_command(cause.request->command_stream, "done", "nothing was left to do");
  }

  /// Where this fails, the command is found again at the next poll.
  void close_command(const std::string& stream, std::string state, std::string reason) {
    if (stopped.load()) return;
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

  /// Whoever is told that a run has ended finds that it is not open any more.
  void finish(const RunPtr& run) {
    const Duration age = world.wall_now() - run->state.started_at;
    notify(observer, RunEnded{run->saga->name, run->id.str(), run->state.progress.outcome, age});
    process(run);  // requests that came too late are told so
    auto waiters = std::move(run->waiters);
    drop(run);
    for (auto& waiter : waiters) waiter.answer(report_of(run->state, *run->saga, run->id));
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
    const auto pending = std::move(run->pending);
    if (pending) busy.fetch_sub(1, std::memory_order_relaxed);
    const auto inbox = std::move(run->inbox);
    auto waiters = std::move(run->waiters);
    drop(run);
    if (pending) pending->cause.answer(told);
    for (const RunInput& input : inbox) input.cause.answer(told);
    for (auto& waiter : waiters) waiter.answer(told);
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
  std::mutex mutex;  ///< guards the map; never held while anything of the user's runs
  std::unordered_map<std::string_view, RunPtr> runs;  ///< open ones; keyed by the id in the run itself
};

}  // namespace aura::detail
