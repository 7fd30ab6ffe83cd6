// The scheduler's core: its invariants under thousands of random operations, and each promise by itself.
#include "support/catch.hpp"
#include "support/seeds.hpp"
#include "support/tiny_solver.hpp"

#include <aura/operational/placement/schedule_core.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using aura::NodeIndex;
using aura::not_placed;
using aura::ScheduleCore;
using aura::ScheduleVerb;
using aura::SteadyTime;
using aura::TaskEnd;

namespace {

constexpr aura::SteadyTime begin{};

aura::ScheduleOptions one_class(aura::ScheduleClass its = {}) {
  its.name = "class";
  if (its.demand.empty()) its.demand = {1};
  aura::ScheduleOptions options;
  options.resources = {"memory"};
  options.classes = {its};
  return options;
}
aura::ScheduleNode node(double capacity, double speed = 1, std::uint32_t slots = 1) {
  return {.capacity = {capacity}, .speed = speed, .slots = slots};
}
ScheduleCore core_of(aura::ScheduleOptions options) { return ScheduleCore::make(std::move(options)).value(); }

/// The last start of a task.
std::optional<aura::TaskPlacement> start_of(const ScheduleCore& core, aura::TaskId task) {
  std::optional<aura::TaskPlacement> last;
  for (const aura::ScheduleAction& action : core.actions())
    if (action.verb == ScheduleVerb::start && action.at.task == task) last = action.at;
  return last;
}
std::size_t count(const ScheduleCore& core, ScheduleVerb verb) {
  std::size_t found = 0;
  for (const aura::ScheduleAction& action : core.actions()) found += action.verb == verb;
  return found;
}
aura::TaskAccepted placed(ScheduleCore& core, SteadyTime now = begin, aura::ScheduleTask task = {}) {
  const auto accepted = core.submit(task, now);
  INFO((accepted ? std::string() : to_string(accepted.error())));
  REQUIRE(accepted.has_value());
  REQUIRE(accepted->node != not_placed);
  return *accepted;
}
void run(ScheduleCore& core, const aura::TaskAccepted& task, SteadyTime now = begin) {
  REQUIRE(core.started(task.task, core.find(task.task)->fence, now));
}

/// A host that does anything at any time, and knows from the actions alone what is where.
class RandomHost {
 public:
  explicit RandomHost(std::uint64_t seed) : dice_(seed), core_(make(dice_)) {}

  void step() {
    now_ += aura::Duration(dice_.below(30) * 1'000'000);
    switch (dice_.below(12)) {
      case 0: change_nodes(); break;
      case 1:
      case 2:
      case 3:
      case 4: submit(); break;
      case 5:
      case 6: start(); break;
      case 7:
      case 8: end(); break;
      case 9: report_stale(); break;
      case 10: cancel(); break;
      default: optimise();
    }
    hear();
    check();
  }
  aura::ScheduleStats stats() const { return core_.stats(); }

 private:
  static ScheduleCore make(aura::Random& dice) {
    aura::ScheduleOptions options;
    options.resources = {"memory", "disk"};
    options.nodes_max = 5;
    options.tasks_max = 24;
    options.waiting_max = 10;
    options.overtakes_max = 4;
    options.margin = static_cast<double>(dice.below(60));
    for (int c = 0; c < 5; ++c) {
      aura::ScheduleClass its;
      its.name = "class " + std::to_string(c);
      its.demand = {0.1 * static_cast<double>(1 + dice.below(40)), 0.1 * static_cast<double>(dice.below(30))};
      its.work = std::chrono::milliseconds(5 + dice.below(100));
      its.sla = {.target = std::chrono::milliseconds(dice.below(100)),
                 .maximum = std::chrono::milliseconds(dice.chance(0.3) ? 500 : 1'000'000),
                 .percentile = c % 2 == 0 ? 0.9 : 0.99,
                 .penalty_per_ms = static_cast<double>(dice.below(4)),
                 .penalty_broken = static_cast<double>(dice.below(100))};
      its.movable = dice.chance(0.7);
      its.preemption = static_cast<aura::Preemption>(dice.below(3));
      its.move_price = static_cast<double>(dice.below(5));
      its.preempt_price = static_cast<double>(dice.below(10));
      if (dice.chance(0.3)) its.reject_price = static_cast<double>(dice.below(200));
      if (dice.chance(0.3)) its.needs = 1;
      if (dice.chance(0.3)) its.likes = 2, its.elsewhere_price = 3;
      if (dice.chance(0.5)) its.per_node_max = 1 + dice.below(2);
      if (dice.chance(0.3)) its.crowding_price = 5;
      if (c == 4)
        its.arrivals = aura::ArrivalModel{
            .period = 50ms, .burst = 2, .work = 10ms, .ways = 1 + static_cast<std::uint32_t>(dice.below(2))};
      options.classes.push_back(its);
    }
    return ScheduleCore::make(std::move(options), dice).value();
  }

