// The runner's doors: starting, waiting, recovering, operators' requests, the lease, draining.
#pragma once

#include <aura/durable/detail/saga_core.hpp>
#include <aura/durable/detail/saga_housekeeping.hpp>
#include <aura/durable/detail/saga_loader.hpp>
#include <aura/durable/saga_error.hpp>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace aura::detail {

template <journal Journal, class Observer>
struct SagaService final : SagaCore<Journal, Observer> {
  using Core = SagaCore<Journal, Observer>;
  using Core::busy, Core::draining, Core::executor, Core::in_flight, Core::log, Core::mutex, Core::observer,
      Core::options, Core::runs, Core::stopped, Core::timers, Core::world;
  using typename Core::RunPtr;
  using typename Core::RunType;

  SagaService(AnyRuntime runtime, Journal& storage, SagaRunnerOptions chosen, Observer listener)
      : Core(runtime, storage, std::move(chosen), std::move(listener)), home(boost::asio::make_strand(executor)) {}

  std::shared_ptr<SagaService> self() { return std::static_pointer_cast<SagaService>(this->shared_from_this()); }

  /// Ties the timers to the service; after construction, because both hold each other weakly.
  void begin() {
    timers->on_due = [weak = this->weak_from_this()](const RunPtr& run) {
      if (const auto held = weak.lock()) held->on_timer(run);
    };
  }

  // ---- the lease

  std::optional<Lease> lease_now() {
    const std::lock_guard lock(mutex);
    return lease;
  }
  void take_lease(const Lease& held) {
    const std::lock_guard lock(mutex);
    lease = held;
  }
  /// Somebody took our name or our time has run out unseen: whatever we still did would be refused.
  void lease_lost(const Error& error) {
    {
      const std::lock_guard lock(mutex);
      lease.reset();
    }
    for (const RunPtr& run : open_runs())
      run->post([self = self(), error](const RunPtr& entered) {
        if (!entered->dropped) self->lose(entered, error);
      });
    house_kept = false;
  }

  /// On `home`. Once for each lease.
  void keep_house() {
    if (!std::exchange(house_kept, true)) std::make_shared<SagaHousekeeping<SagaService>>(self())->next_round();
  }

  std::vector<RunPtr> open_runs() {
    const std::lock_guard lock(mutex);
    std::vector<RunPtr> open;
    open.reserve(runs.size());
    for (const auto& entry : runs) open.push_back(entry.second);
    return open;
  }

  // ---- definitions

  Result<void> add(const std::shared_ptr<const SagaDefinition>& saga) {
    const std::lock_guard lock(mutex);
    auto& known = sagas[{saga->name, saga->version}];
    if (known.definition && known.definition->fingerprint != saga->fingerprint)
      return Error{saga_errc::duplicate_definition, ErrorClass::permanent,
                   "saga " + saga->name + " v" + std::to_string(saga->version) +
                       " is registered with other steps: give the changed one a new version"};
    if (!known.definition) known = {saga, std::make_shared<SagaCounters>(*saga)};
    return {};
  }

  /// Null where it is not registered.
  RegisteredSaga registered(const std::string& name, std::uint32_t number) {
    const std::lock_guard lock(mutex);
    const auto found = sagas.find({name, number});
    return found == sagas.end() ? RegisteredSaga{} : found->second;
  }

  RunPtr find_run(std::string_view id) {
    const std::lock_guard lock(mutex);
    const auto found = runs.find(id);
    return found == runs.end() ? nullptr : found->second;
  }

  // ---- starting

