// A post to a type-erased executor, at the price of one copy of it.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/execution/blocking.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/require.hpp>

#include <utility>

namespace aura::detail {

/// What `boost::asio::post(executor, f)` does for an `f` without an executor or an allocator of its own: never at once,
/// always through the queue. That one asks for four properties of the executor in turn, each for a copy and a call
/// through a table; this one asks for the property that matters, and an `io_context` for no erased copy of `f` either.
template <class F>
void post(const boost::asio::any_io_executor& executor, F&& f) {
  using boost::asio::execution::blocking;
  if (const auto* const context = executor.target<boost::asio::io_context::executor_type>())
    boost::asio::require(*context, blocking.never).execute(std::forward<F>(f));
  else
    boost::asio::require(executor, blocking.never).execute(std::forward<F>(f));
}

}  // namespace aura::detail