  void change_nodes() {
    const auto at = static_cast<NodeIndex>(dice_.below(5));
    switch (dice_.below(6)) {
      case 0:
      case 1: {
        aura::ScheduleNode given{.capacity = {0.1 * static_cast<double>(dice_.below(150)), 5},
                                 .speed = 0.5 + dice_.uniform()};
        given.slots = 1 + static_cast<std::uint32_t>(dice_.below(3));
        given.labels = dice_.below(4);
        if (const auto joined = core_.join(given, now_)) up_.insert(*joined);
        break;
      }
      case 2: core_.drain(at, now_); break;
      case 3: core_.resume(at, now_); break;
      case 4: core_.fail(at, now_); break;
      default: dice_.chance(0.5) ? void(core_.recover(at, now_)) : void(core_.leave(at, now_));
    }
  }
  void submit() {
    aura::ScheduleTask task{.class_index = static_cast<std::uint32_t>(dice_.below(5)), .key = ++keys_};
    task.size = 0.5 + dice_.uniform();
    task.group = dice_.below(4);
    const std::vector<double> own{0.1 * static_cast<double>(dice_.below(60)), 0.3};
    if (dice_.chance(0.3)) task.demand = own;
    const auto accepted = core_.submit(task, now_);
    if (!accepted) return;
    known_.insert(task.key);
    classes_[task.key] = task.class_index;
    ids_[task.key] = accepted->task;
  }
  std::optional<aura::TaskPlacement> any() {
    if (at_.empty()) return std::nullopt;
    auto picked = at_.begin();
    std::advance(picked, static_cast<std::ptrdiff_t>(dice_.below(at_.size())));
    return picked->second;
  }
  void start() {
    const auto task = any();
    if (task && core_.started(task->task, task->fence, now_)) running_.insert(task->key);
    if (task && dice_.chance(0.3)) core_.progressed(task->task, task->fence, dice_.uniform());
  }
  void end() {
    const auto task = any();
    if (!task) return;
    const auto how = static_cast<TaskEnd>(dice_.below(3));
    REQUIRE(core_.ended(task->task, task->fence, how, now_).has_value());
    forget(task->key);
  }
  void report_stale() {
    if (gone_.empty()) return;
    const aura::TaskPlacement old = gone_[dice_.below(gone_.size())];
    const std::uint64_t before = core_.stats().stale_reports;
    REQUIRE_FALSE(core_.started(old.task, old.fence, now_));
    REQUIRE_FALSE(core_.ended(old.task, old.fence, TaskEnd::finished, now_).has_value());
    REQUIRE(core_.stats().stale_reports == before + 2);
  }
  void cancel() {
    if (known_.empty() || !dice_.chance(0.3)) return;
    const std::uint64_t key = *known_.begin();
    REQUIRE(core_.cancel(ids_[key], now_));
    hear();
    forget(key);
  }
  void optimise() {
    TinySolver solver;
    const auto taken = core_.snapshot(now_);
    if (!taken) return;
    const auto sound = aura::SoundProblem::make(taken->problem).value();
    const auto decision = aura::decide(*taken, *sound, solver.solve(sound->model(), taken->stay, {}));
    REQUIRE(decision.has_value());
    REQUIRE(decision->cost <= decision->cost_before + 1e-6);
    for (std::uint64_t meanwhile = dice_.below(4); meanwhile > 0; --meanwhile) {  // the world goes on
      switch (dice_.below(4)) {
        case 0: submit(); break;
        case 1: start(); break;
        case 2: change_nodes(); break;
        default: end();
      }
      hear();
    }
    core_.apply(*decision, now_);
    applying_ = true;
    hear();
    applying_ = false;
  }

