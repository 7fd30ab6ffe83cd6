// The scheduler in its host: who is told what, in which order, and on which side of a solve.
#include "../../benchmarks/support/schedule_world.hpp"
#include "support/catch.hpp"
#include "support/tiny_solver.hpp"

#include <aura/core/asio_runtime.hpp>
#include <aura/operational/scheduler.hpp>
#include <aura/sim/runtime.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/thread_pool.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <iostream>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using aura::not_placed;
using aura::ScheduleVerb;
using aura::TaskEnd;

namespace {

/// Writes down what it hears.
struct Notes {
  std::vector<aura::ScheduleAction> heard;
  std::size_t optimised = 0, moved = 0, failed = 0, refused = 0;
};
struct NoteSink {
  Notes* notes;
  void start(const aura::TaskPlacement& at) { notes->heard.push_back({ScheduleVerb::start, at}); }
  void preempt(const aura::TaskPlacement& at) { notes->heard.push_back({ScheduleVerb::preempt, at}); }
  void lost(const aura::TaskPlacement& at) { notes->heard.push_back({ScheduleVerb::lost, at}); }
  void rejected(const aura::TaskPlacement& at) { notes->heard.push_back({ScheduleVerb::rejected, at}); }
};
struct NoteObserver {
  Notes* notes;
  void operator()(const aura::ScheduleApplied& applied) const {
    ++notes->optimised;
    notes->moved += applied.moved;
  }
  void operator()(const aura::OptimiseFailed&) const { ++notes->failed; }
  void operator()(const aura::TaskRefused&) const { ++notes->refused; }
};
template <class Solver = TinySolver>
using Scheduler = aura::Scheduler<Solver, NoteObserver>;

aura::SchedulerOptions options_of(aura::ScheduleClass its = {}) {
  its.name = "class";
  its.demand = {1};
  aura::SchedulerOptions options;
  options.schedule.resources = {"slots"};
  options.schedule.classes = {its};
  return options;
}

struct NearMiss {
  void start(const aura::TaskPlacement&) {}
  void preempt(const aura::TaskPlacement&) {}
  void lost(const aura::TaskPlacement&) {}
};
static_assert(aura::placement_sink<NoteSink> && !aura::placement_sink<NearMiss>);
static_assert(aura::guard<Scheduler<>::Guard>);

}  // namespace

TEST_CASE("decisions reach the sink in their order, and never within a call") {
  aura::sim::Runtime world({.seed = 3});
  Notes notes;
  Scheduler<> scheduler(world, options_of(), NoteSink{&notes}, {}, NoteObserver{&notes});
  scheduler.join({.capacity = {3}}).value();
  for (std::uint64_t key = 1; key <= 3; ++key) REQUIRE(scheduler.place({.key = key})->node == 0);
  REQUIRE(notes.heard.empty());
  REQUIRE(scheduler.fail_node(0) == 3);
  world.run_for(1ms);
  REQUIRE(notes.heard.size() == 6);
  for (std::size_t i = 0; i < 3; ++i) {
    REQUIRE(notes.heard[i].verb == ScheduleVerb::start);
    REQUIRE(notes.heard[i].at.key == i + 1);
    REQUIRE(notes.heard[i].at.fence == i + 1);
    REQUIRE(notes.heard[3 + i].verb == ScheduleVerb::lost);
  }
}

TEST_CASE("what waits is moved by the next optimisation, and none is begun once nothing is left to do") {
  aura::sim::Runtime world({.seed = 3});
  Notes notes;
  auto options = options_of({.sla = {.target = 0ms, .penalty_per_ms = 1}, .work = 1s});
  Scheduler<> scheduler(world, options, NoteSink{&notes}, {}, NoteObserver{&notes});
  scheduler.join({.capacity = {9}}).value();
  std::vector<aura::TaskAccepted> tasks;
  for (int i = 0; i < 3; ++i) tasks.push_back(scheduler.place({}).value());
  REQUIRE(scheduler.started(tasks[0].task, 1));
  scheduler.join({.capacity = {9}}).value();
  world.run_for(99ms);
  REQUIRE(notes.optimised == 0);
  world.run_for(2ms);
  REQUIRE(notes.optimised == 1);
  REQUIRE(notes.moved >= 1);
  for (const aura::TaskAccepted& task : tasks)
    REQUIRE(scheduler.ended(task.task, scheduler.find(task.task)->fence, TaskEnd::finished).has_value());
  world.run();  // and comes to an end
  REQUIRE(notes.optimised <= 2);
}

