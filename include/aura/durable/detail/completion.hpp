// How an operation of a journal ends: by a post to its handler's associated executor.
#pragma once

#include <aura/core/detail/post.hpp>

#include <boost/asio/any_completion_executor.hpp>
#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/associated_allocator.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/post.hpp>

#include <concepts>
#include <memory>
#include <utility>

namespace aura::detail {

/// A handler with its result, under the handler's allocator.
template <class Handler, class T>
struct Completion {
  Handler handler;
  T result;

  using allocator_type = boost::asio::associated_allocator_t<Handler>;
  allocator_type get_allocator() const noexcept { return boost::asio::get_associated_allocator(handler); }
  void operator()() { std::move(handler)(std::move(result)); }
};

/// Posts `handler(result)` to its associated executor, or to `fallback` where it has none.
template <class Handler, class T>
void post_completion(const boost::asio::any_io_executor& fallback, Handler handler, T result) {
  using Executor = boost::asio::associated_executor_t<Handler, boost::asio::any_io_executor>;
  constexpr bool own_allocator = !std::same_as<boost::asio::associated_allocator_t<Handler>, std::allocator<void>>;
  Executor executor = boost::asio::get_associated_executor(handler, fallback);
  Completion<Handler, T> completion{std::move(handler), std::move(result)};
  // The executor of an any_completion_handler cannot promise not to run what it is given at once: so there is a post
  // to the fallback first, and a dispatch from there, which is free where the two are the same.
  if constexpr (std::same_as<Executor, boost::asio::any_completion_executor>)
    boost::asio::post(fallback, boost::asio::bind_executor(executor, std::move(completion)));
  else if constexpr (std::same_as<Executor, boost::asio::any_io_executor> && !own_allocator)
    detail::post(executor, std::move(completion));
  else
    boost::asio::post(executor, std::move(completion));
}

}  // namespace aura::detail