  /// Carries the actions out, and holds each against what it knew.
  void hear() {
    for (const aura::ScheduleAction& action : core_.actions()) {
      const std::uint64_t key = action.at.key;
      switch (action.verb) {
        case ScheduleVerb::start:
          REQUIRE(action.at.fence > fence_);
          fence_ = action.at.fence;
          REQUIRE_FALSE(at_.contains(key));
          at_[key] = action.at;
          break;
        case ScheduleVerb::preempt: {
          REQUIRE(at_.at(key) == action.at);
          const aura::ScheduleClass& its = core_.options().classes[classes_.at(key)];
          if (applying_) REQUIRE((running_.contains(key) ? its.preemption != aura::Preemption::never : its.movable));
          if (applying_) REQUIRE_FALSE(its.arrivals);
          gone_.push_back(action.at);
          at_.erase(key);
          running_.erase(key);
          break;
        }
        case ScheduleVerb::lost: REQUIRE(at_.at(key) == action.at); [[fallthrough]];
        case ScheduleVerb::rejected: forget(key);
      }
    }
    core_.clear_actions();
  }
  void forget(std::uint64_t key) {
    if (const auto old = at_.find(key); old != at_.end()) {
      gone_.push_back(old->second);
      at_.erase(old);
    }
    running_.erase(key);
    known_.erase(key);
    if (gone_.size() > 50) gone_.erase(gone_.begin());
  }
  void check() {
    const auto sound = core_.check();
    INFO((sound ? std::string() : to_string(sound.error())));
    REQUIRE(sound.has_value());
    const aura::ScheduleStats stats = core_.stats();
    REQUIRE(known_.size() == stats.waiting + stats.placed + stats.running);
    REQUIRE(at_.size() == stats.placed + stats.running);
    REQUIRE(running_.size() == stats.running);
    for (const auto& [key, task] : at_) REQUIRE(core_.find(task.task) == task);
  }

  aura::Random dice_;
  ScheduleCore core_;
  SteadyTime now_{};
  std::uint64_t keys_ = 0, fence_ = 0;
  std::set<NodeIndex> up_;
  std::set<std::uint64_t> known_, running_;
  bool applying_ = false;
  std::map<std::uint64_t, std::uint32_t> classes_;
  std::map<std::uint64_t, aura::TaskId> ids_;
  std::map<std::uint64_t, aura::TaskPlacement> at_;
  std::vector<aura::TaskPlacement> gone_;
};

}  // namespace

TEST_CASE("whatever happens, no node bears too much, no task is lost and every fence is new") {
  aura::ScheduleStats all;
  for_each_seed("operational", "whatever happens, no node bears too much, no task is lost and every fence is new", 60,
                [&](std::uint64_t seed) {
                  RandomHost host(seed);
                  for (int step = 0; step < 400; ++step) host.step();
                  const aura::ScheduleStats its = host.stats();
                  all.moved += its.moved, all.preempted += its.preempted, all.stale_entries += its.stale_entries;
                  all.lost += its.lost, all.rejected += its.rejected, all.moves_unpaid += its.moves_unpaid;
                  all.refused_bound += its.refused_bound, all.refused_demand += its.refused_demand;
                  all.refused_full += its.refused_full, all.refused_nowhere += its.refused_nowhere;
                });
  if (std::getenv("AURA_SEED") != nullptr) return;
  CAPTURE(all.moved, all.preempted, all.stale_entries, all.lost, all.rejected, all.moves_unpaid, all.refused_bound,
          all.refused_demand, all.refused_full, all.refused_nowhere);
  for (const std::uint64_t happened :
       {all.moved, all.preempted, all.stale_entries, all.lost, all.rejected, all.moves_unpaid, all.refused_bound,
        all.refused_demand, all.refused_full, all.refused_nowhere})
    REQUIRE(happened > 0);
}

TEST_CASE("a task is accepted with a bound and placed at once") {
  ScheduleCore core = core_of(one_class({.work = 80ms}));
  core.join(node(4, 2), begin).value();
  const auto task = placed(core);
  REQUIRE(task.bound == 40ms);
  REQUIRE(core.actions().size() == 1);
  REQUIRE(start_of(core, task.task)->node == 0);
}

TEST_CASE("a task that the bound does not fit is refused, and told when to come again") {
  ScheduleCore core = core_of(one_class({.sla = {.target = 50ms, .maximum = 90ms}, .work = 80ms}));
  core.join(node(4), begin).value();
  REQUIRE(placed(core).bound == 80ms);
  const auto refused = core.submit({}, begin);
  REQUIRE_FALSE(refused.has_value());
  REQUIRE(refused.error().is(aura::placement_errc::refused));
  REQUIRE(refused.error().retry_after() > 0ms);
  REQUIRE(core.stats().refused_bound == 1);
  REQUIRE(core.class_stats(0).refused == 1);
  REQUIRE(core.stats().placed == 1);
}