TEST_CASE("a solver that does not end in time is left behind, and its late answer is not used") {
  aura::sim::Runtime world({.seed = 3});
  Notes notes;
  auto options = options_of({.sla = {.target = 0ms, .penalty_per_ms = 1}, .work = 1s});
  options.budget = 20ms;
  ScriptedSolver slow{[&](const aura::PlacementModel& model, std::span<const aura::NodeIndex> incumbent) {
    world.advance(5s);
    return TinySolver().solve(model, incumbent, {});
  }};
  Scheduler<ScriptedSolver> scheduler(world, options, NoteSink{&notes}, slow, NoteObserver{&notes});
  scheduler.join({.capacity = {9}}).value();
  for (int i = 0; i < 3; ++i) scheduler.place({}).value();
  scheduler.join({.capacity = {9}}).value();
  world.run_for(1s);
  REQUIRE(notes.optimised >= 1);
  REQUIRE(notes.moved == 0);
  REQUIRE(scheduler.stats().placed == 3);
}

TEST_CASE("a solver that throws or errs costs an optimisation and nothing else") {
  aura::sim::Runtime world({.seed = 3});
  Notes notes;
  ScriptedSolver wrong{[](const aura::PlacementModel& model, std::span<const aura::NodeIndex>) -> aura::SolveAnswer {
    if (model.tasks() % 2 == 0) throw std::runtime_error("out of ideas");
    return {.status = aura::SolveStatus::optimal, .placement = aura::Placement(model.tasks(), 77), .cost = 0};
  }};
  Scheduler<ScriptedSolver> scheduler(world, options_of(), NoteSink{&notes}, wrong, NoteObserver{&notes});
  scheduler.join({.capacity = {9}}).value();
  scheduler.place({}).value();
  world.run_for(150ms);
  REQUIRE(notes.failed == 1);
  scheduler.place({}).value();
  world.run_for(100ms);
  REQUIRE(notes.failed == 2);
  REQUIRE(scheduler.stats().placed == 2);
}

TEST_CASE("async_place completes when the task has a node") {
  aura::sim::Runtime world({.seed = 3});
  Notes notes;
  Scheduler<> scheduler(world, options_of(), NoteSink{&notes}, {}, NoteObserver{&notes});
  scheduler.join({.capacity = {1}}).value();
  std::vector<aura::Result<aura::TaskPlacement>> placed;
  const auto keep = [&](aura::Result<aura::TaskPlacement> at) { placed.push_back(std::move(at)); };
  scheduler.async_place({.key = 1}, keep);
  scheduler.async_place({.key = 2}, keep);
  REQUIRE(placed.empty());
  world.run_for(1ms);
  REQUIRE(placed.size() == 1);
  REQUIRE(placed[0]->key == 1);
  REQUIRE(scheduler.ended(placed[0]->task, placed[0]->fence, TaskEnd::finished).has_value());
  world.run_for(1ms);
  REQUIRE(placed.size() == 2);
  REQUIRE(placed[1]->key == 2);
  const std::vector<double> large{5};
  scheduler.async_place({.demand = large}, keep);
  world.run_for(1ms);
  REQUIRE(placed[2].error().is(aura::placement_errc::infeasible));
  REQUIRE(notes.refused == 1);
}

TEST_CASE("cancelling async_place withdraws the task while it waits, and not once it has a node") {
  aura::sim::Runtime world({.seed = 3});
  Notes notes;
  Scheduler<> scheduler(world, options_of(), NoteSink{&notes}, {}, NoteObserver{&notes});
  scheduler.join({.capacity = {1}}).value();
  boost::asio::cancellation_signal first, second;
  std::vector<aura::Result<aura::TaskPlacement>> placed;
  const auto keep = [&](aura::Result<aura::TaskPlacement> at) { placed.push_back(std::move(at)); };
  scheduler.async_place({.key = 1}, boost::asio::bind_cancellation_slot(first.slot(), keep));
  scheduler.async_place({.key = 2}, boost::asio::bind_cancellation_slot(second.slot(), keep));
  world.run_for(1ms);
  first.emit(boost::asio::cancellation_type::total);
  second.emit(boost::asio::cancellation_type::total);
  world.run_for(1ms);
  REQUIRE(placed.size() == 2);
  REQUIRE(placed[1].error().is(aura::core_errc::cancelled));
  REQUIRE(scheduler.stats().placed == 1);
  REQUIRE(scheduler.stats().waiting == 0);
  REQUIRE(scheduler.stats().abandoned == 1);
}

TEST_CASE("a drain refuses what is new, and completes with the last task or at its deadline") {
  aura::sim::Runtime world({.seed = 3});
  Notes notes;
  Scheduler<> scheduler(world, options_of(), NoteSink{&notes}, {}, NoteObserver{&notes});
  scheduler.join({.capacity = {2}}).value();
  const auto one = scheduler.place({}).value(), two = scheduler.place({}).value();
  std::vector<std::size_t> left;
  const auto keep = [&](const aura::Result<aura::ScheduleDrainReport>& report) { left.push_back(report->left); };
  scheduler.drain(world.steady_now() + 1s, keep);
  scheduler.drain(aura::SteadyTime::max(), keep);
  REQUIRE_FALSE(scheduler.place({}).has_value());
  scheduler.ended(one.task, 1, TaskEnd::finished).value();
  world.run_for(2s);
  REQUIRE(left == std::vector<std::size_t>{1});
  scheduler.ended(two.task, 2, TaskEnd::finished).value();
  world.run_for(1ms);
  REQUIRE(left == std::vector<std::size_t>{1, 0});
}