  void start(const std::shared_ptr<const SagaDefinition>& saga, RunId id, Result<std::string> input, SagaStart extra,
             PendingHandler<Result<void>> reply) {
    if (!input) return reply.answer(input.error());
    if (const auto no = why_no_start(id)) return reply.answer(*no);
    const RegisteredSaga known = registered(saga->name, saga->version);
    if (!known.definition || known.definition->fingerprint != saga->fingerprint)
      return reply.answer(Error{saga_errc::definition_missing, ErrorClass::permanent,
                                "saga " + saga->name + " v" + std::to_string(saga->version) + " is not registered"});
    auto [run, is_new] = enter(id, known, options.open_runs_max, [](RunType&) {});
    if (!run)
      return reply.answer(why_no_start(id).value_or(
          Error{saga_errc::too_many_runs, ErrorClass::rejected,
                "run " + id.str() + " was refused: " + std::to_string(options.open_runs_max) + " runs are open"}));
    run->post([self = self(), is_new = is_new, saga, bytes = std::move(*input), more = std::move(extra),
               answer = std::move(reply)](const RunPtr& entered) mutable {
      is_new ? self->begin_run(entered, std::move(bytes), std::move(more), std::move(answer))
             : self->begun_before(entered, saga, std::move(bytes), std::move(more), std::move(answer));
    });
  }

  std::optional<Error> why_no_start(const RunId& id) {
    if (draining.load() || stopped.load())
      return Error{saga_errc::draining, ErrorClass::rejected, "run " + id.str() + " was refused: the runner drains"};
    const std::lock_guard lock(mutex);
    if (!lease)
      return Error{saga_errc::not_recovered, ErrorClass::permanent,
                   "run " + id.str() + " was refused: call recover first"};
    return std::nullopt;
  }

  /// The run of that id and whether it is new; no run where there is no room or no lease. `prepare` is given a new one
  /// before anybody can find it.
  template <class Prepare>
  std::pair<RunPtr, bool> enter(const RunId& id, const RegisteredSaga& saga, std::size_t runs_max, Prepare prepare) {
    const std::lock_guard lock(mutex);
    if (const auto found = runs.find(id.str()); found != runs.end()) return {found->second, false};
    if (!lease || runs.size() >= runs_max) return {nullptr, false};
    auto run = std::make_shared<RunType>(this->shared_from_this(), id, saga);
    run->token = lease->token;
    prepare(*run);
    runs.emplace(run->id.str(), run);
    return {run, true};
  }

  void begin_run(const RunPtr& run, std::string input, SagaStart extra, PendingHandler<Result<void>> reply) {
    const SagaDefinition& saga = *run->saga;
    SagaBirth birth{.saga = saga.name, .version = saga.version, .fingerprint = saga.fingerprint};
    if (saga.deadline > Duration::zero()) {
      birth.deadline = saturating_add(world.wall_now(), saga.deadline);
      run->expires = saturating_add(world.steady_now(), saga.deadline);
    }
    for (const StepDefinition& step : saga.steps) birth.steps.push_back(step.name);
    run->trace = extra.trace;
    RunInput begin = requested(SagaBegin{std::move(birth), std::move(input)}, std::move(reply));
    begin.cause.request->attributes = std::move(extra.attributes);
    this->push(run, std::move(begin));
  }

  /// Answers once the run's first commit is durable, as its first start does.
  void begun_before(const RunPtr& run, const std::shared_ptr<const SagaDefinition>& saga, std::string input,
                    SagaStart extra, PendingHandler<Result<void>> reply) {
    if (run->version == 0 && run->dropped)  // that commit was refused
      return start(saga, run->id, std::move(input), std::move(extra), std::move(reply));
    if (run->version == 0 && !run->pending)  // its first start is on its way here
      return run->post([self = self(), saga, bytes = std::move(input), more = std::move(extra),
                        answer = std::move(reply)](const RunPtr& entered) mutable {
        self->begun_before(entered, saga, std::move(bytes), std::move(more), std::move(answer));
      });
    const std::string& begun_with =
        run->version == 0 ? run->pending->decision.events.front().bytes : run->state.input;
    const Result<void> same = same_start(run->id, *run->saga, begun_with, *saga, input);
    if (!same || run->version != 0) return reply.answer(same);
    constexpr SagaWoke nothing{saga_steps_max};  // waits for its turn behind that commit
    this->push(run, requested(nothing, std::move(reply)));
  }

