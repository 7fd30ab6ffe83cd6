// SagaRunner: drives sagas over a journal. The thin shell around the pure engine.
#pragma once

#include <aura/durable/detail/dead_letter_tasks.hpp>
#include <aura/durable/detail/saga_recovery.hpp>
#include <aura/durable/detail/saga_service.hpp>
#include <aura/durable/saga.hpp>

#include <boost/asio/async_result.hpp>

#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace aura {

/// Starts runs, carries them through crashes, and answers for them.
///
///     aura::SagaRunner runner{runtime, journal, {.holder = aura::HolderId{"checkout-service"}}};
///     runner.add(checkout);
///     co_await runner.recover(token);                                 // before the first start
///     auto report = co_await runner.run(checkout, aura::RunId{"order-17"}, order, token);
///
/// Every asynchronous function takes a completion token, may be called from any thread, and completes on the handler's
/// executor (by default the runtime's), never inside its own initiation. They cannot be cancelled: to stop waiting for a
/// run, cancel the run, or drain the runner.
///
/// The runtime and the journal must outlive the last handler. Destroying a runner without draining it is safe: nothing
/// durable is lost, who waits is told (saga_errc::draining), and another runner resumes the runs.
///
/// Cost of a step besides its action: one commit, one post, a handful of allocations; about a microsecond on a
/// MemoryJournal. An open run takes about a kilobyte besides its input and results.
template <journal Journal, class Observer = NullObserver>
class SagaRunner {
  using Service = detail::SagaService<Journal, Observer>;
  template <class T>
  using Pending = detail::PendingHandler<T>;

 public:
  /// The journal must outlive the runner; what the runner has left on the executor does not touch it.
  /// \throws std::invalid_argument where the options name no holder.
  SagaRunner(AnyRuntime runtime, Journal& storage, SagaRunnerOptions options, Observer observer = {})
      : service_(std::make_shared<Service>(runtime, storage, checked(std::move(options)), std::move(observer))) {
    service_->begin();
  }
  SagaRunner(const SagaRunner&) = delete;
  SagaRunner& operator=(const SagaRunner&) = delete;
  ~SagaRunner() { service_->stop(); }

  /// Registers a definition, before `recover`. Several versions of a saga may be registered: a run finishes on its
  /// own. saga_errc::duplicate_definition where name and version are taken by other steps.
  template <class... Steps>
  Result<void> add(const Saga<Steps...>& saga) {
    return add(saga.definition());
  }
  Result<void> add(const std::shared_ptr<const SagaDefinition>& saga) { return service_->add(saga); }

  /// Takes the lease and resumes what is open: this holder's runs, and those of holders whose lease has run out. May be
  /// called again, to take over the runs of one that died since. `void(Result<SagaRecovery>)`.
  /// Errors are the journal's. Cost: a claim a thousand runs, a read a run, `recover_concurrency` at once.
  template <boost::asio::completion_token_for<void(Result<SagaRecovery>)> Token>
  auto recover(Token&& token) {
    return initiate<SagaRecovery>(token, [](Service& service, auto pending) {
      using Task = detail::SagaRecoveryTask<Service>;
      boost::asio::post(service.home,
                        [task = std::make_shared<Task>(service.self(), std::move(pending))] { task->begin(); });
    });
  }

  /// Begins a run; completes once that is durable. Starting the same run again, with the same saga and input, succeeds
  /// without effect; with others it is saga_errc::different_input. `void(Result<void>)`.
  template <class... Steps, boost::asio::completion_token_for<void(Result<void>)> Token>
  auto start(const Saga<Steps...>& saga, RunId id, const typename Saga<Steps...>::input_type& input, Token&& token,
             SagaStart extra = {}) {
    return start(saga.definition(), std::move(id), saga.encode_input(input), std::forward<Token>(token),
                 std::move(extra));
  }
  /// The same with a definition made at run time and an encoded input.
  template <boost::asio::completion_token_for<void(Result<void>)> Token>
  auto start(std::shared_ptr<const SagaDefinition> saga, RunId id, Result<std::string> input, Token&& token,
             SagaStart extra = {}) {
    return initiate<void>(token, [saga = std::move(saga), id = std::move(id), bytes = std::move(input),
                                  more = std::move(extra)](Service& service, auto pending) mutable {
      service.start(saga, std::move(id), std::move(bytes), std::move(more), std::move(pending));
    });
  }

  /// Completes when the run has ended, with its results. A stuck run has not ended. `void(Result<SagaReport>)`.
  /// saga_errc::unknown_run where there is none, lost_run where somebody else drives it, draining where the runner stops.
  template <boost::asio::completion_token_for<void(Result<SagaReport>)> Token>
  auto wait(RunId id, Token&& token) {
    return initiate<SagaReport>(
        token, [id = std::move(id)](Service& service, auto pending) { service.wait(id, std::move(pending)); });
  }

  /// `start`, then `wait`.
  template <class... Steps, boost::asio::completion_token_for<void(Result<SagaReport>)> Token>
  auto run(const Saga<Steps...>& saga, RunId id, const typename Saga<Steps...>::input_type& input, Token&& token,
           SagaStart extra = {}) {
    return initiate<SagaReport>(
        token, [definition = saga.definition(), id = std::move(id), bytes = saga.encode_input(input),
                more = std::move(extra)](Service& service, auto pending) mutable {
          const auto wait_for_it = [self = service.self(), id,
                                    answer =
                                        std::make_shared<decltype(pending)>(std::move(pending))](Result<void> begun) {
            if (!begun)
              answer->answer(begun.error());
            else
              self->wait(id, std::move(*answer));
          };
          service.start(definition, id, std::move(bytes), std::move(more),
                        Pending<Result<void>>(wait_for_it, service.executor));
        });
  }

