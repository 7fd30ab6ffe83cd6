// One wait of the runtime's that can be moved to an earlier time, or given up.
#pragma once

#include <aura/core/runtime.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/strand.hpp>

#include <memory>
#include <utility>

namespace aura::detail {

/// Belongs to a strand: used, and called back, there only.
class WakeTimer {
 public:
  using Strand = boost::asio::strand<boost::asio::any_io_executor>;

  /// `fire()` at `when`, in place of what was set. It must keep alive whatever holds this timer.
  template <class Fire>
  void set(const AnyRuntime& world, const Strand& home, SteadyTime when, Fire fire) {
    if (when == when_) return;
    cancel();
    if (when == SteadyTime::max()) return;
    when_ = when;
    wait_ = std::make_shared<boost::asio::cancellation_signal>();
    world.async_wait_until(
        when, boost::asio::bind_cancellation_slot(
                  wait_->slot(), boost::asio::bind_executor(home, [this, wait = wait_, fire = std::move(fire)](
                                                                      boost::system::error_code) mutable {
                    if (wait_ != wait) return;  // it was cut short
                    wait_.reset();
                    when_ = SteadyTime::max();
                    fire();
                  })));
  }
  void cancel() {
    when_ = SteadyTime::max();
    if (const auto wait = std::exchange(wait_, nullptr)) wait->emit(boost::asio::cancellation_type::terminal);
  }

 private:
  std::shared_ptr<boost::asio::cancellation_signal> wait_;
  SteadyTime when_ = SteadyTime::max();
};

}  // namespace aura::detail
