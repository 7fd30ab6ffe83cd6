// What an action answers to when a breaker made the call: records the outcome, then hands the result on.
#pragma once

#include <aura/core/outcome.hpp>
#include <aura/core/result.hpp>
#include <aura/core/runtime.hpp>
#include <aura/operational/detail/action.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/execution/outstanding_work.hpp>
#include <boost/asio/prefer.hpp>

#include <optional>
#include <type_traits>
#include <utility>

namespace aura::detail {

/// An error counts as its class says.
struct JudgedByError {
  template <class T>
  std::optional<ErrorClass> operator()(const Result<T>& result) const noexcept {
    return result ? std::nullopt : std::optional(result.error().error_class());
  }
};

/// Destroyed without an answer it drops its permit, which then counts as cancelled.
template <class Permit, class T, class Judge, class Handler>
class BreakerCall {
 public:
  using cancellation_slot_type = boost::asio::associated_cancellation_slot_t<Handler>;

  BreakerCall(Permit permit, Judge judge, Handler handler, AnyRuntime world, SteadyTime began)
      : permit_(std::move(permit)),
        judge_(std::move(judge)),
        executor_(boost::asio::prefer(boost::asio::get_associated_executor(handler, world.executor()),
                                      boost::asio::execution::outstanding_work.tracked)),
        handler_(std::move(handler)),
        world_(world),
        began_(began) {}

  cancellation_slot_type get_cancellation_slot() const noexcept {
    return boost::asio::get_associated_cancellation_slot(handler_);
  }

  void operator()(Result<T> result) {
    const SteadyTime now = world_.steady_now();
    permit_.record({.failure = judge_(result), .latency = now - began_}, now);
    boost::asio::dispatch(executor_, [handler = std::move(handler_), result = std::move(result)]() mutable {
      std::move(handler)(std::move(result));
    });
  }

 private:
  using HandlerExecutor = boost::asio::associated_executor_t<Handler, boost::asio::any_io_executor>;
  using Tracked = std::decay_t<decltype(boost::asio::prefer(std::declval<const HandlerExecutor&>(),
                                                            boost::asio::execution::outstanding_work.tracked))>;

  Permit permit_;
  Judge judge_;
  Tracked executor_;
  Handler handler_;
  AnyRuntime world_;
  SteadyTime began_;
};

template <class Permit, class F, class Judge, class Handler>
void start_breaker_call(AnyRuntime world, Permit permit, F f, Judge judge, Handler handler, SteadyTime now) {
  detail::start_action(world.executor(), std::move(f),
                       BreakerCall<Permit, action_value_t<F>, Judge, Handler>(std::move(permit), std::move(judge),
                                                                              std::move(handler), world, now));
}

}  // namespace aura::detail
