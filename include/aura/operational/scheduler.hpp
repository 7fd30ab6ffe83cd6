// Scheduler: accepts tasks from any thread, places them at once, and places them anew where a solver finds better.
#pragma once

#include <aura/core/guard.hpp>
#include <aura/core/observer.hpp>
#include <aura/core/runtime.hpp>
#include <aura/operational/placement/detail/scheduler_service.hpp>
#include <aura/operational/placement/placement_sink.hpp>
#include <aura/operational/placement/schedule_core.hpp>
#include <aura/operational/placement/scheduler_options.hpp>

#include <boost/asio/async_result.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace aura {

/// A `ScheduleCore` in an Asio host.
///
///     aura::Scheduler<aura::NativeSolver> scheduler(runtime, options, Workers{...});   // Workers: a placement_sink
///     scheduler.join({.name = "gpu-0", .capacity = {80}, .slots = 4}).value();
///     const auto accepted = scheduler.place({.class_index = 0, .key = 17});   // bound, node; or why it is refused
///     scheduler.started(at.task, at.fence);                                   // as the node says
///     scheduler.ended(at.task, at.fence, aura::TaskEnd::finished);
///
/// Everything may be called from any thread: a lock is held for as long as the core takes, some microseconds. The sink is
/// called on a strand of the runtime's executor, one decision after the other, in their order; it may call the scheduler.
///
/// A period after the last optimisation, while there are tasks, the solver is given what may be placed or moved, on the
/// blocking executor and for `budget`. What it answers is verified, cut to what pays for itself, and applied to what is
/// still as it was. A solve that overruns is left behind, and until it has ended no other begins.
///
/// The runtime must outlive the last solve. Destroying a scheduler ends what waits for it with core/cancelled; sink and observer,
/// which it keeps, hear of nothing more but what is being told at that moment: drain it first where they refer to what goes away
/// with it. Tasks that run are not told.
template <solver Solver, class Observer = NullObserver>
class Scheduler {
  using Service = detail::SchedulerService<Solver, Observer>;

 public:
  using Options = SchedulerOptions;

  /// \throws ErrorException (placement_errc::bad_problem) where the options make no sense.
  template <placement_sink Sink>
  Scheduler(AnyRuntime runtime, const Options& options, Sink sink, Solver solver = Solver(), Observer observer = {})
      : service_(std::make_shared<Service>(
            runtime, options, ScheduleCore::make(options.schedule, runtime.random("aura.scheduler")).value(),
            std::move(solver), detail::erase_placement_sink(std::move(sink)), std::move(observer))) {}
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;
  ~Scheduler() { service_->stop(); }

  // Nodes: see ScheduleCore.

  Result<NodeIndex> join(const ScheduleNode& node) {
    return use([&](ScheduleCore& core, SteadyTime now) { return core.join(node, now); });
  }
  bool drain_node(NodeIndex node) {
    return use([&](ScheduleCore& core, SteadyTime now) { return core.drain(node, now); });
  }
  bool resume_node(NodeIndex node) {
    return use([&](ScheduleCore& core, SteadyTime now) { return core.resume(node, now); });
  }
  /// How many tasks are lost by it; the sink is told of each.
  std::size_t fail_node(NodeIndex node) {
    return use([&](ScheduleCore& core, SteadyTime now) { return core.fail(node, now); });
  }
  bool recover_node(NodeIndex node) {
    return use([&](ScheduleCore& core, SteadyTime now) { return core.recover(node, now); });
  }
  std::size_t leave_node(NodeIndex node) {
    return use([&](ScheduleCore& core, SteadyTime now) { return core.leave(node, now); });
  }

  // Tasks.

  /// Accepts or refuses, at once. The sink is told where it starts.
  Result<TaskAccepted> place(const ScheduleTask& task) { return service_->place(task); }

  /// Completes when the task has a node, or is refused. Signature `void(Result<TaskPlacement>)`. Cancellation of any type, while
  /// it has none, withdraws the task: core/cancelled. The sink is told of the start as well, before or after.
  template <boost::asio::completion_token_for<void(Result<TaskPlacement>)> Token>
  auto async_place(const ScheduleTask& task, Token&& token) {
    return boost::asio::async_initiate<Token, void(Result<TaskPlacement>)>(
        [service = service_](auto handler, ScheduleTask given, std::vector<double> demand) {
          given.demand = demand;
          service->place(given, std::move(handler));
        },
        token, task, std::vector<double>(task.demand.begin(), task.demand.end()));
  }

  bool started(TaskId task, std::uint64_t fence) {
    return use([&](ScheduleCore& core, SteadyTime now) { return core.started(task, fence, now); });
  }
  bool progressed(TaskId task, std::uint64_t fence, double done_share) {
    return use([&](ScheduleCore& core, SteadyTime) { return core.progressed(task, fence, done_share); });
  }
  Result<TaskEnded> ended(TaskId task, std::uint64_t fence, TaskEnd end) {
    return use([&](ScheduleCore& core, SteadyTime now) { return core.ended(task, fence, end, now); });
  }
  bool cancel(TaskId task) { return service_->cancel(task); }
  std::optional<TaskPlacement> find(TaskId task) const {
    return service_->look([&](const ScheduleCore& core) { return core.find(task); });
  }

  /// Takes no more tasks, and completes when all have ended, or at the deadline with how many have not.
  /// Signature `void(Result<ScheduleDrainReport>)`.
  template <boost::asio::completion_token_for<void(Result<ScheduleDrainReport>)> Token>
  auto drain(SteadyTime deadline, Token&& token) {
    return boost::asio::async_initiate<Token, void(Result<ScheduleDrainReport>)>(
        [service = service_](auto handler, SteadyTime by) { service->drain(by, std::move(handler)); }, token,
        deadline);
  }

  /// As a guard of the step that places a task of that class: while it would find no room, a run waits before the step and
  /// burns no attempt. Others may take the room before the step does. Holds what it needs.
  class Guard {
   public:
    struct Permit {
      void record(const AttemptOutcome&) {}
    };
    Result<Permit> try_acquire(SteadyTime) const {
      const bool room =
          service_->with_core([&](ScheduleCore& core, SteadyTime now) { return core.has_room(class_index_, now); });
      if (room) return Permit{};
      return Error::fixed(placement_errc::full, ErrorClass::rejected, "no node has room for a task of this class")
          .with_retry_after(retry_after_);
    }

   private:
    friend class Scheduler;
    Guard(std::shared_ptr<Service> service, std::uint32_t class_index, Duration retry_after)
        : service_(std::move(service)), class_index_(class_index), retry_after_(retry_after) {}
    std::shared_ptr<Service> service_;
    std::uint32_t class_index_;
    Duration retry_after_;
  };
  Guard guard(std::uint32_t class_index, Duration retry_after = std::chrono::milliseconds(100)) const {
    return Guard(service_, class_index, retry_after);
  }

  ScheduleStats stats() const {
    return service_->look([](const ScheduleCore& core) { return core.stats(); });
  }
  ScheduleClassStats class_stats(std::uint32_t class_index) const {
    return service_->look([=](const ScheduleCore& core) { return core.class_stats(class_index); });
  }
  /// For tests, and for whoever wants more of the core: `look(const ScheduleCore&)` under the lock. No reference may leave it.
  template <class Look>
  auto look(Look look) const {
    return service_->look(std::move(look));
  }

 private:
  template <class F>
  auto use(F f) {
    return service_->with_core(std::move(f));
  }

  std::shared_ptr<Service> service_;
};

}  // namespace aura
