// One run as a runner holds it in memory, and one attempt of one of its steps.
#pragma once

#include <aura/core/detail/pending_handler.hpp>
#include <aura/core/detail/post.hpp>
#include <aura/durable/detail/serializer.hpp>
#include <aura/durable/detail/timer_heap.hpp>
#include <aura/durable/saga_counters.hpp>
#include <aura/durable/saga_engine.hpp>
#include <aura/durable/saga_report.hpp>
#include <aura/durable/step_context.hpp>

#include <boost/asio/post.hpp>
#include <boost/asio/strand.hpp>

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace aura::detail {

/// A registered definition with what is counted of it.
struct RegisteredSaga {
  std::shared_ptr<const SagaDefinition> definition;
  std::shared_ptr<SagaCounters> counters;
};

/// What comes with an input now and then.
struct RunRequest {
  PendingHandler<Result<void>> reply{};
  Effect effect{};               ///< of the attempt that ended
  std::string command_stream{};  ///< the operator's command that this carries out
  Attributes attributes{};       ///< of a run that begins
};

/// Who asked for it, if anybody did.
struct RunCause {
  std::unique_ptr<RunRequest> request{};

  template <class Outcome>
  void answer(Outcome&& outcome) const {
    if (request) request->reply.answer(Result<void>(std::forward<Outcome>(outcome)));
  }
  bool has_reply() const noexcept { return request && request->reply; }
  bool has_effect() const noexcept { return request && request->effect; }
  bool has_command() const noexcept { return request && !request->command_stream.empty(); }
};

/// Something that happened to a run and waits for its turn.
struct RunInput {
  SagaInput input;
  RunCause cause{};
};

inline RunInput requested(SagaInput input, PendingHandler<Result<void>> reply, std::string command_stream = {}) {
  return {
      std::move(input),
      {std::make_unique<RunRequest>(RunRequest{
          .reply = std::move(reply), .effect = {}, .command_stream = std::move(command_stream), .attributes = {}})}};
}

/// A decision on its way into the journal.
struct PendingCommit {
  SagaDecision decision{};
  RunCause cause{};
  WallTime at{};
  std::vector<Append> extras{};  ///< dead letters and commands, in the same commit
  std::uint32_t tries = 0;

  /// As new, but for the room that it has.
  void clear() {
    decision.events.clear();
    decision.actions = {};
    cause.request.reset();
    extras.clear();
    tries = 0;
  }
};

/// When a step's turn comes: its backoff is over, or its guard may let it pass.
struct StepWake {
  std::uint8_t step;
  bool guarded;
  SteadyTime when;
};

template <class Core>
struct Attempt;

/// Everything but what the timer heap and the map own is touched inside `enter` only.
template <class Core>
struct Run : std::enable_shared_from_this<Run<Core>> {
  Run(std::shared_ptr<Core> owner, RunId name, RegisteredSaga registered)
      : core(std::move(owner)),
        id(std::move(name)),
        saga(std::move(registered.definition)),
        counters(std::move(registered.counters)) {}

  Run(const Run&) = delete;
  Run& operator=(const Run&) = delete;
  ~Run() {
    if (timer_slot != not_in_heap) core->timers->remove(*this);
  }

  /// Runs `f(run)` serialised with everything else of that run; the caller is on the executor.
  template <class F>
  static void enter(const std::shared_ptr<Run>& run, F&& f) {
    run->serializer.enter([&] { f(run); }, [&] { return [run, f = std::forward<F>(f)]() mutable { f(run); }; });
  }
  /// The same from anywhere.
  template <class F>
  void post(F f) {
    detail::post(core->executor,
                 [self = this->shared_from_this(), f = std::move(f)]() mutable { enter(self, std::move(f)); });
  }

  std::shared_ptr<Core> core;
  RunId id;
  std::shared_ptr<const SagaDefinition> saga;
  std::shared_ptr<SagaCounters> counters;
  Serializer serializer{};
  SagaState state{};
  std::uint64_t version = 0;
  FencingToken token{};
  TraceContext trace{};
  std::vector<RunInput> inbox{};
  std::unique_ptr<PendingCommit> pending{};
  std::unique_ptr<PendingCommit> spare{};  ///< for the next one, between two steps
  std::vector<std::shared_ptr<Attempt<Core>>> attempts{};
  std::vector<StepWake> wakes{};
  std::vector<PendingHandler<Result<SagaReport>>> waiters{};
  SteadyTime expires = SteadyTime::max();
  std::string_view indexed_word{};  ///< what the journal's index says
  WallTime indexed_due = WallTime::max();
  bool dropped = false;             ///< ended, lost or stopped: nothing more happens here

  SteadyTime timer_when{};  // the heap's
  std::size_t timer_slot = not_in_heap;
};

/// The call that is being started on this thread: what finishes inside its start is taken up without a post.
inline thread_local StepCall* call_being_started = nullptr;

template <class Core>
struct Attempt final : StepCall, std::enable_shared_from_this<Attempt<Core>> {
  Attempt(std::shared_ptr<Run<Core>> owner, std::uint8_t index)
      : StepCall(owner->core->world, owner->id, owner->saga->name, owner->saga->steps[index].name),
        run_held(std::move(owner)),
        step_index(index) {
    const StepState& state = run_held->state.steps[index];
    attempt_ = state.attempt;
    interruptions_ = state.interruptions;
    compensating_ = run_held->state.progress.phase == SagaPhase::compensating;
    token_ = run_held->token;
    trace_ = run_held->trace;
    only_one = std::has_single_bit(run_held->state.progress.in_flight);
  }

  void finish(Result<StepOutput> output) override {
    if (finished.exchange(true, std::memory_order_acq_rel)) return;
    if (call_being_started == this) {
      finished_at_once.emplace(std::move(output));
      return;
    }
    run_held->post([self = this->shared_from_this(), out = std::move(output)](const auto&) mutable {
      self->run_held->core->attempt_ended(*self, std::move(out));
    });
  }
  bool alone() const noexcept override { return only_one; }
  const PayloadRules& payload() const noexcept override { return run_held->saga->payload; }

  void set_deadline(SteadyTime when) noexcept { deadline_ = when; }
  /// The signal goes out where the operation runs: slots are not for several threads.
  void cancel() {
    cancelled_.store(true, std::memory_order_relaxed);
    if (executor_)
      boost::asio::post(executor_, [self = this->shared_from_this()] {
        self->cancellation_.emit(boost::asio::cancellation_type::terminal);
      });
  }

  std::shared_ptr<Run<Core>> run_held;
  std::uint8_t step_index;
  bool only_one = false;
  std::atomic<bool> finished{false};
  std::optional<Result<StepOutput>> finished_at_once{};
  AnyPermit permit{};
  SteadyTime started{};
};

inline SagaReport report_of(const SagaState& state, const SagaDefinition& saga, const RunId& run) {
  SagaReport report{.run = run, .outcome = state.progress.outcome};
  if (state.failure) report.failure = *state.failure;
  const StepSet with_result = state.progress.done & ~state.progress.skipped;
  report.results.reserve(static_cast<std::size_t>(std::popcount(with_result)));
  for (std::size_t i = 0; i < state.steps.size(); ++i)
    if (with_result & step_bit(i)) report.results.emplace_back(saga.steps[i].name, state.steps[i].result);
  return report;
}

inline std::string saga_stream(const RunId& run) {
  constexpr std::string_view prefix = "saga/";
  std::string stream;
  stream.reserve(prefix.size() + run.str().size());
  return stream.append(prefix).append(run.str());
}

inline std::string letter_id(const RunId& run, const StepDefinition& step, const StepState& state) {
  return run.str() + "/" + step.name + "/" + std::to_string(state.stuck_count);
}

}  // namespace aura::detail
