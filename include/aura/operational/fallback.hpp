// What is answered where everything else has failed.
#pragma once

#include <aura/core/error.hpp>
#include <aura/operational/action.hpp>

#include <concepts>
#include <functional>
#include <type_traits>
#include <utility>

namespace aura {

/// A part of a `Pipeline`, the outermost: `f(const Error&)` gives what is answered instead of that error, in any style
/// of an action that returns (a value, a Result, an awaitable of those). Its own failure is the call's. A cancelled
/// call has no fallback: nobody waits for it.
///
///     aura::Fallback last_known([&](const aura::Error&) { return cache.last_price(); });
template <class F>
  requires action<std::function<std::invoke_result_t<F&, const Error&>()>>
class Fallback {
 public:
  explicit Fallback(F f) : f_(std::move(f)) {}

  /// Only for errors of which `applies(error)` holds: not for a caller's own mistakes, say.
  Fallback when(std::function<bool(const Error&)> applies) && {
    applies_ = std::move(applies);
    return std::move(*this);
  }

  bool applies_to(const Error& error) const {
    return error.error_class() != ErrorClass::cancelled && (!applies_ || applies_(error));
  }
  decltype(auto) operator()(const Error& error) { return f_(error); }

 private:
  F f_;
  std::function<bool(const Error&)> applies_;
};

}  // namespace aura
