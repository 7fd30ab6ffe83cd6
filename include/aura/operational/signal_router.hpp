// SignalRouter: takes signals from any thread and hands them to a handler, the right one first.
#pragma once

#include <aura/core/dead_letter_sink.hpp>
#include <aura/core/detail/pending_handler.hpp>
#include <aura/core/observer.hpp>
#include <aura/core/run_starter.hpp>
#include <aura/core/runtime.hpp>
#include <aura/operational/detail/signal_fetch.hpp>
#include <aura/operational/detail/signal_handler.hpp>
#include <aura/operational/detail/signal_service.hpp>
#include <aura/operational/signal.hpp>
#include <aura/operational/signal_class.hpp>
#include <aura/operational/signal_done.hpp>
#include <aura/operational/signal_event.hpp>
#include <aura/operational/signal_scheduler.hpp>

#include <boost/asio/async_result.hpp>

#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace aura {

struct SignalRouterOptions {
  std::vector<SignalClass> classes = default_signal_classes();  ///< the most urgent first; at most eight
  std::size_t parallel_max = 64;  ///< handlers at once, for different keys
  std::size_t fetch_ahead = 8;    ///< fetches of state under way before their signals' turns
  std::size_t dedup_ids_max = 65'536;
  Duration dedup_span = std::chrono::minutes(10);
  double caution = 3;  ///< of admission; see SignalSchedulerOptions
  std::string name = "signals";  ///< in dead letters: their queue, and the start of their ids
};

/// No state is fetched.
struct NoSignalState {};

/// A router of signals of one payload type. See `SignalScheduler` for who is accepted and who goes next.
///
///     aura::SignalRouter<Order> router(runtime, {}, [](aura::Signal<Order>& signal) -> asio::awaitable<void> { … });
///     router.post({.key = "cart-7", .class_index = aura::DefaultClass::high, .deadline = now + 20ms, .payload = order});
///
/// A handler takes `Signal&`, or `std::span<Signal>` for classes with batches (otherwise a batch is one signal); then,
/// if the router fetches state, `State&` or `std::span<State>`; then, if it ends after it returns, a `SignalDone`. It
/// returns void, `Result<void>`, or an awaitable of one of these, and runs on the runtime's executor: handlers of one
/// key one after the other, of different keys at once. It must not block. A throw is a failure of its signals.
///
/// Who hears of a signal that is refused, dropped, or failed in its handler: its sender, where it came by `send`; else
/// the dead letters, where there are any; and the observer (`SignalRefused`, `SignalDropped`, `SignalHandled`), always.
///
/// `post`, `send`, `credits` and `stats` may be called from any thread; `fetch` and `dead_letters` before the first
/// signal. Nothing can be cancelled. The runtime must outlive the last handler. Destroying a router drops what waits, as
/// a drain whose time is up does; what runs goes on, and keeps what it needs alive.
template <class Payload, class Key = std::string, class State = NoSignalState, class Observer = NullObserver>
class SignalRouter {
  using Service = detail::SignalService<Payload, Key, State, Observer>;
  template <class T>
  using Pending = detail::PendingHandler<T>;

 public:
  using signal_type = Signal<Payload, Key>;
  using Options = SignalRouterOptions;

  /// \throws std::invalid_argument where there is no class, more than eight, or nothing may run.
  template <class Handler>
    requires detail::signal_handler<Handler, signal_type, State>
  SignalRouter(AnyRuntime runtime, const Options& options, Handler handler, Observer observer = {})
      : name_(options.name) {
    typename Service::Setup setup;
    setup.scheduler = scheduler_options(runtime, options, detail::handles_batches<Handler, signal_type, State>);
    setup.fetch_ahead = options.fetch_ahead;
    setup.handler = detail::erase_signal_handler<signal_type, State>(std::move(handler));
    service_ = std::make_shared<Service>(runtime, std::move(setup), std::move(observer));
  }
  SignalRouter(const SignalRouter&) = delete;
  SignalRouter& operator=(const SignalRouter&) = delete;
  ~SignalRouter() { service_->stop(); }

  /// The state that a key needs, by `fetch(Key)` → `awaitable<State>` or of `Result<State>`. It is called on the router's
  /// strand, for a few signals that will go next while others run, and at the latest when it is a signal's turn; it is
  /// cancelled when its signal is dropped. Where it fails, its call fails, and the handler is not called.
  template <class Fetch>
  void fetch(Fetch fetch) {
    service_->on_fetch(detail::erase_fetch<Key, State>(std::move(fetch)));
  }

