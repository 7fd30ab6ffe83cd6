// What the compiler can know of an action: which input it takes, what it gives, whether it fits.
#pragma once

#include <aura/core/codec.hpp>
#include <aura/durable/step.hpp>
#include <aura/durable/step_context.hpp>

#include <boost/asio/awaitable.hpp>

#include <optional>
#include <tuple>
#include <type_traits>

namespace aura::detail {

struct unknown_type {};

// The first parameter of a callable that has just one signature; unknown_type otherwise.

template <class... Args>
struct first_of {
  using type = unknown_type;
};
template <class First, class... Rest>
struct first_of<First, Rest...> {
  using type = std::remove_cvref_t<First>;
};

template <class F>
struct first_parameter {
  using type = unknown_type;
};
template <class R, class... Args>
struct first_parameter<R (*)(Args...)> : first_of<Args...> {};
template <class R, class... Args>
struct first_parameter<R (*)(Args...) noexcept> : first_of<Args...> {};
template <class R, class C, class... Args>
struct first_parameter<R (C::*)(Args...)> : first_of<Args...> {};
template <class R, class C, class... Args>
struct first_parameter<R (C::*)(Args...) const> : first_of<Args...> {};
template <class R, class C, class... Args>
struct first_parameter<R (C::*)(Args...) noexcept> : first_of<Args...> {};
template <class R, class C, class... Args>
struct first_parameter<R (C::*)(Args...) const noexcept> : first_of<Args...> {};
template <class F>
  requires requires { &F::operator(); }
struct first_parameter<F> : first_parameter<decltype(&F::operator())> {};
template <class T, class F>
struct first_parameter<Initiation<T, F>> : first_parameter<F> {};

// What is inside Result, awaitable and WithEffect.

template <class T>
struct unwrapped {
  using type = T;
};
template <class T>
struct unwrapped<Result<T>> : unwrapped<T> {};
template <class T>
struct unwrapped<WithEffect<T>> : unwrapped<T> {};
template <class T, class E>
struct unwrapped<boost::asio::awaitable<T, E>> : unwrapped<T> {};

template <class T>
inline constexpr bool is_awaitable = false;
template <class T, class E>
inline constexpr bool is_awaitable<boost::asio::awaitable<T, E>> = true;
template <class F>
inline constexpr bool is_initiation = false;
template <class T, class F>
inline constexpr bool is_initiation<Initiation<T, F>> = true;
template <class T>
inline constexpr bool is_result = false;
template <class T>
inline constexpr bool is_result<Result<T>> = true;
template <class T>
inline constexpr bool is_with_effect = false;
template <class T>
inline constexpr bool is_with_effect<WithEffect<T>> = true;

/// The handler that an Initiation is given.
template <class T>
class InitiationHandler;

/// Calls `f` with the arguments and, where it takes one, the context.
template <class F, class... Args>
decltype(auto) call_action(F& f, StepContext& context, Args&... args) {
  if constexpr (std::is_invocable_v<F&, Args&..., StepContext&>)
    return f(args..., context);
  else
    return f(args...);
}

template <class F, class... Args>
concept fits_action = std::is_invocable_v<F&, Args&..., StepContext&> || std::is_invocable_v<F&, Args&...>;

template <class T, class... Args>
struct returned {
  using type = unknown_type;
};
template <class F, class... Args>
  requires fits_action<F, Args...>
struct returned<F, Args...> {
  using type = decltype(call_action(std::declval<F&>(), std::declval<StepContext&>(), std::declval<Args&>()...));
};

/// The value an action gives when called with these (const) arguments.
template <class F, class... Args>
struct action_value {
  using type = typename unwrapped<typename returned<F, Args...>::type>::type;
};
template <class T, class F, class... Args>
struct action_value<Initiation<T, F>, Args...> {
  using type = T;
};

template <class F, class... Args>
struct action_fits : std::bool_constant<fits_action<F, Args...>> {};
template <class T, class F, class... Args>
struct action_fits<Initiation<T, F>, Args...>
    : std::bool_constant<std::is_invocable_v<F&, Args&..., StepContext&, InitiationHandler<T>> ||
                         std::is_invocable_v<F&, Args&..., InitiationHandler<T>>> {};

// A compensation takes (input, optional<result>) or (input); of an action without a result only (input).

template <class Value>
struct own_result {
  using type = const std::optional<Value>;
};
template <>
struct own_result<void> {
  using type = void;
};

template <class F, class Input, class Value>
inline constexpr bool undo_takes_result = action_fits<F, const Input, const std::optional<Value>>::value;
template <class F, class Input>
inline constexpr bool undo_takes_result<F, Input, void> = false;

template <class F, class Input, class Value>
inline constexpr bool undo_fits = undo_takes_result<F, Input, Value> || action_fits<F, const Input>::value;

template <class F, class Input, class Value>
struct undo_value {
  using type = typename action_value<F, const Input>::type;
};
template <class F, class Input, class Value>
  requires undo_takes_result<F, Input, Value>
struct undo_value<F, Input, Value> {
  using type = typename action_value<F, const Input, const std::optional<Value>>::type;
};

}  // namespace aura::detail