TEST_CASE("a task is placed on a slower node rather than refused, where that one keeps the maximum") {
  ScheduleCore core = core_of(one_class({.sla = {.target = 50ms, .maximum = 170ms}, .work = 80ms}));
  core.join(node(9, 1), begin).value();
  core.join(node(9, 0.5), begin).value();
  std::size_t accepted = 0;
  while (core.submit({}, begin)) ++accepted;
  REQUIRE(accepted == 3);  // two on the fast node, one on the slow one
  REQUIRE(core.tasks_on(1) == 1);
}

TEST_CASE("a class that declared more than the nodes can do is refused by the demand-bound test") {
  auto options = one_class({.sla = {.target = 100ms, .maximum = 100ms}, .work = 10ms});
  options.classes[0].arrivals = aura::ArrivalModel{.period = 50ms, .burst = 3, .work = 40ms};
  ScheduleCore core = core_of(options);
  core.join(node(9), begin).value();
  const auto refused = core.submit({}, begin);
  REQUIRE_FALSE(refused.has_value());
  REQUIRE(refused.error().is(aura::demand_errc::over_capacity));
  REQUIRE(core.stats().refused_demand == 1);
  core.join(node(9, 2), begin).value();  // 3 of 20 ms within 100 ms: that will do
  const auto home = placed(core);
  REQUIRE(home.node == 1);
}

TEST_CASE("a class that sends faster than it declared is refused until its next turn") {
  auto options = one_class({.sla = {.target = 1s, .maximum = 1s}, .work = 10ms});
  options.classes[0].arrivals = aura::ArrivalModel{.period = 100ms, .burst = 2, .work = 10ms};
  ScheduleCore core = core_of(options);
  core.join(node(9), begin).value();
  placed(core);
  placed(core);
  const auto refused = core.submit({}, begin);
  REQUIRE(refused.error().is(aura::placement_errc::refused));
  REQUIRE(refused.error().retry_after() == 100ms);
  placed(core, begin + 100ms);
  REQUIRE_FALSE(core.submit({}, begin + 100ms).has_value());
}

TEST_CASE("tables that are full refuse, and what no node could ever hold does not wait for one") {
  auto options = one_class();
  options.tasks_max = 2;
  options.waiting_max = 1;
  ScheduleCore core = core_of(options);
  REQUIRE(core.submit({}, begin).error().is(aura::placement_errc::infeasible));
  core.join(node(1), begin).value();
  const std::vector<double> large{2};
  REQUIRE(core.submit({.demand = large}, begin).error().is(aura::placement_errc::infeasible));
  placed(core);
  REQUIRE(core.submit({}, begin)->node == not_placed);
  REQUIRE(core.submit({}, begin).error().is(aura::placement_errc::full));
  REQUIRE(core.stats().waiting == 1);
}

TEST_CASE("one that waits is placed when room comes free, and nobody passes it for ever") {
  auto options = one_class();
  options.overtakes_max = 3;
  ScheduleCore core = core_of(options);
  core.join(node(2, 1, 2), begin).value();
  const std::vector<double> both{2};
  aura::TaskAccepted last = placed(core);
  const auto large = core.submit({.key = 7, .demand = both}, begin).value();
  REQUIRE(large.node == not_placed);
  std::size_t passed = 0;
  for (; passed < 10; ++passed) {  // small ones follow each other closely, so that never both places are free
    const auto next = core.submit({}, begin).value();
    core.ended(last.task, core.find(last.task)->fence, TaskEnd::finished, begin + 1ms).value();
    last = next;
    if (next.node == not_placed) break;
  }
  REQUIRE(passed == 3);
  REQUIRE(core.find(large.task)->node == 0);
}

TEST_CASE("tasks of a failed node are told as lost, and its late reports are refused") {
  ScheduleCore core = core_of(one_class());
  core.join(node(4), begin).value();
  const auto task = placed(core, begin, {.key = 11});
  const auto old = *core.find(task.task);
  core.clear_actions();
  REQUIRE(core.fail(0, begin + 1ms) == 1);
  REQUIRE(core.actions().size() == 1);
  REQUIRE(core.actions()[0].verb == ScheduleVerb::lost);
  REQUIRE(core.actions()[0].at == old);
  REQUIRE_FALSE(core.ended(old.task, old.fence, TaskEnd::finished, begin + 2ms).has_value());
  REQUIRE(core.stats().stale_reports == 1);
  REQUIRE(core.submit({.key = 11}, begin + 2ms).error().is(aura::placement_errc::infeasible));
  REQUIRE(core.recover(0, begin + 3ms));
  REQUIRE(start_of(core, placed(core, begin + 3ms, {.key = 11}).task)->fence > old.fence);
  REQUIRE(core.check().has_value());
}