  static Result<void> same_start(const RunId& id, const SagaDefinition& begun, std::string_view begun_with,
                                 const SagaDefinition& asked, std::string_view input) {
    if (begun.name == asked.name && begun_with == input) return {};
    return Error{saga_errc::different_input, ErrorClass::permanent,
                 "run " + id.str() + " was started before, " +
                     (begun.name == asked.name ? "with another input" : "as a run of " + begun.name)};
  }

  /// Another process, or this one long ago, has begun it: compare with what its history says.
  void already_begun(const RunPtr& run) override {
    log.read(saga_stream(run->id), 0, 1,
             boost::asio::bind_executor(executor, [self = self(), run](Result<std::vector<Record>> records) {
               RunType::enter(run, [self, records = std::move(records)](const RunPtr& entered) {
                 self->compare_births(entered, records);
               });
             }));
  }

  void compare_births(const RunPtr& run, const Result<std::vector<Record>>& records) {
    if (run->dropped) return;
    const SagaEvent& asked = run->pending->decision.events.front();
    Result<void> answer = records ? Result<void>{} : records.error();
    if (records && !records->empty()) {
      Result<SagaEvents> events = decode_saga_record(records->front());
      if (!events)
        answer = events.error();
      else
        answer = same_birth(run->id, events->front(), asked);
    }
    PendingHandler<Result<void>> reply = std::move(run->pending->cause.request->reply);
    this->abandon(run,
                  Error{saga_errc::lost_run, ErrorClass::permanent, "run " + run->id.str() + " is not driven here"});
    reply.answer(std::move(answer));
  }

  static Result<void> same_birth(const RunId& id, const SagaEvent& begun, const SagaEvent& asked) {
    if (begun.birth && begun.birth->saga == asked.birth->saga && begun.bytes == asked.bytes) return {};
    return Error{saga_errc::different_input, ErrorClass::permanent,
                 "run " + id.str() + " was started before, with another input or saga"};
  }

  // ---- waiting

  void wait(const RunId& id, PendingHandler<Result<SagaReport>> waiter) {
    if (const RunPtr run = find_run(id.str()))
      return run->post([self = self(), answer = std::move(waiter)](const RunPtr& entered) mutable {
        if (!entered->dropped && entered->waiters.size() >= self->options.run_inbox_max)
          answer.answer(
              Error{saga_errc::too_many_runs, ErrorClass::rejected, "too many wait for run " + entered->id.str()});
        else if (!entered->dropped)
          entered->waiters.push_back(std::move(answer));
        else
          self->report_from_journal(entered->id, std::move(answer));
      });
    report_from_journal(id, std::move(waiter));
  }

  void report_from_journal(const RunId& id, PendingHandler<Result<SagaReport>> waiter) {
    if (stopped.load()) return waiter.answer(stopped_error(id));
    load_history(log, executor, saga_stream(id), stopped,
                 [self = self(), id, answer = std::move(waiter)](Result<std::vector<Record>> records) mutable {
                   if (!records) return answer.answer(records.error());
                   Result<LoadedRun> loaded = self->build(id, *records);
                   if (!loaded) return answer.answer(loaded.error());
                   if (!loaded->state.ended())
                     return answer.answer(Error{saga_errc::lost_run, ErrorClass::permanent,
                                                "run " + id.str() + " is open, and not driven here"});
                   answer.answer(report_of(loaded->state, *loaded->saga.definition, id));
                 });
  }

  Result<LoadedRun> build(const RunId& id, const std::vector<Record>& records) {
    return build_run(id, records,
                     [this](const std::string& name, std::uint32_t number) { return registered(name, number); });
  }

  // ---- requests for one run

