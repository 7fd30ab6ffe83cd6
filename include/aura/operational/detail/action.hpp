// Starts an action in its own style, and brings its answer home exactly once.
#pragma once

#include <aura/core/detail/post.hpp>
#include <aura/core/exception.hpp>
#include <aura/operational/action.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/execution/outstanding_work.hpp>
#include <boost/asio/prefer.hpp>

#include <atomic>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

namespace aura::detail {

/// Where an initiation's answer goes. Answered from any thread; the first answer counts, and is posted.
template <class T>
class PendingAction {
 public:
  PendingAction(const boost::asio::any_io_executor& executor, boost::asio::cancellation_slot slot)
      : executor_(boost::asio::prefer(executor, boost::asio::execution::outstanding_work.tracked)), slot_(slot) {}
  PendingAction(const PendingAction&) = delete;
  PendingAction& operator=(const PendingAction&) = delete;
  virtual ~PendingAction() = default;

  void answer(Result<T> result) {
    if (!answered_.exchange(true)) post_answer(std::move(result));
  }
  const boost::asio::any_io_executor& executor() const noexcept { return executor_; }
  boost::asio::cancellation_slot slot() const noexcept { return slot_; }

 protected:
  virtual void post_answer(Result<T> result) = 0;

 private:
  boost::asio::any_io_executor executor_;
  boost::asio::cancellation_slot slot_;
  std::atomic<bool> answered_{false};
};

template <class T, class Handler>
class PendingActionOf final : public PendingAction<T> {
 public:
  PendingActionOf(const boost::asio::any_io_executor& executor, boost::asio::cancellation_slot slot, Handler handler)
      : PendingAction<T>(executor, slot), handler_(std::move(handler)) {}
  ~PendingActionOf() override {
    this->answer(Error::fixed(core_errc::exception, ErrorClass::transient, "the action dropped its handler"));
  }

 private:
  void post_answer(Result<T> result) override {
    detail::post(this->executor(), [handler = std::move(handler_), result = std::move(result)]() mutable {
      std::move(handler)(std::move(result));
    });
  }

  Handler handler_;
};

template <class T>
class ActionHandler {
 public:
  using executor_type = boost::asio::any_io_executor;
  using cancellation_slot_type = boost::asio::cancellation_slot;

  explicit ActionHandler(std::shared_ptr<PendingAction<T>> pending) : pending_(std::move(pending)) {}

  void operator()(Result<T> result) const { pending_->answer(std::move(result)); }

  executor_type get_executor() const noexcept { return pending_->executor(); }
  /// Of use until the handler has been called.
  cancellation_slot_type get_cancellation_slot() const noexcept { return pending_->slot(); }

 private:
  std::shared_ptr<PendingAction<T>> pending_;
};

template <class F>
F& action_target(F& f) noexcept {
  return f;
}
template <class F>
F& action_target(std::reference_wrapper<F>& f) noexcept {
  return f.get();
}

template <class F>
Result<action_value_t<F>> run_plain_action(F& f) try {
  if constexpr (std::is_void_v<typename action_traits<F>::returned>) {
    f();
    return {};
  } else {
    return f();
  }
} catch (...) {
  return error_of_current_exception("the action");
}

/// An optional, as co_spawn makes a value of nothing where an exception leaves, which none does here.
template <class F, class T = action_value_t<F>>
boost::asio::awaitable<std::optional<Result<T>>> await_action(F f) {
  std::optional<Result<T>> result;
  try {
    if constexpr (std::is_void_v<typename action_traits<F>::returned::value_type>) {
      co_await f();
      result.emplace();
    } else {
      auto value = co_await f();
      result.emplace(std::move(value));
    }
  } catch (...) {
    result.emplace(error_of_current_exception("the action"));
  }
  co_return result;
}

template <class F, class Handler>
void start_initiated_action(const boost::asio::any_io_executor& executor, F& f, Handler handler) {
  using T = action_value_t<F>;
  const boost::asio::cancellation_slot slot = boost::asio::get_associated_cancellation_slot(handler);
  const ActionHandler<T> given(std::make_shared<PendingActionOf<T, Handler>>(executor, slot, std::move(handler)));
  try {
    f.initiate(given);
  } catch (...) {
    given(error_of_current_exception("the action"));
  }
}

template <class F, class Handler>
void start_awaited_action(const boost::asio::any_io_executor& executor, F f, Handler handler) {
  using T = action_value_t<F>;
  const boost::asio::cancellation_slot slot = boost::asio::get_associated_cancellation_slot(handler);
  auto done = [handler = std::move(handler)](std::exception_ptr fault, std::optional<Result<T>> result) mutable {
    if (fault || !result)
      result.emplace(Error::fixed(core_errc::exception, ErrorClass::transient, "the action could not be awaited"));
    std::move(handler)(std::move(*result));
  };
  // Without an executor of its own the handler runs on this one, and a cancellation that is emitted there is passed on
  // at once.
  boost::asio::co_spawn(executor, await_action(std::move(f)),
                        boost::asio::bind_cancellation_slot(slot, std::move(done)));
}

/// Starts one attempt of `f`, and calls `handler(Result<T>)` once, on `executor` and never before it returns. The
/// handler's cancellation slot goes to the operation; it must be signalled where `executor` runs, as Asio asks.
/// Where the executor dies first, the handler is destroyed instead.
///
/// `f` is moved into the operation. For one that is kept elsewhere until its handler is gone, pass a `std::ref`.
///
/// A plain action runs on the executor. A coroutine or an initiation begins at once where this is called on it.
/// Cost: a post; a coroutine's frames; for an initiation one allocation and a post.
template <action F, class Handler>
void start_action(const boost::asio::any_io_executor& executor, F f, Handler handler) {
  if constexpr (action_traits<F>::initiated) {
    start_initiated_action(executor, action_target(f), std::move(handler));
  } else if constexpr (action_traits<F>::awaited) {
    start_awaited_action(executor, std::move(f), std::move(handler));
  } else {
    detail::post(executor, [f = std::move(f), handler = std::move(handler)]() mutable {
      std::move(handler)(run_plain_action(action_target(f)));
    });
  }
}

/// As `start_action`, for one who is on the executor already and not within an initiation of its own: a plain action
/// runs here and now, and has answered when this returns.
template <action F, class Handler>
void continue_action(const boost::asio::any_io_executor& executor, F f, Handler handler) {
  if constexpr (is_plain_action<F>)
    std::move(handler)(run_plain_action(action_target(f)));
  else
    start_action(executor, std::move(f), std::move(handler));
}

}  // namespace aura::detail