TEST_CASE("a draining node gets nothing new and keeps what it has") {
  ScheduleCore core = core_of(one_class());
  core.join(node(4), begin).value();
  core.join(node(4, 0.1), begin).value();
  const auto task = placed(core);
  run(core, task);
  REQUIRE(core.drain(0, begin));
  REQUIRE(placed(core).node == 1);
  REQUIRE(core.find(task.task)->node == 0);
}

TEST_CASE("what waits at a draining node is moved, where that pays") {
  ScheduleCore core =
      core_of(one_class({.sla = {.target = 0ms, .penalty_per_ms = 1}, .work = 100ms, .move_price = 5}));
  core.join(node(9), begin).value();
  for (int i = 0; i < 2; ++i) run(core, placed(core));
  const auto moved = placed(core);
  core.join(node(9), begin).value();
  core.drain(0, begin);
  TinySolver solver;
  const auto done = core.optimise(solver, begin).value();
  REQUIRE(done.moved == 1);
  REQUIRE(core.find(moved.task)->node == 1);
  REQUIRE(core.tasks_on(0) == 2);
}

TEST_CASE("a move happens only where it saves its own price and the margin") {
  for (const double price : {0.0, 120.0, 260.0}) {
    auto options = one_class({.sla = {.target = 0ms, .penalty_per_ms = 1}, .work = 100ms, .move_price = price});
    options.margin = 100;
    ScheduleCore core = core_of(options);
    core.join(node(9), begin).value();
    run(core, placed(core));
    const auto waits = placed(core);  // for 100 ms
    run(core, placed(core));          // another runs before it: 200 ms
    core.join(node(9), begin).value();
    TinySolver solver;
    const auto done = core.optimise(solver, begin).value();
    REQUIRE((done.moved == 1) == (price < 110));  // it saves 200 ms at 1 a millisecond
    REQUIRE((core.find(waits.task)->node == 1) == (price < 110));
    REQUIRE((done.unpaid == 1) == (price > 110 && price < 200));
  }
}

TEST_CASE("what runs stays where its class says so, and is preempted where it pays") {
  for (const auto kind : {aura::Preemption::never, aura::Preemption::resume, aura::Preemption::restart}) {
    ScheduleCore core = core_of(one_class(
        {.sla = {.target = 0ms, .penalty_per_ms = 1}, .work = 1000ms, .preemption = kind, .preempt_price = 10}));
    core.join(node(9, 0.1), begin).value();
    const auto task = placed(core);
    run(core, task);
    const auto old = *core.find(task.task);
    REQUIRE(core.progressed(task.task, old.fence, 0.5));
    core.join(node(9), begin).value();
    TinySolver solver;
    const auto done = core.optimise(solver, begin + 1000ms);
    REQUIRE(done.has_value());
    REQUIRE(done->preempted == (kind == aura::Preemption::never ? 0u : 1u));
    if (kind == aura::Preemption::never) continue;
    REQUIRE(core.actions()[core.actions().size() - 2].at == old);
    REQUIRE(core.actions().back().at.fence > old.fence);
    REQUIRE_FALSE(core.ended(old.task, old.fence, TaskEnd::finished, begin + 1001ms).has_value());
    REQUIRE(core.ended(task.task, core.find(task.task)->fence, TaskEnd::finished, begin + 2s).has_value());
    REQUIRE(core.estimator().observations(0, 1) == 0);  // a run that was cut short says nothing
  }
}

TEST_CASE("half of a task that resumes is left, and all of one that restarts") {
  for (const bool resumes : {true, false}) {
    ScheduleCore core =
        core_of(one_class({.sla = {.target = 0ms, .penalty_per_ms = 1},
                           .work = 1000ms,
                           .preemption = resumes ? aura::Preemption::resume : aura::Preemption::restart}));
    core.join(node(9), begin).value();
    const auto task = placed(core);
    run(core, task);
    core.progressed(task.task, 1, 0.5);
    core.join(node(9, 1.25), begin).value();  // takes 400 ms for half of it, 800 ms for the whole
    TinySolver solver;
    REQUIRE(core.optimise(solver, begin + 450ms)->preempted == (resumes ? 1 : 0));
  }
}

