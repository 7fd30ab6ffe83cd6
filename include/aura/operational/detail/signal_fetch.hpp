// State that a signal's key needs, fetched before the signal's turn.
#pragma once

#include <aura/core/detail/post.hpp>
#include <aura/core/exception.hpp>
#include <aura/core/result.hpp>
#include <aura/operational/signal_scheduler.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/strand.hpp>

#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

namespace aura::detail {

/// One fetch under way or done. Belongs to the router's strand.
template <class State>
struct SignalFetch {
  std::optional<Result<State>> outcome{};
  std::optional<SignalTicket> awaited_by{};
  boost::asio::cancellation_signal cancel{};
};

template <class Key, class State>
using ErasedFetch = std::function<void(const boost::asio::strand<boost::asio::any_io_executor>&, Key,
                                       boost::asio::cancellation_slot, std::function<void(Result<State>)>)>;

template <class F, class Key, class State>
boost::asio::awaitable<void> run_fetch(std::shared_ptr<F> f, Key key, std::function<void(Result<State>)> done) {
  std::optional<Result<State>> outcome;
  try {
    using Value = typename std::invoke_result_t<F&, Key>::value_type;
    Value value = co_await (*f)(std::move(key));
    outcome.emplace(std::move(value));
  } catch (...) {
    outcome.emplace(error_of_current_exception("the fetch of a signal's state"));
  }
  done(std::move(*outcome));
}

/// `f(Key)` returns `awaitable<State>` or `awaitable<Result<State>>`; it runs on the router's strand and does not block.
template <class Key, class State, class F>
ErasedFetch<Key, State> erase_fetch(F fetch) {
  return [f = std::make_shared<F>(std::move(fetch))](const auto& home, Key key, boost::asio::cancellation_slot slot,
                                                     std::function<void(Result<State>)> done) {
    auto later = [home = boost::asio::any_io_executor(home), done = std::move(done)](Result<State> outcome) {
      detail::post(home, [done, outcome = std::move(outcome)]() mutable { done(std::move(outcome)); });
    };
    boost::asio::co_spawn(home, run_fetch<F, Key, State>(f, std::move(key), std::move(later)),
                          boost::asio::bind_cancellation_slot(slot, [f](std::exception_ptr) {}));
  };
}

}  // namespace aura::detail
