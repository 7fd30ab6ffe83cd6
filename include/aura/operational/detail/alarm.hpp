// One alarm that many threads may move: what a queue with deadlines needs of a runtime.
#pragma once

#include <aura/core/detail/post.hpp>
#include <aura/core/runtime.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/strand.hpp>

#include <functional>
#include <memory>
#include <utility>

namespace aura::detail {

/// At most one wait at a time, on a strand of its own. `set` from any thread; one set under a lock of the owner keeps
/// that lock's order. Rings on the strand; an alarm that is due already rings soon. Keep what `ring` refers to alive by
/// a weak pointer in it.
class Alarm : public std::enable_shared_from_this<Alarm> {
 public:
  Alarm(AnyRuntime world, std::function<void()> ring)
      : world_(world),
        strand_(boost::asio::make_strand(world.executor())),
        any_strand_(strand_),
        ring_(std::move(ring)) {}

  /// Forgets the time set before. SteadyTime::max() is never.
  void set(SteadyTime when) {
    detail::post(any_strand_, [self = shared_from_this(), when] { self->move_to(when); });
  }

 private:
  void move_to(SteadyTime when) {
    wanted_ = when;
    if (!waiting_) return arm();
    if (wanted_ != armed_) signal_.emit(boost::asio::cancellation_type::terminal);  // and it is armed anew
  }

  void arm() {
    if (wanted_ == SteadyTime::max()) return;
    waiting_ = true;
    armed_ = wanted_;
    auto woken = [self = shared_from_this()](boost::system::error_code) { self->woken(); };
    world_.async_wait_until(armed_, boost::asio::bind_executor(strand_, boost::asio::bind_cancellation_slot(
                                                                            signal_.slot(), std::move(woken))));
  }

  void woken() {
    waiting_ = false;
    if (wanted_ > world_.steady_now()) return arm();
    wanted_ = SteadyTime::max();
    ring_();
  }

  AnyRuntime world_;
  boost::asio::strand<boost::asio::any_io_executor> strand_;
  boost::asio::any_io_executor any_strand_;
  boost::asio::cancellation_signal signal_;
  std::function<void()> ring_;
  SteadyTime wanted_ = SteadyTime::max();
  SteadyTime armed_{};
  bool waiting_ = false;
};

}  // namespace aura::detail