  void request(const RunId& id, SagaInput input, std::string command_stream, PendingHandler<Result<void>> reply) {
    const RunPtr run = find_run(id.str());
    if (!run)
      return reply.answer(
          Error{saga_errc::unknown_run, ErrorClass::permanent, "run " + id.str() + " is not open here"});
    run->post([self = self(), input = requested(std::move(input), std::move(reply), std::move(command_stream))](
                  const RunPtr& entered) mutable { self->push(entered, std::move(input)); });
  }

  void resolve(const RunId& id, OperatorVerb verb, std::string_view step, std::string bytes,
               std::string command_stream, PendingHandler<Result<void>> reply) {
    const RunPtr run = find_run(id.str());
    const int index = run ? run->saga->index_of(step) : -1;
    if (run && index < 0)
      return reply.answer(Error{saga_errc::not_stuck, ErrorClass::permanent,
                                "run " + id.str() + " has no step " + std::string(step)});
    request(id, SagaResolve{verb, static_cast<std::uint8_t>(index < 0 ? 0 : index), std::move(bytes)},
            std::move(command_stream), std::move(reply));
  }

  // ---- draining

  void drain(Duration patience, PendingHandler<Result<void>> reply) {
    draining.store(true);
    boost::asio::post(home, [self = self(), patience, answer = std::move(reply)]() mutable {
      self->drained.push_back(std::move(answer));
      self->world.async_wait_for(
          patience,
          boost::asio::bind_cancellation_slot(
              self->drain_limit.slot(), boost::asio::bind_executor(self->home, [self](boost::system::error_code) {
                self->stop_and_answer();
              })));
      self->drain_progress();
    });
  }

  void drain_progress() override {
    if (in_flight.load() > 0 || busy.load() > 0) return;
    boost::asio::post(home, [self = self()] {
      if (self->in_flight.load() <= 0 && self->busy.load() <= 0)
        self->drain_limit.emit(boost::asio::cancellation_type::terminal);
    });
  }

  /// On `home`. What is still in flight is handed back: whoever resumes the run attempts it again.
  void stop_and_answer() {
    if (drained.empty()) return;
    const bool was_stopped = !stop();  // by its owner, who may have let go of the journal too
    auto answers = std::make_shared<std::vector<PendingHandler<Result<void>>>>(std::move(drained));
    drained.clear();
    std::optional<Lease> held;
    {
      const std::lock_guard lock(mutex);
      held = std::exchange(lease, std::nullopt);
    }
    const auto answer_all = [answers](Result<void> outcome) {
      for (auto& each : *answers) each.answer(outcome);
    };
    if (!held || was_stopped) return answer_all({});
    log.release_lease(*held, boost::asio::bind_executor(home, answer_all));
  }

  /// Lets go of everything; from any thread, any number of times, true the first time. What is durable stays. What
  /// still runs afterwards does not touch the journal.
  bool stop() {
    if (stopped.exchange(true)) return false;
    timers->stop();
    boost::asio::post(home, [self = self()] { self->housekeeping.emit(boost::asio::cancellation_type::terminal); });
    for (const RunPtr& run : open_runs())  // at once: a host may destroy its context without running it again
      RunType::enter(run,
                     [self = self()](const RunPtr& entered) { self->abandon(entered, stopped_error(entered->id)); });
    return true;
  }

  static Error stopped_error(const RunId& id) {
    return Error{saga_errc::draining, ErrorClass::cancelled,
                 "run " + id.str() + " goes on where the runner is started again"};
  }

  boost::asio::strand<boost::asio::any_io_executor> home;  ///< lease, commands, draining
  std::optional<Lease> lease;  ///< under `mutex`
  std::map<std::pair<std::string, std::uint32_t>, RegisteredSaga> sagas;  ///< under `mutex`
  boost::asio::cancellation_signal housekeeping, drain_limit;  // on `home`
  std::vector<PendingHandler<Result<void>>> drained;  // on `home`
  bool house_kept = false;  // on `home`
};

}  // namespace aura::detail