TEST_CASE("what has gone on while the solver ran is left alone") {
  ScheduleCore core = core_of(one_class({.sla = {.target = 0ms, .penalty_per_ms = 1}, .work = 100ms}));
  core.join(node(9), begin).value();
  run(core, placed(core));
  const auto first = placed(core), second = placed(core);
  core.join(node(9), begin).value();
  core.join(node(9), begin).value();
  const auto taken = core.snapshot(begin);
  const auto sound = aura::SoundProblem::make(taken->problem).value();
  TinySolver solver;
  const auto decision = aura::decide(*taken, *sound, solver.solve(sound->model(), taken->stay, {}));
  REQUIRE(decision->changes.size() == 2);
  run(core, first);
  const auto done = core.apply(*decision, begin);
  REQUIRE(done.stale == 1);
  REQUIRE(done.moved == 1);
  REQUIRE(core.find(first.task)->node == 0);
  REQUIRE(core.find(second.task)->node != 0);
  REQUIRE(core.stats().stale_entries == 1);
}

TEST_CASE("an answer does not fill a node that was filled meanwhile") {
  ScheduleCore core = core_of(one_class({.sla = {.target = 0ms, .penalty_per_ms = 1}, .work = 100ms}));
  core.join(node(9), begin).value();
  run(core, placed(core));
  const auto task = placed(core);
  core.join(node(1), begin).value();
  const auto taken = core.snapshot(begin);
  const auto sound = aura::SoundProblem::make(taken->problem).value();
  TinySolver solver;
  const auto decision = aura::decide(*taken, *sound, solver.solve(sound->model(), taken->stay, {}));
  REQUIRE(decision->changes.size() == 1);
  REQUIRE(placed(core).node == 1);
  REQUIRE(core.apply(*decision, begin).stale == 1);
  REQUIRE(core.find(task.task)->node == 0);
  REQUIRE(core.check().has_value());
}

TEST_CASE("two tasks swap full nodes") {
  auto options = one_class({.sla = {.target = 0ms, .penalty_per_ms = 1}, .work = 100ms});
  options.classes.push_back(options.classes[0]);
  options.classes[1].name = "other";
  options.classes[0].likes = 1, options.classes[0].elsewhere_price = 1000;
  options.classes[1].likes = 2, options.classes[1].elsewhere_price = 1000;
  ScheduleCore core = core_of(options);
  core.join({.capacity = {1}, .labels = 2}, begin).value();
  const auto first = placed(core, begin, {.class_index = 0});
  core.join({.capacity = {1}, .labels = 1}, begin).value();
  const auto second = placed(core, begin, {.class_index = 1});
  ScriptedSolver swap{[](const aura::PlacementModel& model, std::span<const NodeIndex>) {
    aura::SolveAnswer answer{.status = aura::SolveStatus::feasible, .placement = {1, 0}};
    answer.cost = TinySolver::cost_of(model, answer.placement);
    return answer;
  }};
  const auto done = core.optimise(swap, begin).value();
  REQUIRE(done.moved == 2);
  REQUIRE(core.find(first.task)->node == 1);
  REQUIRE(core.find(second.task)->node == 0);
  REQUIRE(core.check().has_value());
}

TEST_CASE("a solver that errs changes nothing") {
  ScheduleCore core = core_of(one_class({.sla = {.target = 0ms, .penalty_per_ms = 1}, .work = 100ms}));
  core.join(node(1), begin).value();
  core.join(node(3), begin).value();
  for (int i = 0; i < 3; ++i) placed(core);
  const std::size_t before = core.actions().size();
  for (const double cost : {0.0, 1e9}) {
    ScriptedSolver wrong{[cost](const aura::PlacementModel& model, std::span<const NodeIndex>) {
      aura::SolveAnswer answer{.status = aura::SolveStatus::optimal, .cost = cost, .lower_bound = cost};
      answer.placement.assign(model.tasks(), cost == 0 ? NodeIndex{0} : NodeIndex{1});
      return answer;
    }};
    REQUIRE(core.optimise(wrong, begin).error().is(aura::placement_errc::bad_answer));
  }
  REQUIRE(core.actions().size() == before);
}

TEST_CASE("tasks of one group never share a node where that is forbidden") {
  ScheduleCore core = core_of(one_class({.per_node_max = 1}));
  core.join(node(9, 4), begin).value();
  core.join(node(9, 1), begin).value();
  REQUIRE(placed(core, begin, {.group = 5}).node != placed(core, begin, {.group = 5}).node);
  REQUIRE(core.submit({.group = 5}, begin)->node == not_placed);
  REQUIRE(placed(core, begin, {.group = 6}).node != not_placed);
  TinySolver solver;
  core.optimise(solver, begin).value();
  REQUIRE(core.stats().waiting == 1);
  REQUIRE(core.check().has_value());
}

