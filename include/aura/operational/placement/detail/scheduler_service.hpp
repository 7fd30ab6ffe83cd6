// What a scheduler shares with its timers and solves: the core under a lock, and whoever waits.
#pragma once

#include <aura/core/detail/pending_handler.hpp>
#include <aura/core/detail/post.hpp>
#include <aura/core/observer.hpp>
#include <aura/core/runtime.hpp>
#include <aura/operational/detail/wake_timer.hpp>
#include <aura/operational/placement/async_solve.hpp>
#include <aura/operational/placement/schedule_core.hpp>
#include <aura/operational/placement/scheduler_options.hpp>

#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/cancellation_type.hpp>
#include <boost/asio/strand.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <utility>
#include <vector>

namespace aura::detail {

/// The core is used under the lock, by any thread. Actions, timers and solves are the strand's: decisions are queued under
/// the lock and carried out there, so their order is the order in which they were made.
template <solver Solver, class Observer>
class SchedulerService : public std::enable_shared_from_this<SchedulerService<Solver, Observer>> {
 public:
  using PlaceHandler = PendingHandler<Result<TaskPlacement>>;
  using DrainHandler = PendingHandler<Result<ScheduleDrainReport>>;

  SchedulerService(AnyRuntime world, const SchedulerOptions& options, ScheduleCore core, Solver solver,
                   std::function<void(const ScheduleAction&)> sink, Observer observer)
      : world_(world),
        options_(options),
        strand_(boost::asio::make_strand(world.executor())),
        home_(strand_),
        core_(std::move(core)),
        session_(world, std::move(solver)),
        sink_(std::move(sink)),
        observer_(std::move(observer)) {}

  /// Any use of the core that may decide something.
  template <class F>
  auto with_core(F use) {
    const std::lock_guard lock(mutex_);
    auto result = use(core_, world_.steady_now());
    settle();
    return result;
  }
  template <class F>
  auto look(F use) const {
    const std::lock_guard lock(mutex_);
    return use(core_);
  }

  Result<TaskAccepted> place(const ScheduleTask& task) {
    return with_core([&](ScheduleCore& core, SteadyTime now) { return submit(core, task, now); });
  }

  template <class Handler>
  void place(const ScheduleTask& task, Handler handler) {
    const auto slot = boost::asio::get_associated_cancellation_slot(handler);
    PlaceHandler pending(std::move(handler), world_.executor());
    const std::lock_guard lock(mutex_);
    const auto accepted = submit(core_, task, world_.steady_now());
    if (!accepted) return pending.answer(accepted.error());
    const TaskId id = accepted->task;
    if (auto connected = slot; connected.is_connected())
      connected.assign([weak = this->weak_from_this(), id](boost::asio::cancellation_type type) {
        if (type == boost::asio::cancellation_type::none) return;
        if (const auto self = weak.lock()) self->give_up(id);
      });
    placing_.insert_or_assign(id.index, std::move(pending));
    settle();
  }

  /// Whoever waits for its node, if still so, waits no more.
  void give_up(TaskId id) {
    const std::lock_guard lock(mutex_);
    const auto place = core_.find(id);
    if (place && place->node == not_placed) withdraw(id);
  }
  bool cancel(TaskId id) {
    const std::lock_guard lock(mutex_);
    return withdraw(id);
  }

  template <class Handler>
  void drain(SteadyTime deadline, Handler handler) {
    DrainHandler pending(std::move(handler), world_.executor());
    const std::lock_guard lock(mutex_);
    draining_ = true;
    drains_.push_back({deadline, std::move(pending)});
    settle();
    SteadyTime first = SteadyTime::max();
    for (const Drain& each : drains_) first = std::min(first, each.deadline);
    detail::post(home_, [self = this->shared_from_this(), first] {
      self->drain_timer_.set(self->world_, self->strand_, first, [self] { self->drain_is_due(); });
    });
  }

  /// The scheduler is gone.
  void stop() {
    {
      const std::lock_guard lock(mutex_);
      stopped_ = draining_ = true;
      queue_.clear();
      for (auto& [index, handler] : placing_) handler.answer(cancelled());
      placing_.clear();
      for (Drain& each : drains_) each.handler.answer(cancelled());
      drains_.clear();
    }
    detail::post(home_, [self = this->shared_from_this()] {
      self->tick_timer_.cancel();
      self->drain_timer_.cancel();
    });
  }

 private:
  struct Drain {
    SteadyTime deadline;
    DrainHandler handler;
  };

  static Error cancelled() noexcept {
    return Error::fixed(core_errc::cancelled, ErrorClass::cancelled, "cancelled while the task waited for a node");
  }

  // Called under the lock.

  Result<TaskAccepted> submit(ScheduleCore& core, const ScheduleTask& task, SteadyTime now) {
    auto accepted = draining_ ? Result<TaskAccepted>(Error::fixed(placement_errc::refused, ErrorClass::rejected,
                                                                  "the scheduler drains"))
                              : core.submit(task, now);
    if (!accepted) notify(observer_, TaskRefused{task.key, task.class_index, accepted.error()});
    return accepted;
  }

  bool withdraw(TaskId id) {
    if (!core_.cancel(id, world_.steady_now())) return false;
    if (const auto waits = placing_.find(id.index); waits != placing_.end()) {
      waits->second.answer(cancelled());
      placing_.erase(waits);
    }
    settle();
    return true;
  }