  /// Asks a run to go back: what is in flight is settled, what took effect is undone. Completes once that is recorded.
  /// saga_errc::past_pivot where it only goes forward, unknown_run where it is not open here. `void(Result<void>)`.
  /// Cancelling a run whose pivot is stuck states that the pivot did not happen.
  template <boost::asio::completion_token_for<void(Result<void>)> Token>
  auto cancel(RunId id, std::string reason, Token&& token) {
    return initiate<void>(token, [id = std::move(id), why = std::move(reason)](Service& service, auto pending) {
      service.request(id, SagaCancel{Error{core_errc::cancelled, ErrorClass::cancelled, why}}, {},
                      std::move(pending));
    });
  }

  /// For an operator: attempts a stuck step, or its stuck compensation, again. saga_errc::not_stuck.
  template <boost::asio::completion_token_for<void(Result<void>)> Token>
  auto retry(RunId id, std::string step, std::string reason, Token&& token) {
    return resolve(OperatorVerb::retry, std::move(id), std::move(step), std::move(reason),
                   std::forward<Token>(token));
  }
  /// Takes a stuck step as done without a result, or a stuck compensation as done. saga_errc::result_needed where a
  /// later step takes the result.
  template <boost::asio::completion_token_for<void(Result<void>)> Token>
  auto skip(RunId id, std::string step, std::string reason, Token&& token) {
    return resolve(OperatorVerb::skip, std::move(id), std::move(step), std::move(reason), std::forward<Token>(token));
  }
  /// Takes a stuck step as done with this result, encoded as its codec would.
  template <boost::asio::completion_token_for<void(Result<void>)> Token>
  auto supply(RunId id, std::string step, std::string encoded_result, Token&& token) {
    return resolve(OperatorVerb::supply, std::move(id), std::move(step), std::move(encoded_result),
                   std::forward<Token>(token));
  }

  /// For a DeadLetterQueue: sends a stuck saga's letter again, by a retry of its step under the same idempotency key.
  /// The retry's own commit closes the letter. Does nothing once the runner is gone.
  Redriver redriver() const {
    return
        [weak = std::weak_ptr<Service>(service_)](const DeadLetter& letter, std::function<void(Result<void>)> done) {
          const auto service = weak.lock();
          const std::size_t space = letter.redrive.find(' ');
          const Result<RunId> run = RunId::parse(std::string_view(letter.redrive).substr(0, space));
          if (!service || letter.source != "saga" || space == std::string::npos || !run)
            return done(Error{saga_errc::unknown_run, ErrorClass::permanent,
                              "dead letter " + letter.id + " is not of a saga that is driven here"});
          service->resolve(*run, OperatorVerb::retry, std::string_view(letter.redrive).substr(space + 1), "redriven",
                           {}, Pending<Result<void>>(std::move(done), service->executor));
        };
  }

  /// Runs by state ("running", "compensating", "stuck", "held", "completed", "compensated", "failed") and attributes.
  /// `query.kind` is filled in. `void(Result<StreamPage>)`.
  template <boost::asio::completion_token_for<void(Result<StreamPage>)> Token>
  auto list(StreamQuery query, Token&& token) {
    query.kind = "saga";
    return service_->log.find(std::move(query), std::forward<Token>(token));
  }

  /// Takes no more work, begins no further attempt, and gives those in flight until `patience` is over; then hands back
  /// what is left, releases the lease and completes. The runner is of no use afterwards. `void(Result<void>)`.
  template <boost::asio::completion_token_for<void(Result<void>)> Token>
  auto drain(Duration patience, Token&& token) {
    return initiate<void>(
        token, [patience](Service& service, auto pending) { service.drain(patience, std::move(pending)); });
  }

  /// Counters of one version of a saga; none where it is not registered.
  std::optional<SagaCounts> counts(const std::string& saga, version number) const {
    const auto known = service_->registered(saga, static_cast<std::uint32_t>(number));
    if (!known.definition) return std::nullopt;
    return known.counters->read(*known.definition);
  }

  /// Runs that this runner drives now.
  std::size_t open_runs() const {
    const std::lock_guard lock(service_->mutex);
    return service_->runs.size();
  }

 private:
  static SagaRunnerOptions checked(SagaRunnerOptions options) {
    if (options.holder.empty()) throw std::invalid_argument("SagaRunnerOptions names no holder");
    return options;
  }

  /// Wraps the token's handler as a pending one and hands it to `start_it(service, pending)`.
  template <class T, class Token, class Start>
  auto initiate(Token& token, Start start_it) {
    return boost::asio::async_initiate<Token, void(Result<T>)>(
        [service = service_](auto handler, auto begin) {
          begin(*service, Pending<Result<T>>(std::move(handler), service->executor));
        },
        token, std::move(start_it));
  }

  template <class Token>
  auto resolve(OperatorVerb verb, RunId id, std::string step, std::string bytes, Token&& token) {
    return initiate<void>(token, [verb, id = std::move(id), step = std::move(step), bytes = std::move(bytes)](
                                     Service& service, auto pending) {
      service.resolve(id, verb, step, bytes, {}, std::move(pending));
    });
  }

  std::shared_ptr<Service> service_;
};

}  // namespace aura