TEST_CASE("destroying a scheduler answers whoever waits, and its sink hears of nothing more") {
  aura::sim::Runtime world({.seed = 3});
  Notes notes;
  std::vector<aura::Result<aura::TaskPlacement>> placed;
  {
    Scheduler<> scheduler(world, options_of(), NoteSink{&notes}, {}, NoteObserver{&notes});
    scheduler.join({.capacity = {1}}).value();
    scheduler.place({}).value();
    scheduler.async_place({}, [&](aura::Result<aura::TaskPlacement> at) { placed.push_back(std::move(at)); });
  }
  world.run();
  REQUIRE(placed.size() == 1);
  REQUIRE(placed[0].error().is(aura::core_errc::cancelled));
  REQUIRE(notes.heard.empty());
}

TEST_CASE("the guard lets a step pass while a node has room") {
  aura::sim::Runtime world({.seed = 3});
  Notes notes;
  Scheduler<> scheduler(world, options_of(), NoteSink{&notes}, {}, NoteObserver{&notes});
  const auto guard = scheduler.guard(0, 250ms);
  REQUIRE(guard.try_acquire({}).error().retry_after() == 250ms);
  scheduler.join({.capacity = {1}}).value();
  REQUIRE(guard.try_acquire({}).has_value());
  const auto task = scheduler.place({}).value();
  REQUIRE_FALSE(guard.try_acquire({}).has_value());
  scheduler.ended(task.task, 1, TaskEnd::abandoned).value();
  REQUIRE(guard.try_acquire({}).has_value());
  REQUIRE(scheduler.stats().accepted == 1);
}

TEST_CASE("tasks placed and ended by many threads at once are all told of", "[threads]") {
  boost::asio::thread_pool handlers(2), blocking(1);
  aura::AsioRuntime world(handlers.get_executor(), blocking.get_executor(), 5);
  struct Counts {
    std::atomic<std::uint64_t> starts{0}, ended{0}, last_fence{0};
    std::atomic<bool> in_order{true};
  } counts;
  struct Sink {
    Counts* counts;
    std::shared_ptr<std::function<void(const aura::TaskPlacement&)>> run;
    void start(const aura::TaskPlacement& at) {
      if (counts->last_fence.exchange(at.fence) >= at.fence) counts->in_order = false;
      ++counts->starts;
      (*run)(at);
    }
    void preempt(const aura::TaskPlacement&) {}
    void lost(const aura::TaskPlacement&) {}
    void rejected(const aura::TaskPlacement&) {}
  };
  auto options = options_of({.sla = {.target = 0ms, .penalty_per_ms = 1}, .work = 1ms});
  options.period = 1ms;
  options.budget = 2ms;
  const auto run =
      std::make_shared<std::function<void(const aura::TaskPlacement&)>>([](const aura::TaskPlacement&) {});
  aura::Scheduler<TinySolver> scheduler(world, options, Sink{&counts, run});
  *run = [&](const aura::TaskPlacement& at) {
    if (scheduler.ended(at.task, at.fence, TaskEnd::finished)) ++counts.ended;
  };
  for (int i = 0; i < 4; ++i) scheduler.join({.capacity = {4}, .slots = 2}).value();
  std::atomic<std::uint64_t> accepted{0};
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 3; ++t)
      threads.emplace_back([&] {
        for (int i = 0; i < 500; ++i) accepted += scheduler.place({}).has_value();
      });
  }
  std::atomic<bool> drained{false};
  scheduler.drain(aura::SteadyTime::max(), [&](const auto&) { drained = true; });
  handlers.join();
  blocking.join();
  REQUIRE(drained);
  REQUIRE(counts.in_order);
  REQUIRE(counts.ended == accepted);
  REQUIRE(scheduler.stats().conserved());
}

TEST_CASE("against real queues, what the model predicts and what then happens are of one order") {
  for (const double percentile : {0.5, 0.9}) {
    const auto seen = aura::bench::run_schedule({.percentile = percentile, .seed = 1}, TinySolver{});
    std::cout << "model against reality at percentile " << percentile << ": predicted " << seen.predicted
              << ", happened " << seen.happened << ", ratio " << seen.predicted / seen.happened << " over "
              << seen.decisions << " decisions, " << seen.moved << " moves\n";
    REQUIRE(seen.decisions > 100);
    REQUIRE(seen.predicted / seen.happened > 0.25);
    REQUIRE(seen.predicted / seen.happened < 8);
  }
}
