// The workers that answer requests: a scheduler places requests on them, by speed, memory and what each was promised.
#pragma once

#include "round_robin.hpp"
#include "solvers.hpp"
#include "worker_shape.hpp"

#include <aura/core/result.hpp>
#include <aura/core/runtime.hpp>
#include <aura/operational/scheduler.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <fmt/format.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <utility>

namespace gateway {

/// How well answers kept to what a class was promised, and how well round robin would have.
struct SlaCounts {
  std::uint64_t answered = 0, late = 0, late_by_turns = 0;
  double penalty = 0, penalty_by_turns = 0;
};

/// Who occupies which worker is kept in memory alone. A process that dies forgets it, and what comes back is placed anew.
/// Shared between threads; outlives every run.
class Workers {
 public:
  struct Outside {
    /// How long a worker is not to be asked; zero where it may be.
    std::function<aura::Duration(std::uint32_t worker, aura::SteadyTime now)> closed_for;
    std::function<double(std::uint32_t worker)> slowdown;
    double speed = 1;  ///< so many seconds of the trace pass in one of the runtime
  };

  Workers(aura::AnyRuntime world, const SolverChoice& solver, Outside outside)
      : world_(world),
        outside_(std::move(outside)),
        scheduler_(world, options(outside_.speed), Sink{}, solver.make(), Listener{this}) {
    for (std::uint32_t worker = 0; worker < WorkerShape::workers; ++worker)
      scheduler_
          .join({.name = fmt::format("worker {}", worker),
                 .capacity = {WorkerShape::slots, static_cast<double>(WorkerShape::memory_tokens[worker])},
                 .speed = WorkerShape::speed[worker],
                 .slots = WorkerShape::slots})
          .value();
  }

  /// A worker for the request, once one has room: it waits until then, and the scheduler decides whose turn it is.
  /// Idempotent.
  boost::asio::awaitable<aura::Result<std::uint32_t>> place(Request request) {
    if (const Seat* const seat = find(request.row)) co_return seat->at.node;
    mind_breakers();
    const aura::SteadyTime asked = world_.steady_now();
    const aura::Duration by_turns = ask_round_robin(request, asked);
    const std::array<double, 2> demand{1, WorkerShape::memory_of(request)};
    const aura::ScheduleTask task{
        .class_index = static_cast<std::uint32_t>(class_of(request)), .key = request.row, .demand = demand};
    aura::Result<aura::TaskPlacement> placed = co_await scheduler_.async_place(task, boost::asio::use_awaitable);
    if (!placed) co_return placed.error();
    scheduler_.started(placed->task, placed->fence);
    const std::lock_guard lock(mutex_);
    seats_[request.row] = {*placed, asked, by_turns};
    co_return placed->node;
  }

  /// Where it runs: where it was placed, unless this process does not know of it, or that worker is not to be asked now.
  boost::asio::awaitable<aura::Result<std::uint32_t>> settle(Request request) {
    const Seat* const seat = find(request.row);
    const bool closed =
        seat != nullptr && outside_.closed_for(seat->at.node, world_.steady_now()) != aura::Duration::zero();
    if (closed) leave(request.row, aura::TaskEnd::abandoned);
    aura::Result<std::uint32_t> at = co_await place(std::move(request));
    co_return at;
  }

  /// How long the sequence will take there.
  aura::Duration span(const Request& request, std::uint32_t worker) const {
    const std::size_t there = scheduler_.look([&](const auto& core) { return core.tasks_on(worker); });
    return WorkerShape::span(request, worker, there == 0 ? 0 : there - 1);
  }

  /// Its stay is over, one way or another. What was not placed has nothing to leave.
  void leave(std::uint32_t row, aura::TaskEnd end) {
    Seat seat;
    {
      const std::lock_guard lock(mutex_);
      const auto known = seats_.find(row);
      if (known == seats_.end()) return;
      seat = known->second;
      seats_.erase(known);
    }
    (void)scheduler_.ended(seat.at.task, seat.at.fence, end);
  }
  void answered(const Request& request) {
    if (const Seat* const seat = find(request.row)) count(request, *seat);
    leave(request.row, aura::TaskEnd::finished);
  }

  SlaCounts counts(RequestClass which) const {
    const std::lock_guard lock(mutex_);
    return counts_[static_cast<std::size_t>(which)];
  }
  aura::ScheduleStats stats() const { return scheduler_.stats(); }

