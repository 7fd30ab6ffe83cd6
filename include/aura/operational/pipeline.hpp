// Everything that may stand between a caller and its action, composed in one order.
#pragma once

#include <aura/operational/detail/pipeline_call.hpp>

#include <boost/asio/async_result.hpp>

#include <memory>
#include <utility>

namespace aura {

/// Guards calls of actions (operational/action.hpp) with the parts it was made of, which stand, outermost first, in this
/// order and are given in it; any may be left out and then costs nothing:
///
///   Fallback        answers where all that is inside has failed
///   Retry           repeats what is inside, by a policy and within a budget
///   Hedge           starts another attempt beside a slow one; all below is passed by each attempt
///   RateLimiter     takes a token, or waits for one
///   a `guard`       the circuit breaker: hears how the attempt went
///   Bulkhead        takes a place, or waits for one
///   Timeout         limits what is below it
///   FaultInjection  fails or delays in place of the action
///
/// A refusal by a part gives back what the parts before it gave, and counts for the breaker as cancelled: it says nothing
/// of the dependency. Of what an action answers, success and failure of every class but `cancelled` are recorded.
///
/// A part that is an lvalue is used where it stands, is shared with whoever else uses it, and must outlive the pipeline's
/// calls; an rvalue moves in; of a shared_ptr a share is kept.
///
///     aura::Pipeline pipeline(world, aura::Retry({.attempts_max = 3}), breaker, bulkhead, aura::Timeout{200ms});
///     aura::Result<Price> price = co_await pipeline.call([&] { return ask(item); }, boost::asio::use_awaitable);
///
/// May be shared between threads. Everything of one call happens one at a time. Cost of a call: one allocation for all
/// its state and two posts; what waits adds a strand and, for each wait, what the runtime takes; each attempt beside
/// another one (a hedge, or after one that ignores its timeout) one allocation.
template <class... Parts>
class Pipeline {
  static_assert(((detail::role_of<Parts>() != detail::PipelineRole::none) && ...),
                "AURA: a part of this pipeline is no Fallback, Retry, Hedge, RateLimiter, Bulkhead, Timeout or "
                "FaultInjection, and models no guard");
  static_assert(detail::in_stated_order<Parts...>(),
                "AURA: the parts of a pipeline are given outermost first, each at most once: Fallback, Retry, Hedge, "
                "RateLimiter, a guard, Bulkhead, Timeout, FaultInjection");
  using State = detail::PipelineState<Parts...>;

 public:
  template <class... Given>
  explicit Pipeline(AnyRuntime world, Given&&... parts)
      : state_(std::make_shared<State>(world, std::forward<Given>(parts)...)) {}

  /// Calls the action, as often as the parts say. Signature `void(Result<T>)`, T being what the action gives.
  /// Cancellation of any type, at any time: the call completes with `cancelled`, attempts in flight are cancelled, and
  /// everything they held is given back, a place in the bulkhead when the action has really ended. A plain action that has
  /// begun cannot be stopped: the call ends with its answer.
  template <action F, class Token>
    requires boost::asio::completion_token_for<Token, void(Result<detail::action_value_t<F>>)>
  auto call(F&& act, Token&& token) {
    using T = detail::action_value_t<F>;
    return boost::asio::async_initiate<Token, void(Result<T>)>(
        [state = state_](auto handler, std::decay_t<F> held) {
          using Call = detail::PipelineCall<State, std::decay_t<F>, decltype(handler)>;
          std::make_shared<Call>(state, std::move(held), std::move(handler))->begin();
        },
        token, std::forward<F>(act));
  }

  /// Takes no new calls (`draining`) and completes when none is under way: by themselves until `span` has passed, after
  /// that by cancellation, of which the error tells (class timeout). Signature `void(Result<void>)`. An action that
  /// ignores its cancellation may outlast this. Not cancellable.
  template <boost::asio::completion_token_for<void(Result<void>)> Token>
  auto drain(Duration span, Token&& token) {
    return boost::asio::async_initiate<Token, void(Result<void>)>(
        [state = state_](auto handler, Duration within) {
          detail::PendingHandler<Result<void>> answer(std::move(handler), state->world.executor());
          state->calls->drain(state->world, saturating_add(state->world.steady_now(), within), std::move(answer));
        },
        token, span);
  }

  /// Calls under way.
  std::uint64_t in_flight() const noexcept { return state_->calls->in_flight(); }

 private:
  std::shared_ptr<State> state_;
};

template <class... Given>
Pipeline(AnyRuntime, Given&&...) -> Pipeline<Given...>;
template <class R, class... Given>
  requires runtime<R>
Pipeline(R&, Given&&...) -> Pipeline<Given...>;

}  // namespace aura