TEST_CASE("a task that was accepted is given up only at its price") {
  for (const double price : {10.0, 1e6}) {
    ScheduleCore core =
        core_of(one_class({.sla = {.target = 0ms, .penalty_per_ms = 1}, .work = 100ms, .reject_price = price}));
    core.join(node(1), begin).value();
    run(core, placed(core));
    const auto waits = core.submit({.key = 3}, begin).value();
    TinySolver solver;
    REQUIRE(core.optimise(solver, begin)->rejected == (price < 100 ? 1 : 0));
    REQUIRE(core.find(waits.task).has_value() == (price > 100));
    REQUIRE(count(core, ScheduleVerb::rejected) == (price < 100 ? 1 : 0));
    REQUIRE(core.stats().conserved());
  }
}

TEST_CASE("the bound is learned from what tasks take, and is kept in the share that was asked for") {
  auto options = one_class({.sla = {.percentile = 0.9}, .work = 1ms});
  ScheduleCore core = core_of(options);
  core.join(node(100), begin).value();
  aura::Random dice(5);
  SteadyTime now = begin;
  std::size_t kept = 0;
  for (int i = 0; i < 4000; ++i) {  // from 1 to 2 ms, and three times as long in the second half
    const auto task = placed(core, now);
    run(core, task, now);
    now += aura::Duration(static_cast<std::int64_t>((1 + dice.uniform()) * (i < 2000 ? 1e6 : 3e6)));
    kept += core.ended(task.task, core.find(task.task)->fence, TaskEnd::finished, now)->kept;
    core.clear_actions();
  }
  REQUIRE(kept > 3520);
  REQUIRE(kept < 3680);
  REQUIRE(core.class_stats(0).over_bound == 4000 - kept);
}

TEST_CASE("an old number is refused, whatever it reports") {
  ScheduleCore core = core_of(one_class());
  core.join(node(4), begin).value();
  const auto task = placed(core);
  const std::uint64_t fence = core.find(task.task)->fence;
  REQUIRE_FALSE(core.started(task.task, fence - 1, begin));
  REQUIRE_FALSE(core.progressed(task.task, fence + 1, 0.5));
  REQUIRE_FALSE(core.ended(task.task, fence - 1, TaskEnd::finished, begin).has_value());
  REQUIRE(core.ended(task.task, fence, TaskEnd::finished, begin).has_value());
  REQUIRE_FALSE(core.ended(task.task, fence, TaskEnd::finished, begin).has_value());
  REQUIRE(core.stats().stale_reports == 4);
}

TEST_CASE("what makes no sense is refused by name") {
  auto options = one_class();
  options.classes.push_back(options.classes[0]);
  REQUIRE(ScheduleCore::make(options).error().message().find("class 1 (class) is there twice") != std::string::npos);
  options.classes.pop_back();
  options.classes[0].demand = {-1};
  REQUIRE(ScheduleCore::make(options).error().message().find("class 0 (class)") != std::string::npos);
  ScheduleCore core = core_of(one_class());
  REQUIRE(core.join({.name = "a", .capacity = {}}, begin).error().message() ==
          "node a has 0 capacities, and there are 1 resources");
  REQUIRE(core.join({.name = "a", .capacity = {1}, .slots = 0}, begin).error().message() == "node a has no slot");
  core.join(node(1), begin).value();
  REQUIRE_FALSE(core.submit({.class_index = 1}, begin).has_value());
  REQUIRE_FALSE(core.submit({.size = 0}, begin).has_value());
  REQUIRE(core.stats().refused() == 0);
}

TEST_CASE("an answer is not applied to another node that has taken the place of the one it meant") {
  ScheduleCore core = core_of(one_class({.sla = {.target = 0ms, .penalty_per_ms = 1}, .work = 100ms, .needs = 1}));
  core.join({.capacity = {9}, .labels = 1}, begin).value();
  run(core, placed(core));
  const auto task = placed(core);
  const NodeIndex idle = core.join({.capacity = {9}, .labels = 1}, begin).value();
  const auto taken = core.snapshot(begin);
  const auto sound = aura::SoundProblem::make(taken->problem).value();
  TinySolver solver;
  const auto decision = aura::decide(*taken, *sound, solver.solve(sound->model(), taken->stay, {}));
  REQUIRE(decision->changes.size() == 1);
  core.leave(idle, begin);
  REQUIRE(core.join({.capacity = {9}, .labels = 2}, begin).value() == idle);
  REQUIRE(core.apply(*decision, begin).stale == 1);
  REQUIRE(core.find(task.task)->node == 0);
}

