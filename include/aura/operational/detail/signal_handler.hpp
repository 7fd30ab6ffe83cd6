// A host's handler in any of its styles as one erased call.
#pragma once

#include <aura/core/detail/post.hpp>
#include <aura/core/exception.hpp>
#include <aura/core/result.hpp>
#include <aura/operational/signal_done.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/strand.hpp>

#include <functional>
#include <memory>
#include <span>
#include <type_traits>
#include <utility>

namespace aura::detail {

/// The signals of one call and the state that was fetched for each.
template <class S, class State>
struct SignalCall {
  std::span<S> signals{};
  std::span<State> states{};
};

/// A handler takes a signal or a span of them; then, if it wants, the state; then, if it ends later, a `SignalDone`.
template <class F, class S, class State, class... Done>
decltype(auto) call_signal_handler(F& f, const SignalCall<S, State>& call, Done... done) {
  if constexpr (std::is_invocable_v<F&, S&, State&, Done...>)
    return f(call.signals.front(), call.states.front(), std::move(done)...);
  else if constexpr (std::is_invocable_v<F&, S&, Done...>)
    return f(call.signals.front(), std::move(done)...);
  else if constexpr (std::is_invocable_v<F&, std::span<S>, std::span<State>, Done...>)
    return f(call.signals, call.states, std::move(done)...);
  else
    return f(call.signals, std::move(done)...);
}

template <class F, class S, class State, class... Done>
inline constexpr bool takes_one_signal =
    std::is_invocable_v<F&, S&, State&, Done...> || std::is_invocable_v<F&, S&, Done...>;
template <class F, class S, class State, class... Done>
inline constexpr bool takes_signal_span = std::is_invocable_v<F&, std::span<S>, std::span<State>, Done...> ||
                                          std::is_invocable_v<F&, std::span<S>, Done...>;

/// True where `F` is a handler at all.
template <class F, class S, class State>
concept signal_handler = takes_one_signal<F, S, State> || takes_signal_span<F, S, State> ||
                         takes_one_signal<F, S, State, SignalDone> || takes_signal_span<F, S, State, SignalDone>;

/// True where it takes batches.
template <class F, class S, class State>
inline constexpr bool handles_batches = !takes_one_signal<F, S, State> && !takes_one_signal<F, S, State, SignalDone>;

template <class T>
inline constexpr bool is_awaitable_signal_result = false;
template <class T, class Executor>
inline constexpr bool is_awaitable_signal_result<boost::asio::awaitable<T, Executor>> = true;

template <class F, class S, class State>
Result<void> signal_result_of(F& f, const SignalCall<S, State>& call) try {
  if constexpr (std::is_void_v<decltype(call_signal_handler(f, call))>) {
    call_signal_handler(f, call);
    return {};
  } else {
    return call_signal_handler(f, call);
  }
} catch (...) {
  return error_of_current_exception("the signal handler");
}

template <class F, class S, class State>
boost::asio::awaitable<void> run_signal_coroutine(std::shared_ptr<F> f, SignalCall<S, State> call, SignalDone done) {
  Result<void> result;
  try {
    using Value = typename std::remove_cvref_t<decltype(call_signal_handler(*f, call))>::value_type;
    if constexpr (std::is_void_v<Value>) {
      co_await call_signal_handler(*f, call);
    } else {
      Value value = co_await call_signal_handler(*f, call);
      result = std::move(value);
    }
  } catch (...) {
    result = error_of_current_exception("the signal handler");
  }
  done(std::move(result));
}

template <class S, class State>
using ErasedSignalHandler =
    std::function<void(const boost::asio::any_io_executor&, SignalCall<S, State>, SignalDone)>;

/// Runs on the executor that it is given, by a post; a coroutine on a strand of its own there.
template <class S, class State, class F>
  requires signal_handler<F, S, State>
ErasedSignalHandler<S, State> erase_signal_handler(F handler) {
  return [f = std::make_shared<F>(std::move(handler))](const boost::asio::any_io_executor& executor,
                                                       SignalCall<S, State> call, SignalDone done) {
    if constexpr (takes_one_signal<F, S, State, SignalDone> || takes_signal_span<F, S, State, SignalDone>) {
      detail::post(executor, [f, call, done = std::move(done)] {
        try {
          call_signal_handler(*f, call, done);
        } catch (...) {
          done(error_of_current_exception("the signal handler"));
        }
      });
    } else if constexpr (is_awaitable_signal_result<std::remove_cvref_t<decltype(call_signal_handler(*f, call))>>) {
      boost::asio::co_spawn(boost::asio::make_strand(executor), run_signal_coroutine(f, call, std::move(done)),
                            boost::asio::detached);
    } else {
      detail::post(executor, [f, call, done = std::move(done)] { done(signal_result_of(*f, call)); });
    }
  };
}

}  // namespace aura::detail
