// One wait of the runtime's for the timers of many: each member has one time at which it wants to be called.
#pragma once

#include <aura/core/runtime.hpp>
#include <aura/durable/detail/timer_heap.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/strand.hpp>

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace aura::detail {

/// `T` is what TimerHeap asks for, is held by shared_ptr, and has `post(f)`, through which `on_due` is called. `set` and
/// `remove` may be called from any thread. A call may come early (a time that was moved back is kept), never
/// late. Bounded by the number of members.
template <class T>
class TimerService : public std::enable_shared_from_this<TimerService<T>> {
 public:
  explicit TimerService(AnyRuntime world) : world_(world), home_(boost::asio::make_strand(world.executor())) {}

  std::function<void(const std::shared_ptr<T>&)> on_due;

  void set(const std::shared_ptr<T>& member, SteadyTime when) {
    {
      const std::lock_guard lock(mutex_);
      if (member->timer_slot != not_in_heap && member->timer_when <= when) return;
      heap_.set(*member, when);
    }
    if (when < armed_for_.load(std::memory_order_acquire))
      boost::asio::post(home_, [self = this->shared_from_this()] { self->arm(); });
  }

  void remove(T& member) {
    const std::lock_guard lock(mutex_);
    heap_.remove(member);
  }

  void stop() {
    {
      const std::lock_guard lock(mutex_);
      heap_.clear();
    }
    boost::asio::post(home_, [self = this->shared_from_this()] { self->disarm(); });
  }

 private:
  void arm() {
    SteadyTime next = SteadyTime::max();
    {
      const std::lock_guard lock(mutex_);
      if (!heap_.empty()) next = heap_.top()->timer_when;
    }
    if (next >= armed_for_.load(std::memory_order_relaxed)) return;
    disarm();
    armed_for_.store(next, std::memory_order_release);
    wait_ = std::make_shared<boost::asio::cancellation_signal>();
    world_.async_wait_until(
        next, boost::asio::bind_cancellation_slot(
                  wait_->slot(), boost::asio::bind_executor(home_, [self = this->shared_from_this(),
                                                                    wait = wait_](boost::system::error_code) {
                    if (self->wait_ == wait) self->fire();
                  })));
  }

  /// The wait that is cut short finds that it is not the current one any more.
  void disarm() {
    if (const auto wait = std::exchange(wait_, nullptr)) wait->emit(boost::asio::cancellation_type::terminal);
    armed_for_.store(SteadyTime::max(), std::memory_order_release);
  }

  void fire() {
    wait_.reset();
    armed_for_.store(SteadyTime::max(), std::memory_order_release);
    std::vector<std::shared_ptr<T>> due;
    {
      const std::lock_guard lock(mutex_);
      for (const SteadyTime now = world_.steady_now(); !heap_.empty() && heap_.top()->timer_when <= now;) {
        T* const member = heap_.top();
        if (auto held = member->weak_from_this().lock()) due.push_back(std::move(held));
        heap_.remove(*member);
      }
    }
    for (std::shared_ptr<T>& member : due)
      member->post(
          [self = this->shared_from_this()](const std::shared_ptr<T>& due_member) { self->on_due(due_member); });
    arm();
  }

  AnyRuntime world_;
  boost::asio::strand<boost::asio::any_io_executor> home_;
  std::mutex mutex_;
  TimerHeap<T> heap_;
  std::atomic<SteadyTime> armed_for_{SteadyTime::max()};
  std::shared_ptr<boost::asio::cancellation_signal> wait_;  // on home_
};

}  // namespace aura::detail