  /// Where signals end that nobody else is told of; `encode(const Signal&)` → what a letter's payload and `redrive` shall
  /// be, as std::string. The sink must outlive the router's last handler.
  template <dead_letter_sink Sink, class Encode>
  void dead_letters(Sink& sink, Encode encode) {
    service_->on_letter([&sink, encode = std::move(encode), name = name_, world = service_->world,
                         dice = service_->world.random("aura.signal_router.letters")](const signal_type& signal,
                                                                                      const Error& error) mutable {
      DeadLetter letter;
      letter.id = name + "/" + std::to_string(dice());
      letter.queue = name;
      letter.source = "signal";
      letter.what = error.message();
      letter.payload = encode(signal);
      letter.error = error;
      letter.attempts = 1;
      letter.first_failure = letter.last_failure = world.wall_now();
      sink.offer(std::move(letter), boost::asio::any_completion_handler<void(Result<void>)>([](Result<void>) {}));
    });
  }

  /// Hands a signal in. An error here (class unknown or full, router draining) means that the router does not have it.
  /// What is refused later (too late, infeasible, a duplicate) goes to the dead letters and the observer.
  /// Cost: two atomic operations, a move, and a post where the router was at rest.
  Result<void> post(signal_type signal) { return service_->post({std::move(signal), {}}); }

  /// Hands a signal in and completes when its fate is known: success once its handler has succeeded, else the refusal
  /// (SignalRefusal, with when to try again), the drop (SignalDrop), or the handler's error. `void(Result<void>)`.
  template <boost::asio::completion_token_for<void(Result<void>)> Token>
  auto send(signal_type signal, Token&& token) {
    return boost::asio::async_initiate<Token, void(Result<void>)>(
        [service = service_](auto handler, signal_type given) {
          typename Service::Envelope envelope{std::move(given),
                                              Pending<Result<void>>(std::move(handler), service->executor)};
          if (const Result<void> posted = service->post(std::move(envelope)); !posted)
            envelope.on_done.answer(posted);
        },
        token, std::move(signal));
  }

  /// How many more signals a class would take now: for whoever reads from a socket, and would rather not read.
  std::size_t credits(std::uint8_t class_index) const noexcept { return service_->front.credits(class_index); }
  /// Completes once the class has that many credits; SignalRefusal::draining where it will not have them any more, full
  /// where 64 wait so already. Others may take them meanwhile. `void(Result<void>)`.
  template <boost::asio::completion_token_for<void(Result<void>)> Token>
  auto await_credits(std::uint8_t class_index, std::size_t count, Token&& token) {
    return boost::asio::async_initiate<Token, void(Result<void>)>(
        [service = service_](auto handler, std::uint8_t index, std::size_t wanted) {
          service->await_credits(index, wanted, Pending<Result<void>>(std::move(handler), service->executor));
        },
        token, class_index, count);
  }

  /// Takes no more, and completes when all that was taken is handled; at the deadline what waits still is dropped
  /// (SignalDrop::drained), and it completes with what was left. `void(Result<SignalDrainReport>)`.
  template <boost::asio::completion_token_for<void(Result<SignalDrainReport>)> Token>
  auto drain(SteadyTime deadline, Token&& token) {
    return boost::asio::async_initiate<Token, void(Result<SignalDrainReport>)>(
        [service = service_](auto handler, SteadyTime by) {
          service->drain(by, Pending<Result<SignalDrainReport>>(std::move(handler), service->executor));
        },
        token, deadline);
  }

  /// Of one class, which is one of the router's.
  SignalClassStats stats(std::uint8_t class_index) const { return service_->stats(class_index); }
  /// Signals of a class that is none of the router's.
  std::uint64_t unknown_class_refused() const noexcept { return service_->front.unknown(); }

 private:
  static SignalSchedulerOptions scheduler_options(const AnyRuntime& runtime, const Options& options, bool batches) {
    SignalSchedulerOptions out;
    out.classes = options.classes;
    for (SignalClass& each : out.classes)
      if (!batches) each.batch.size_max = 1;
    out.parallel_max = options.parallel_max;
    out.dedup_ids_max = options.dedup_ids_max;
    out.dedup_span = options.dedup_span;
    out.caution = options.caution;
    out.hash_seed = runtime.random("aura.signal_router.hash")();
    return out;
  }

  std::string name_;
  std::shared_ptr<Service> service_;
};

/// A handler that begins a durable run for each signal, and acknowledges it once the journal has the run.
/// `id_of(const Signal&)` → RunId, `encode(const Signal&)` → std::string.
template <class S, class IdOf, class Encode>
auto start_runs(AnyRunStarter starter, IdOf id_of, Encode encode) {
  return [starter = std::move(starter), id_of = std::move(id_of), encode = std::move(encode)](S& signal,
                                                                                              SignalDone done) {
    starter.start(id_of(std::as_const(signal)), encode(std::as_const(signal)),
                  [done = std::move(done)](Result<void> begun) { done(std::move(begun)); });
  };
}

}  // namespace aura