TEST_CASE("an answer does not bring two of a group together, one of which came meanwhile") {
  ScheduleCore core =
      core_of(one_class({.sla = {.target = 0ms, .penalty_per_ms = 1}, .work = 100ms, .per_node_max = 1}));
  core.join(node(9), begin).value();
  run(core, placed(core));
  const auto task = placed(core, begin, {.group = 4});
  core.join(node(9), begin).value();
  const auto taken = core.snapshot(begin);
  const auto sound = aura::SoundProblem::make(taken->problem).value();
  TinySolver solver;
  const auto decision = aura::decide(*taken, *sound, solver.solve(sound->model(), taken->stay, {}));
  REQUIRE(decision->changes.size() == 1);
  REQUIRE(placed(core, begin, {.group = 4}).node == 1);
  REQUIRE(core.apply(*decision, begin).stale == 1);
  REQUIRE(core.find(task.task)->node == 0);
  REQUIRE(core.check().has_value());
}

TEST_CASE("what may not be moved takes its room away, and a draining node offers none") {
  ScheduleCore core = core_of(one_class({.sla = {.target = 0ms, .penalty_per_ms = 1}, .work = 100ms}));
  core.join(node(2, 1, 2), begin).value();
  run(core, placed(core));
  run(core, placed(core));
  const auto waits = core.submit({}, begin).value();
  core.join({.capacity = {0.5}}, begin).value();
  core.drain(core.join(node(9), begin + 1ms).value(), begin + 1ms);
  REQUIRE(core.find(waits.task)->node == 2);  // it was up for a moment
  const auto other = core.submit({}, begin + 1ms).value();
  const auto taken = core.snapshot(begin + 1ms);
  REQUIRE(taken->problem.nodes.size() == 3);
  REQUIRE(taken->problem.nodes[0].capacity[0] == 0);
  REQUIRE_FALSE(taken->problem.nodes[2].accepting);
  TinySolver solver;
  const auto done = core.optimise(solver, begin + 1ms).value();
  REQUIRE(done.stale == 0);
  REQUIRE(done.placed == 0);
  REQUIRE(core.find(other.task)->node == not_placed);
}

TEST_CASE("one good move does not pay for another, and two that need each other's room pay together") {
  const auto decide_on = [](double first_saves, double second_saves, double capacity, aura::Placement answer) {
    aura::ScheduleSnapshot taken{.margin = 50};
    taken.problem.resources = {"memory"};
    taken.problem.nodes = {{.capacity = {capacity}}, {.capacity = {capacity}}};
    const std::vector<double> saves{first_saves, second_saves};
    for (NodeIndex j = 0; j < 2; ++j) {
      aura::PlacementTask task{.demand = {1}, .current = capacity == 1 ? j : 0, .move_price = 5};
      task.price_on = {1000, 1000};
      task.price_on[1 - *task.current] -= saves[j];
      taken.stay.push_back(*task.current);
      taken.tasks.push_back({.id = {j, 0}});
      taken.problem.tasks.push_back(task);
      taken.nodes.push_back({.index = j});
    }
    const auto sound = aura::SoundProblem::make(taken.problem).value();
    const double cost = TinySolver::cost_of(sound->model(), answer);
    return aura::decide(taken, *sound, {.status = aura::SolveStatus::feasible, .placement = answer, .cost = cost})
        .value();
  };
  const auto apart = decide_on(100, 20, 9, {1, 1});
  REQUIRE(apart.changes.size() == 1);
  REQUIRE(apart.changes[0].task.id.index == 0);
  REQUIRE(apart.unpaid == 1);
  REQUIRE(decide_on(100, 55, 9, {1, 1}).changes.size() == 2);  // each saves its price and the margin
  REQUIRE(decide_on(100, 54, 9, {1, 1}).changes.size() == 1);
  REQUIRE(decide_on(100, 20, 1, {1, 0}).changes.size() == 2);  // a swap: 120 for two prices and two margins
  const auto swap = decide_on(80, 20, 1, {1, 0});
  REQUIRE(swap.changes.empty());
  REQUIRE(swap.unpaid == 2);
  REQUIRE(swap.cost == swap.cost_before);
}