  /// Whoever waits for a decision hears of it; the rest goes to the strand.
  void settle() {
    for (const ScheduleAction& action : core_.actions()) {
      if (const auto waits = placing_.find(action.at.task.index); waits != placing_.end()) {
        answer(waits->second, action);
        placing_.erase(waits);
      }
      queue_.push_back(action);
    }
    core_.clear_actions();
    if (!queue_.empty() && !std::exchange(delivering_, true))
      detail::post(home_, [self = this->shared_from_this()] { self->deliver(); });
    const std::size_t left = core_.tasks();
    if (left > 0 && options_.period > Duration::zero() && !stopped_ && !std::exchange(ticking_, true))
      detail::post(home_, [self = this->shared_from_this()] { self->wait_for_tick(); });
    if (left > 0) return;
    for (Drain& each : drains_) each.handler.answer(ScheduleDrainReport{});
    drains_.clear();
  }
  static void answer(PlaceHandler& handler, const ScheduleAction& action) {
    if (action.verb == ScheduleVerb::start) return handler.answer(action.at);
    handler.answer(Error::fixed(placement_errc::refused, ErrorClass::rejected,
                                "the task was accepted, and given up before it had a node"));
  }

  // On the strand.

  void deliver() {
    std::vector<ScheduleAction> now;
    {
      const std::lock_guard lock(mutex_);
      now.swap(queue_);  // empty where the scheduler is gone
      delivering_ = false;
    }
    for (const ScheduleAction& action : now) sink_(action);
  }

  void drain_is_due() {
    const std::lock_guard lock(mutex_);
    const SteadyTime now = world_.steady_now();
    SteadyTime next = SteadyTime::max();
    for (Drain& each : drains_)
      if (each.deadline <= now)
        each.handler.answer(ScheduleDrainReport{core_.tasks()});
      else
        next = std::min(next, each.deadline);
    std::erase_if(drains_, [now](const Drain& each) { return each.deadline <= now; });
    drain_timer_.set(world_, strand_, next, [self = this->shared_from_this()] { self->drain_is_due(); });
  }

  void wait_for_tick() {
    const SteadyTime when = saturating_add(world_.steady_now(), options_.period);
    tick_timer_.set(world_, strand_, when, [self = this->shared_from_this()] { self->tick(); });
  }
  /// The next one comes a period after this one has ended, for as long as there are tasks.
  void end_tick() {
    const std::lock_guard lock(mutex_);
    ticking_ = false;
    settle();
  }

  void tick() {
    auto taken = std::make_shared<std::optional<ScheduleSnapshot>>();
    {
      const std::lock_guard lock(mutex_);
      if (stopped_) return;
      *taken = core_.snapshot(world_.steady_now());
    }
    if (!*taken) return end_tick();
    detail::post(world_.blocking_executor(), [self = this->shared_from_this(), taken] {
      auto sound = SoundProblem::make(std::move((*taken)->problem));
      detail::post(self->world_.executor(), [self, taken, sound = std::move(sound)]() mutable {
        detail::post(self->home_, [self, taken, sound = std::move(sound)] { self->solve(taken, sound); });
      });
    });
  }

  void solve(const std::shared_ptr<std::optional<ScheduleSnapshot>>& taken,
             const Result<std::shared_ptr<const SoundProblem>>& sound) {
    if (!sound) return failed(sound.error());
    SolveRequest request{.problem = *sound,
                         .incumbent = (*taken)->stay,
                         .deadline = saturating_add(world_.steady_now(), options_.budget),
                         .gap = options_.gap,
                         .work_max = options_.work_max};
    auto done = [self = this->shared_from_this(), taken, problem = *sound](Result<SolveOutcome> outcome) {
      self->solved(**taken, *problem, std::move(outcome));
    };
    session_.async_solve(std::move(request), boost::asio::bind_executor(strand_, std::move(done)));
  }

  void solved(const ScheduleSnapshot& taken, const SoundProblem& problem, Result<SolveOutcome> outcome) {
    if (!outcome) return failed(outcome.error());
    if (outcome->error) notify(observer_, OptimiseFailed{*outcome->error});
    const auto decision = decide(taken, problem, outcome->answer);
    if (!decision) return failed(decision.error());
    ScheduleApplied applied;
    {
      const std::lock_guard lock(mutex_);
      if (stopped_) return;
      applied = core_.apply(*decision, world_.steady_now());
      settle();
    }
    notify(observer_, applied);
    end_tick();
  }
  void failed(const Error& error) {
    notify(observer_, OptimiseFailed{error});
    end_tick();
  }

  const AnyRuntime world_;
  const SchedulerOptions options_;
  const WakeTimer::Strand strand_;
  const boost::asio::any_io_executor home_;
  mutable std::mutex mutex_;
  ScheduleCore core_;
  std::vector<ScheduleAction> queue_;  ///< decided, and to be carried out
  std::unordered_map<std::uint32_t, PlaceHandler> placing_;  ///< by the index of the task
  std::vector<Drain> drains_;
  bool delivering_ = false, ticking_ = false, draining_ = false, stopped_ = false;
  // The strand's.
  SolveSession<Solver> session_;
  WakeTimer tick_timer_, drain_timer_;
  std::function<void(const ScheduleAction&)> sink_;
  Observer observer_;
};

}  // namespace aura::detail
