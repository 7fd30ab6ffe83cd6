// A solve on the blocking executor: answered at its deadline, verified, and never two at a time.
#include "support/catch.hpp"

#include <aura/core/asio_runtime.hpp>
#include <aura/operational/placement/async_solve.hpp>
#include <aura/sim/runtime.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_future.hpp>

#include <atomic>
#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <stdexcept>
#include <utility>
#include <vector>

namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;
using aura::Placement;
using aura::PlacementModel;
using aura::Result;
using aura::SolveAnswer;
using aura::SolveLimits;
using aura::SolveOutcome;
using aura::SolveStatus;
using aura::SteadyTime;

/// Does what it is told to. Knows how many of its kind are at work at once.
struct Scripted {
  using Script =
      std::function<SolveAnswer(const PlacementModel&, std::span<const aura::NodeIndex>, const SolveLimits&)>;
  Script script{};

  SolveAnswer solve(const PlacementModel& model, std::span<const aura::NodeIndex> incumbent,
                    const SolveLimits& limits) {
    return script(model, incumbent, limits);
  }
};
static_assert(aura::solver<Scripted>);

/// Two tasks and two nodes that hold one each. {0, 1} costs 3, {1, 0} costs 7.
std::shared_ptr<const aura::SoundProblem> small() {
  aura::PlacementProblem problem;
  problem.resources = {"memory"};
  problem.nodes = {{.capacity = {10}}, {.capacity = {10}}};
  problem.tasks = {{.demand = {6}, .price_on = {1, 3}}, {.demand = {6}, .price_on = {4, 2}}};
  return aura::SoundProblem::make(problem).value();
}

const Placement best{0, 1}, other{1, 0}, broken{0, 0};

SolveAnswer optimum() { return {.status = SolveStatus::optimal, .placement = best, .cost = 3, .lower_bound = 3}; }

/// One session in virtual time, and what its calls completed with.
struct World {
  explicit World(Scripted::Script script) : session(std::in_place, world, Scripted{std::move(script)}) {}

  struct Call {
    std::optional<Result<SolveOutcome>> result{};
    aura::Duration at{};
    asio::cancellation_signal signal{};
    const SolveOutcome& outcome() const {
      REQUIRE(result);
      REQUIRE(result->has_value());
      return **result;
    }
  };

  std::unique_ptr<Call> start(Placement incumbent = {}, SteadyTime deadline = SteadyTime::max()) {
    auto call = std::make_unique<Call>();
    session->async_solve({.problem = problem, .incumbent = std::move(incumbent), .deadline = deadline},
                         asio::bind_cancellation_slot(call->signal.slot(), [this, c = call.get()](auto result) {
                           REQUIRE(!c->result);
                           c->result.emplace(std::move(result));
                           c->at = world.steady_now().time_since_epoch();
                         }));
    REQUIRE(!call->result);
    return call;
  }

  aura::sim::Runtime world;
  std::shared_ptr<const aura::SoundProblem> problem = small();
  std::optional<aura::SolveSession<Scripted>> session;
};

}  // namespace

