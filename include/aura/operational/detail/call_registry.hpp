// Which calls are under way, so that a shell can be drained.
#pragma once

#include <aura/core/detail/pending_handler.hpp>
#include <aura/core/result.hpp>
#include <aura/core/runtime.hpp>
#include <aura/operational/detail/alarm.hpp>

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace aura::detail {

/// A call that can be told to stop, from any thread.
class StoppableCall : public std::enable_shared_from_this<StoppableCall> {
 public:
  virtual void request_cancel() = 0;

 protected:
  StoppableCall() = default;
  ~StoppableCall() = default;

 private:
  friend class CallRegistry;
  StoppableCall* previous_ = nullptr;
  StoppableCall* next_ = nullptr;
};

/// Counts calls by one atomic; only those that wait for something are listed, under a lock. Thread-safe.
class CallRegistry : public std::enable_shared_from_this<CallRegistry> {
 public:
  /// False while draining.
  bool begin() noexcept {
    if ((word_.fetch_add(1, std::memory_order_acq_rel) & draining) == 0) return true;
    end();
    return false;
  }
  void end() noexcept {
    if (word_.fetch_sub(1, std::memory_order_acq_rel) == (draining | 1)) all_ended();
  }
  std::uint64_t in_flight() const noexcept { return word_.load(std::memory_order_relaxed) & ~draining; }

  /// False where every call is to be stopped already.
  bool add(StoppableCall& call) {
    const std::lock_guard lock(mutex_);
    call.next_ = first_;
    if (first_ != nullptr) first_->previous_ = &call;
    first_ = &call;
    return !overdue_;
  }
  void remove(StoppableCall& call) noexcept {
    const std::lock_guard lock(mutex_);
    if (call.previous_ != nullptr) call.previous_->next_ = call.next_;
    if (first_ == &call) first_ = call.next_;
    if (call.next_ != nullptr) call.next_->previous_ = call.previous_;
  }

  /// Answers when no call is under way any more: at the latest soon after `deadline`, when all are told to stop.
  void drain(AnyRuntime world, SteadyTime deadline, PendingHandler<Result<void>> answer) {
    std::unique_lock lock(mutex_);
    answers_.push_back(std::move(answer));
    if ((word_.fetch_or(draining, std::memory_order_acq_rel) & ~draining) == 0) return lock.unlock(), all_ended();
    if (!alarm_)
      alarm_ = std::make_shared<Alarm>(world, [weak = weak_from_this()] {
        if (const auto self = weak.lock()) self->stop_all();
      });
    alarm_->set(deadline);
  }

 private:
  static constexpr std::uint64_t draining = std::uint64_t{1} << 63;

  void all_ended() noexcept {
    const std::lock_guard lock(mutex_);
    if (alarm_) alarm_->set(SteadyTime::max());
    for (auto& answer : answers_) {
      Result<void> result;
      if (overdue_)
        result =
            Error::fixed(core_errc::timed_out, ErrorClass::timeout, "calls were cancelled to end the drain in time");
      answer.answer(std::move(result));
    }
    answers_.clear();
  }

  void stop_all() {
    std::vector<std::shared_ptr<StoppableCall>> calls;
    {
      const std::lock_guard lock(mutex_);
      overdue_ = true;
      for (StoppableCall* call = first_; call != nullptr; call = call->next_)
        if (auto alive = call->weak_from_this().lock()) calls.push_back(std::move(alive));
    }
    for (const auto& call : calls) call->request_cancel();
  }

  std::atomic<std::uint64_t> word_{0};
  std::mutex mutex_;
  StoppableCall* first_ = nullptr;
  bool overdue_ = false;
  std::shared_ptr<Alarm> alarm_;
  std::vector<PendingHandler<Result<void>>> answers_;
};

}  // namespace aura::detail