 private:
  struct Seat {
    aura::TaskPlacement at{};
    aura::SteadyTime asked{};
    aura::Duration by_turns{};  ///< what round robin would have taken, in time of the trace
  };
  /// A request learns its worker by `place`, and is never moved once it has one: there is nothing to tell a worker.
  struct Sink {
    void start(const aura::TaskPlacement&) {}
    void preempt(const aura::TaskPlacement&) {}
    void lost(const aura::TaskPlacement&) {}
    void rejected(const aura::TaskPlacement&) {}
  };
  /// While requests wait, breakers are looked at after every optimisation.
  struct Listener {
    Workers* workers;
    void operator()(const aura::ScheduleApplied&) const { workers->mind_breakers(); }
    void operator()(const aura::OptimiseFailed&) const { workers->mind_breakers(); }
  };

  static aura::SchedulerOptions options(double speed) {
    const auto span = [speed](std::chrono::duration<double> of_trace) {
      return std::chrono::duration_cast<aura::Duration>(of_trace / speed);
    };
    aura::SchedulerOptions all;
    all.schedule.resources = {"slots", "tokens"};
    for (const RequestClass which : {RequestClass::interactive, RequestClass::bulk}) {
      aura::ScheduleClass its{.name = class_names[static_cast<std::size_t>(which)], .demand = {1, 0}};
      its.sla = sla_of(which);
      its.sla.target = span(its.sla.target);
      its.sla.penalty_per_ms *= speed;
      its.work = span(std::chrono::seconds(5));
      all.schedule.classes.push_back(its);
    }
    all.schedule.tasks_max = all.schedule.waiting_max = 1 << 16;
    all.period = span(std::chrono::milliseconds(500));
    all.budget = std::chrono::milliseconds(20);
    all.work_max = 200'000;  // in virtual time no deadline comes while a solver runs
    return all;
  }

  /// A worker whose breaker is open gets nothing new.
  void mind_breakers() {
    const aura::SteadyTime now = world_.steady_now();
    for (std::uint32_t worker = 0; worker < WorkerShape::workers; ++worker)
      if (outside_.closed_for(worker, now) == aura::Duration::zero())
        scheduler_.resume_node(worker);
      else
        scheduler_.drain_node(worker);
  }

  aura::Duration ask_round_robin(const Request& request, aura::SteadyTime now) {
    const std::lock_guard lock(mutex_);
    const aura::SteadyTime of_trace(scaled(now.time_since_epoch()));
    return round_robin_.take(request, of_trace, outside_.slowdown, [&](std::uint32_t worker) {
      return outside_.closed_for(worker, now) != aura::Duration::zero();
    });
  }
  aura::Duration scaled(aura::Duration span) const {
    return aura::Duration(static_cast<aura::Duration::rep>(static_cast<double>(span.count()) * outside_.speed));
  }

  /// Stays where it is until it leaves, which only its own run has it do.
  const Seat* find(std::uint32_t row) const {
    const std::lock_guard lock(mutex_);
    const auto known = seats_.find(row);
    return known == seats_.end() ? nullptr : &known->second;
  }
  void count(const Request& request, const Seat& seat) {
    const RequestClass which = class_of(request);
    const aura::Sla sla = sla_of(which);
    const auto penalty = [&sla](aura::Duration latency) {
      return sla.penalty_per_ms * std::chrono::duration<double, std::milli>(latency - sla.target).count();
    };
    const aura::Duration took = scaled(world_.steady_now() - seat.asked);
    const std::lock_guard lock(mutex_);
    SlaCounts& counts = counts_[static_cast<std::size_t>(which)];
    ++counts.answered;
    if (took > sla.target) ++counts.late, counts.penalty += penalty(took);
    if (seat.by_turns > sla.target) ++counts.late_by_turns, counts.penalty_by_turns += penalty(seat.by_turns);
  }

  const aura::AnyRuntime world_;
  const Outside outside_;
  mutable std::mutex mutex_;
  std::map<std::uint32_t, Seat> seats_;  ///< by row
  RoundRobin round_robin_;
  std::array<SlaCounts, 2> counts_{};
  aura::Scheduler<ChosenSolver, Listener> scheduler_;
};

}  // namespace gateway
