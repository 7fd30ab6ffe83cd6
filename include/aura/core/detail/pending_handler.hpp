// A handler that waits for its answer, which it gets by a post and never inline.
#pragma once

#include <aura/core/detail/post.hpp>

#include <boost/asio/any_completion_executor.hpp>
#include <boost/asio/any_completion_handler.hpp>
#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/execution/outstanding_work.hpp>
#include <boost/asio/prefer.hpp>

#include <new>
#include <utility>

namespace aura::detail {

/// Holds a handler for `void(T)` and outstanding work on its executor, so that a host's `run()` does not return while
/// an answer is due. Whether it holds anything can be asked; it is answered at most once.
template <class T>
class PendingHandler {
 public:
  PendingHandler() = default;
  template <class Handler>
  PendingHandler(Handler handler, const boost::asio::any_io_executor& fallback)
      : fallback_(fallback),
        executor_(boost::asio::prefer(
            boost::asio::any_completion_executor(boost::asio::get_associated_executor(handler, fallback)),
            boost::asio::execution::outstanding_work.tracked)),
        handler_(std::move(handler)) {}
  PendingHandler(PendingHandler&&) = default;
  /// By destruction and construction: any_completion_handler of Boost 1.81 crashes on move assignment.
  PendingHandler& operator=(PendingHandler&& other) noexcept {
    if (this != &other) {
      this->~PendingHandler();
      new (this) PendingHandler(std::move(other));
    }
    return *this;
  }
  ~PendingHandler() = default;

  explicit operator bool() const noexcept { return static_cast<bool>(handler_); }

  /// A handler's own executor may run at once what it is given, so the answer is posted to the fallback and handed to
  /// that executor from there.
  void answer(T value) {
    if (!handler_) return;
    detail::post(fallback_, [executor = std::move(executor_), handler = std::move(handler_),
                             value = std::move(value)]() mutable {
      executor.execute([handler = std::move(handler), value = std::move(value)]() mutable {
        std::move(handler)(std::move(value));
      });
    });
  }

 private:
  boost::asio::any_io_executor fallback_;
  boost::asio::any_completion_executor executor_;
  boost::asio::any_completion_handler<void(T)> handler_;
};

}  // namespace aura::detail
