// What a user may hand over to be guarded, and what the compiler can know of it.
#pragma once

#include <aura/core/result.hpp>

#include <boost/asio/awaitable.hpp>

#include <concepts>
#include <functional>
#include <type_traits>
#include <utility>

namespace aura {

namespace detail {

/// The handler that an initiation is given: see detail/action.hpp.
template <class T>
class ActionHandler;

template <class T, class F>
struct InitiationAction {
  using value_type = T;
  F initiate;
};

// An initiation is known by its shape, so that the one of the durable layer serves as well.
template <class F>
concept initiated_action = !std::invocable<F&> && requires(F& f) {
  typename F::value_type;
  f.initiate;
};

template <class T>
struct unwrapped_action {
  using type = T;
};
template <class T>
struct unwrapped_action<Result<T>> : unwrapped_action<T> {};
template <class T, class E>
struct unwrapped_action<boost::asio::awaitable<T, E>> : unwrapped_action<T> {};

template <class T>
inline constexpr bool is_awaitable_action = false;
template <class T, class E>
inline constexpr bool is_awaitable_action<boost::asio::awaitable<T, E>> = true;

template <class F>
struct action_traits {};
template <class F>
  requires std::invocable<F&>
struct action_traits<F> {
  using returned = std::remove_cvref_t<std::invoke_result_t<F&>>;
  using value = typename unwrapped_action<returned>::type;
  static constexpr bool initiated = false;
  static constexpr bool awaited = is_awaitable_action<returned>;
};
template <initiated_action F>
struct action_traits<F> {
  using value = typename F::value_type;
  static constexpr bool initiated = true;
  static constexpr bool awaited = false;
};
template <class F>
struct action_traits<std::reference_wrapper<F>> : action_traits<F> {};

/// What an action gives when all goes well: T; void where it gives nothing.
template <class F>
using action_value_t = typename action_traits<std::decay_t<F>>::value;

/// True where it answers before it returns.
template <class F>
inline constexpr bool is_plain_action =
    !action_traits<std::decay_t<F>>::initiated && !action_traits<std::decay_t<F>>::awaited;

}  // namespace detail

/// What may be guarded, retried and hedged: a callable without arguments that returns T, `Result<T>`, void, or a
/// `boost::asio::awaitable` of those; or an `initiation<T>(f)`. It may be called several times, and, where it is
/// hedged, while another call of it is in flight. What it throws becomes an error (core/exception.hpp).
template <class F>
concept action = requires { typename detail::action_value_t<F>; };

/// An action that is started and calls a handler later: `f(handler)`. The handler is a copyable callable that takes an
/// `aura::Result<T>` and may be called on any thread; the first call counts. Dropped without a call it gives an error.
/// Its `get_cancellation_slot()` and `get_executor()` are for the operation that `f` starts.
template <class T, class F>
detail::InitiationAction<T, std::decay_t<F>> initiation(F&& f) {
  return {std::forward<F>(f)};
}

}  // namespace aura
