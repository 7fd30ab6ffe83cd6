// Three GPUs of uneven speed and memory, questions that somebody waits for, and batches that can be interrupted. The scheduler
// places each task at once, and every 100 ms lets a solver look for something better. One GPU fails, and what it ran is
// submitted again. In virtual time, so it prints the same always.
#include <aura/core/random.hpp>
#include <aura/operational/placement/native_solver.hpp>
#include <aura/operational/scheduler.hpp>
#include <aura/sim/runtime.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <fmt/core.h>

#include <chrono>
#include <cmath>
#include <cstdint>
#include <deque>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace asio = boost::asio;
using namespace std::chrono_literals;

enum TaskClass : std::uint32_t { question, batch };

aura::SchedulerOptions options() {
  aura::ScheduleClass questions{.name = "question", .demand = {4}, .work = 200ms};
  questions.sla = {.target = 300ms, .maximum = 2s, .percentile = 0.95, .penalty_per_ms = 1, .penalty_broken = 500};
  questions.move_price = 5;  // what a move has to save at least, in the unit of the penalties

  aura::ScheduleClass batches{.name = "batch", .demand = {12}, .work = 2s};
  batches.sla = {.target = 10s, .percentile = 0.9, .penalty_per_ms = 0.01};
  batches.preemption = aura::Preemption::resume;
  batches.preempt_price = 20;

  aura::SchedulerOptions all;
  all.schedule.resources = {"GB"};
  all.schedule.classes = {questions, batches};
  all.budget = 5ms;
  all.work_max = 1'000'000;  // virtual time stands still while a solver runs: a deadline alone would not stop it
  return all;
}

/// What stands for the GPUs: each runs as many tasks as it has slots, and has the others wait. In a service, `start` and
/// `preempt` are messages to a machine, and what it answers carries the fencing number that it was given.
struct Gpus {
  struct Gpu {
    double speed;
    std::uint32_t free;
    std::deque<aura::TaskPlacement> queue{};
  };
  aura::AnyRuntime world;
  std::vector<Gpu> gpus{{2.0, 2}, {1.0, 2}, {1.0, 1}};
  aura::Scheduler<aura::NativeSolver>* scheduler = nullptr;
  std::set<std::uint64_t> again{};  ///< keys of what is to be submitted again

  void start(const aura::TaskPlacement& task) {
    gpus[task.node].queue.push_back(task);
    begin(task.node);
  }
  void preempt(const aura::TaskPlacement& task) { std::erase(gpus[task.node].queue, task); }
  void lost(const aura::TaskPlacement& task) { again.insert(task.key); }
  void rejected(const aura::TaskPlacement&) {}

  void begin(aura::NodeIndex at) {
    Gpu& gpu = gpus[at];
    while (gpu.free > 0 && !gpu.queue.empty()) {
      const aura::TaskPlacement task = gpu.queue.front();
      gpu.queue.pop_front();
      if (!scheduler->started(task.task, task.fence)) continue;  // it was moved, or is lost
      --gpu.free;
      asio::co_spawn(world.executor(), run(task), asio::detached);
    }
  }
  asio::awaitable<void> run(aura::TaskPlacement task) {
    const double work_ms = task.key % 10 == 0 ? 1500 : 100 + 10 * static_cast<double>(task.key % 7);
    const std::chrono::duration<double, std::milli> span(work_ms / gpus[task.node].speed);
    co_await world.async_wait_for(std::chrono::duration_cast<aura::Duration>(span), asio::use_awaitable);
    (void)scheduler->ended(task.task, task.fence, aura::TaskEnd::finished);  // an old number is refused
    ++gpus[task.node].free;
    begin(task.node);
  }
};
struct GpuSink {
  Gpus* gpus;
  void start(const aura::TaskPlacement& task) { gpus->start(task); }
  void preempt(const aura::TaskPlacement& task) { gpus->preempt(task); }
  void lost(const aura::TaskPlacement& task) { gpus->lost(task); }
  void rejected(const aura::TaskPlacement& task) { gpus->rejected(task); }
};

asio::awaitable<void> clients(aura::AnyRuntime world, aura::Scheduler<aura::NativeSolver>& scheduler, Gpus& gpus) {
  aura::Random dice = world.random("clients");
  std::uint64_t key = 0;
  for (int i = 0; i < 600; ++i) {
    const std::chrono::duration<double, std::milli> pause(-std::log(1 - dice.uniform()) * 65);
    co_await world.async_wait_for(std::chrono::duration_cast<aura::Duration>(pause), asio::use_awaitable);
    ++key;
    const auto accepted = scheduler.place({.class_index = key % 10 == 0 ? batch : question, .key = key});
    if (i == 0) fmt::print("the first is on {} and done within {} ms\n", accepted->node, accepted->bound / 1ms);
    if (i == 300) fmt::print("gpu-1 fails: {} tasks are lost with it\n", scheduler.fail_node(1));
    for (const std::uint64_t lost : std::exchange(gpus.again, {}))
      (void)scheduler.place({.class_index = lost % 10 == 0 ? batch : question, .key = lost});
    if (i == 400) scheduler.recover_node(1);
  }
}

int main() {
  aura::sim::Runtime world({.seed = 1});  // in a service: an aura::AsioRuntime on its io_context
  Gpus gpus{world};
  aura::Scheduler<aura::NativeSolver> scheduler(world, options(), GpuSink{&gpus});
  gpus.scheduler = &scheduler;
  scheduler.join({.name = "gpu-0", .capacity = {40}, .speed = 2, .slots = 2}).value();
  scheduler.join({.name = "gpu-1", .capacity = {24}, .speed = 1, .slots = 2}).value();
  scheduler.join({.name = "gpu-2", .capacity = {80}, .speed = 1, .slots = 1}).value();

  asio::co_spawn(world, clients(world, scheduler, gpus), asio::detached);
  world.run();

  const aura::ScheduleStats all = scheduler.stats();
  fmt::print("{} accepted: {} finished, {} lost and submitted again; {} moved, {} of them while they ran\n",
             all.accepted, all.finished, all.lost, all.moved, all.preempted);
  fmt::print("{} reports under an old number were refused\n", all.stale_reports);
  for (const TaskClass each : {question, batch}) {
    const aura::ScheduleClassStats its = scheduler.class_stats(each);
    fmt::print("{:<9} {:>3} finished, {:>3} late, {:>2} beyond their bound, {:>2} refused, penalty {:.0f}\n",
               each == question ? "questions" : "batches", its.finished, its.late, its.over_bound, its.refused,
               its.penalty);
  }
}