TEST_CASE("a solver's answer is handed out with its cost, and the solver is told the limits") {
  SteadyTime deadline;
  World w([&](const PlacementModel& model, std::span<const aura::NodeIndex> incumbent, const SolveLimits& limits) {
    CHECK(model.tasks() == 2);
    CHECK(incumbent.size() == 2);
    CHECK(limits.clock() == SteadyTime(0ms));
    deadline = limits.deadline;
    return optimum();
  });
  const auto call = w.start(other, SteadyTime(100ms));
  CHECK(w.session->is_busy());
  w.world.run();
  CHECK(call->outcome().answer.status == SolveStatus::optimal);
  CHECK(call->outcome().answer.placement == best);
  CHECK(call->outcome().cost.price == 3);
  CHECK(!call->outcome().was_abandoned);
  CHECK(!call->outcome().error);
  CHECK(deadline == SteadyTime(99'500us));
  CHECK(call->at == 0ms);
  CHECK(!w.session->is_busy());
  CHECK(w.world.steady_now() == SteadyTime(0ms));  // no timer is left behind
}

TEST_CASE("at the deadline the caller gets what was found so far, and the solve drains behind") {
  World slow([&](const auto&, auto, const SolveLimits& limits) {
    limits.progress->found(best, 3);
    limits.progress->proved(1);
    slow.world.advance(50ms);  // this job alone: what it posts comes later
    return optimum();
  });
  const auto call = slow.start(other, SteadyTime(10ms));
  slow.world.run_until(SteadyTime(20ms));
  CHECK(call->at == 10ms);
  CHECK(call->outcome().was_abandoned);
  CHECK(call->outcome().answer.status == SolveStatus::feasible);
  CHECK(call->outcome().answer.placement == best);
  CHECK(call->outcome().answer.lower_bound == 1);
  CHECK(call->outcome().answer.reason == "the deadline came before the solver's answer");
  CHECK(slow.session->is_busy());

  const auto meanwhile = slow.start(other);
  slow.world.run_until(SteadyTime(20ms));
  CHECK(meanwhile->at == 20ms);
  CHECK(meanwhile->outcome().is_incumbent);
  CHECK(meanwhile->outcome().answer.status == SolveStatus::feasible);
  CHECK(meanwhile->outcome().answer.cost == 7);
  CHECK(meanwhile->outcome().answer.reason == "a solve that was begun before still runs");
  const auto without = slow.start(broken);
  slow.world.run_until(SteadyTime(20ms));
  CHECK(without->outcome().answer.status == SolveStatus::stopped);

  slow.world.run();
  CHECK(slow.world.steady_now() == SteadyTime(50ms));
  CHECK(!slow.session->is_busy());
  const auto after = slow.start();
  slow.world.run();
  CHECK(after->outcome().answer.status == SolveStatus::optimal);
}

TEST_CASE("at the deadline, with nothing found, the caller gets the incumbent where that holds") {
  World w([&](const auto&, auto, const SolveLimits&) {
    w.world.advance(50ms);
    return optimum();
  });
  const auto call = w.start(other, SteadyTime(10ms));
  w.world.run();
  CHECK(call->at == 10ms);
  CHECK(call->outcome().is_incumbent);
  CHECK(call->outcome().answer.placement == other);
  const auto without = w.start(broken, SteadyTime(70ms));
  w.world.run();
  CHECK(without->at == 70ms);
  CHECK(without->outcome().answer.status == SolveStatus::stopped);
  CHECK(without->outcome().answer.placement.empty());
}

TEST_CASE("an answer that breaks a constraint or lies is put aside for the incumbent, with the error") {
  SolveAnswer lie;
  World w([&](const auto&, auto, const SolveLimits&) { return lie; });
  const std::vector<std::pair<SolveAnswer, std::string>> lies{
      {{.status = SolveStatus::optimal, .placement = broken, .cost = 5, .lower_bound = 5}, "its capacity is 10"},
      {{.status = SolveStatus::optimal, .placement = best, .cost = 2, .lower_bound = 2}, "it says that it costs 2"},
      {{.status = SolveStatus::optimal, .placement = best, .cost = 3, .lower_bound = 4}, "lower bound of 4 is above"},
      {{.status = SolveStatus::infeasible, .reason = "too little"}, "the incumbent contradicts"},
      {{.status = SolveStatus::stopped, .lower_bound = 8}, "the incumbent contradicts"},
  };
  for (const auto& [answer, text] : lies) {
    lie = answer;
    const auto call = w.start(other);
    w.world.run();
    const SolveOutcome& outcome = call->outcome();
    REQUIRE(outcome.error);
    CHECK(outcome.error->is(aura::placement_errc::bad_answer));
    CHECK(outcome.error->message().find(text) != std::string_view::npos);
    CHECK(outcome.is_incumbent);
    CHECK(outcome.answer.status == SolveStatus::feasible);
    CHECK(outcome.answer.placement == other);
    CHECK(outcome.answer.cost == 7);
    CHECK(outcome.answer.lower_bound < 0);
  }
  lie = lies[0].first;
  const auto call = w.start();
  w.world.run();
  CHECK(call->outcome().error);
  CHECK(call->outcome().answer.status == SolveStatus::stopped);
}

TEST_CASE("an answer that is dearer than the incumbent does not take its place, but its bound is taken") {
  World w([](const auto&, auto, const SolveLimits&) {
    return SolveAnswer{.status = SolveStatus::feasible, .placement = other, .cost = 7, .lower_bound = 2};
  });
  const auto call = w.start(best);
  w.world.run();
  CHECK(call->outcome().is_incumbent);
  CHECK(call->outcome().answer.placement == best);
  CHECK(call->outcome().answer.cost == 3);
  CHECK(call->outcome().answer.lower_bound == 2);
  CHECK(!call->outcome().error);
}

TEST_CASE("that a problem is infeasible, and why, is passed on") {
  World w([](const auto&, auto, const SolveLimits&) {
    return SolveAnswer{.status = SolveStatus::infeasible, .reason = "too little memory"};
  });
  const auto call = w.start();
  w.world.run();
  CHECK(call->outcome().answer.status == SolveStatus::infeasible);
  CHECK(call->outcome().answer.reason == "too little memory");
}

TEST_CASE("a solver that throws costs its time and nothing else") {
  World w([](const auto&, auto, const SolveLimits& limits) -> SolveAnswer {
    limits.progress->found(best, 3);
    throw std::runtime_error("out of luck");
  });
  const auto call = w.start(other);
  w.world.run();
  REQUIRE(call->outcome().error);
  CHECK(call->outcome().error->is(aura::placement_errc::solver_failed));
  CHECK(call->outcome().answer.placement == best);
  CHECK(!w.session->is_busy());
}

TEST_CASE("a cancelled solve completes with the error, and the solver is told to stop") {
  bool told = false;
  int solves = 0;
  World w([&](const auto&, auto, const SolveLimits& limits) {
    ++solves;
    told = limits.is_cancelled();
    return optimum();
  });
  SECTION("before it began") {
    w.world.set_blocking_latency(5ms);
    const auto call = w.start(best);
    w.world.run_until(SteadyTime(1ms));
    call->signal.emit(asio::cancellation_type::terminal);
    CHECK(!call->result);
    w.world.run_until(SteadyTime(1ms));
    REQUIRE(call->result);
    CHECK(call->result->error().is(aura::core_errc::cancelled));
    w.world.run();
    CHECK(solves == 0);
    CHECK(!w.session->is_busy());
  }
  SECTION("while it runs") {
    asio::cancellation_signal* signal = nullptr;
    w.session.emplace(w.world, Scripted{[&](const auto&, auto, const SolveLimits& limits) {
                        signal->emit(asio::cancellation_type::terminal);
                        told = limits.is_cancelled();
                        w.world.advance(50ms);
                        return optimum();
                      }});
    const auto call = w.start(best);
    signal = &call->signal;
    w.world.run();
    REQUIRE(call->result);
    CHECK(call->result->error().is(aura::core_errc::cancelled));
    CHECK(call->at == 0ms);
    CHECK(told);
  }
}

TEST_CASE("a session may be destroyed while a solve drains") {
  std::weak_ptr<const aura::SoundProblem> alive;
  auto w = std::make_unique<World>(Scripted::Script{});
  World& world = *w;
  world.session.emplace(world.world, Scripted{[&](const PlacementModel& model, auto, const SolveLimits&) {
                          world.world.advance(50ms);
                          CHECK(model.tasks() == 2);
                          return optimum();
                        }});
  const auto call = world.start(other, SteadyTime(10ms));
  alive = world.problem;
  world.problem.reset();
  world.session.reset();
  world.world.run_until(SteadyTime(10ms));
  CHECK(call->outcome().answer.placement == other);
  CHECK(!alive.expired());
  world.world.run();
  CHECK(alive.expired());
}

TEST_CASE("a solve completes on its handler's executor") {
  World w([](const auto&, auto, const SolveLimits&) { return optimum(); });
  const auto strand = asio::make_strand(w.world.executor());
  bool there = false;
  w.session->async_solve({.problem = w.problem},
                         asio::bind_executor(strand, [&](auto) { there = strand.running_in_this_thread(); }));
  w.world.run();
  CHECK(there);
}

TEST_CASE("a deaf solver on a real thread delays nobody: at most one drains behind", "[threads]") {
  asio::thread_pool threads(2);
  asio::thread_pool blocking(2);
  aura::AsioRuntime runtime(threads.get_executor(), blocking.get_executor());
  std::promise<void> release;
  const std::shared_future<void> released = release.get_future().share();
  std::atomic<int> at_once{0}, most{0}, solves{0};
  aura::SolveSession session(runtime, Scripted{[&](const auto&, auto, const SolveLimits& limits) {
                               ++solves;
                               most = std::max(most.load(), ++at_once);
                               limits.progress->found(best, 3);
                               released.wait();
                               --at_once;
                               return optimum();
                             }});
  const auto problem = small();
  const auto solve = [&](aura::Duration within) {
    return session
        .async_solve({.problem = problem, .incumbent = other, .deadline = runtime.steady_now() + within},
                     asio::use_future)
        .get();
  };
  asio::cancellation_signal stop;
  auto first = session.async_solve({.problem = problem, .deadline = runtime.steady_now() + 1h},
                                   asio::bind_cancellation_slot(stop.slot(), asio::use_future));
  while (solves == 0) std::this_thread::yield();
  stop.emit(asio::cancellation_type::terminal);
  CHECK(first.get().error().is(aura::core_errc::cancelled));
  for (int k = 0; k < 20; ++k) {
    const auto meanwhile = solve(1h);
    REQUIRE(meanwhile.has_value());
    CHECK(meanwhile->is_incumbent);
    CHECK(meanwhile->answer.reason == "a solve that was begun before still runs");
  }
  release.set_value();
  while (session.is_busy()) std::this_thread::yield();
  const auto after = solve(1h);
  REQUIRE(after.has_value());
  CHECK(after->answer.status == SolveStatus::optimal);
  CHECK(most == 1);
  CHECK(solves == 2);
  blocking.join();
  threads.join();
}

TEST_CASE("solves that are cancelled and abandoned from everywhere complete once each", "[threads]") {
  asio::thread_pool threads(3);
  asio::thread_pool blocking(2);
  aura::AsioRuntime runtime(threads.get_executor(), blocking.get_executor());
  const auto problem = small();
  std::atomic<int> completed{0};
  {
    std::vector<std::unique_ptr<aura::SolveSession<Scripted>>> sessions;
    std::vector<std::unique_ptr<asio::cancellation_signal>> signals;
    for (int k = 0; k < 200; ++k) {
      sessions.push_back(std::make_unique<aura::SolveSession<Scripted>>(
          runtime, Scripted{[](const auto&, auto, const SolveLimits& limits) {
            for (int spin = 0; spin < 1000 && !limits.is_over(); ++spin) limits.progress->proved(spin * 1e-6);
            return optimum();
          }}));
      signals.push_back(std::make_unique<asio::cancellation_signal>());
      sessions.back()->async_solve(
          {.problem = problem, .incumbent = other, .deadline = runtime.steady_now() + k * 10us},
          asio::bind_cancellation_slot(signals.back()->slot(), [&](const auto&) { ++completed; }));
      if (k % 3 == 0) signals.back()->emit(asio::cancellation_type::terminal);
    }
    sessions.clear();
    threads.join();
    blocking.join();
    threads.join();
  }
  CHECK(completed == 200);
}
