// A call of which one thing happens at a time, on a strand as soon as it has to wait.
#pragma once

#include <aura/core/detail/post.hpp>
#include <aura/core/runtime.hpp>
#include <aura/operational/detail/call_registry.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/strand.hpp>

#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>

namespace aura::detail {

/// A wait that can be called off. Used on one strand; a stale one is known by its number.
struct CallTimer {
  boost::asio::cancellation_signal signal;
  std::uint32_t number = 0;
  bool armed = false;

  void disarm() {
    if (!std::exchange(armed, false)) return;
    ++number;
    signal.emit(boost::asio::cancellation_type::terminal);
  }
};

/// Begins on the executor, where nothing else happens beside it, and moves to a strand of its own when there is something
/// to wait for: from there on nothing of it goes on where it was. A call that never waits never pays for a strand.
///
/// `Self` has `finish(Error)`, which sets `finished_`; `State` has `world` and `calls`.
template <class Self, class State>
class SerialCall : public StoppableCall {
 public:
  SerialCall(const SerialCall&) = delete;
  SerialCall& operator=(const SerialCall&) = delete;

  void request_cancel() override {
    if ((flags_.fetch_or(cancel_flag, std::memory_order_acq_rel) & serial_flag) != 0) post_cancel();
  }

 protected:
  explicit SerialCall(std::shared_ptr<State> state) : state_(std::move(state)), executor_(state_->world.executor()) {}
  ~SerialCall() {
    if (is_serial()) state_->calls->remove(*this);
  }

  static Error cancelled() noexcept {
    return Error::fixed(core_errc::cancelled, ErrorClass::cancelled, "the call was cancelled");
  }
  bool cancel_requested() const noexcept { return (flags_.load(std::memory_order_relaxed) & cancel_flag) != 0; }
  std::shared_ptr<Self> self() { return std::static_pointer_cast<Self>(shared_from_this()); }

  template <class Step>
  void post_step(Step step) {
    detail::post(executor_, [self = self(), step = std::move(step)]() mutable {
      if (!self->finished_) step(*self);
    });
  }

  /// From here on things may happen beside each other. The last thing that its caller does.
  template <class Step>
  void serially(Step step) {
    if (is_serial()) return step(static_cast<Self&>(*this));
    executor_ = boost::asio::make_strand(state_->world.executor());
    const bool to_go_on = state_->calls->add(*this);
    const auto before = flags_.fetch_or(serial_flag, std::memory_order_acq_rel);
    if (!to_go_on || (before & cancel_flag) != 0)
      post_cancel();
    else
      post_step(std::move(step));
  }

  /// `step(call)` after that time, unless the timer is disarmed before.
  template <class Step>
  void arm(CallTimer& timer, Duration span, std::shared_ptr<void> keeps_timer, Step step) {
    timer.armed = true;
    auto due = [self = self(), &timer, keeps_timer = std::move(keeps_timer), number = ++timer.number,
                step = std::move(step)](boost::system::error_code) mutable {
      if (number != timer.number) return;
      timer.armed = false;
      if (!self->finished_) step(*self);
    };
    state_->world.async_wait_for(
        span, boost::asio::bind_executor(executor_,
                                         boost::asio::bind_cancellation_slot(timer.signal.slot(), std::move(due))));
  }

  std::shared_ptr<State> state_;
  boost::asio::any_io_executor executor_;
  bool finished_ = false;

 private:
  static constexpr std::uint8_t cancel_flag = 1, serial_flag = 2;

  bool is_serial() const noexcept { return (flags_.load(std::memory_order_acquire) & serial_flag) != 0; }
  void post_cancel() {
    post_step([](Self& call) { call.finish(cancelled()); });
  }

  std::atomic<std::uint8_t> flags_{0};
};

}  // namespace aura::detail
