// Placements by GLPK against every placement there is, and how it ends where something goes wrong.
#include "../benchmarks/support/placement_instances.hpp"
#include "support/catch.hpp"
#include "support/seeds.hpp"

#include <aura/core/version.hpp>
#include <aura/glpk/solver.hpp>
#include <aura/operational/placement/verifier.hpp>

#include <atomic>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <limits>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using aura::Duration;
using aura::NodeIndex;
using aura::Placement;
using aura::PlacementModel;
using aura::PlacementProblem;
using aura::PlacementVerifier;
using aura::SolveAnswer;
using aura::SolveLimits;
using aura::SolveProgress;
using aura::SolveStatus;
using aura::SteadyTime;
using aura::bench::generate_gap;
using aura::bench::generate_problem;
using aura::bench::problem_of;
using aura::bench::ProblemKinds;
using aura::glpk::GlpkSolver;

/// The least cost over all (nodes + 1)^tasks placements, as the verifier sees them.
std::optional<double> cheapest(const PlacementProblem& problem) {
  const PlacementVerifier verifier(problem);
  const std::size_t nodes = problem.nodes.size();
  std::optional<double> least;
  std::vector<std::size_t> digits(problem.tasks.size(), 0);
  for (;;) {
    Placement placement;
    for (const std::size_t digit : digits)
      placement.push_back(digit == nodes ? aura::not_placed : static_cast<NodeIndex>(digit));
    if (const auto cost = verifier.verify(placement); cost && (!least || cost->total() < *least))
      least = cost->total();
    std::size_t k = 0;
    while (k < digits.size() && ++digits[k] > nodes) digits[k++] = 0;
    if (k == digits.size()) return least;
  }
}

void check_optimal(const PlacementProblem& problem, const SolveAnswer& answer) {
  const auto least = cheapest(problem);
  if (!least) {
    CHECK(answer.status == SolveStatus::infeasible);
    CHECK(!answer.reason.empty());
    CHECK(answer.placement.empty());
    return;
  }
  REQUIRE(answer.status == SolveStatus::optimal);
  const auto verified = PlacementVerifier(problem).verify(answer);
  INFO((verified ? std::string() : aura::to_string(verified.error())));
  REQUIRE(verified.has_value());
  CHECK(answer.cost == Approx(*least).epsilon(1e-6));
  CHECK(answer.lower_bound <= *least + 1e-9);
}

PlacementModel model_of(const PlacementProblem& problem) { return PlacementModel::make(problem).value(); }

/// A clock that moves on by a millisecond each time somebody looks.
struct Ticking {
  mutable std::atomic<std::int64_t> looks{0};
  SteadyTime operator()() const { return SteadyTime(looks.fetch_add(1, std::memory_order_relaxed) * 1ms); }
};

}  // namespace

TEST_CASE("GLPK's optimum is the cheapest of all placements, whatever kinds of constraint there are") {
  const std::vector<ProblemKinds> kinds{
      {.resources = 1,
       .groups = false,
       .load_prices = false,
       .allow_lists = false,
       .rejection = false,
       .movement = false,
       .sla = false},
      {.resources = 2, .groups = false, .load_prices = true, .rejection = false},
      {.resources = 1, .groups = true, .load_prices = false, .tightness = 0.95},
      {.resources = 3},
      {.tightness = 1.1},
      {.resources = 0, .load_prices = false},
  };
  for_each_seed("glpk", "GLPK's optimum is the cheapest of all placements, whatever kinds of constraint there are",
                12, [&](std::uint64_t seed) {
                  for (const ProblemKinds& kind : kinds) {
                    const PlacementProblem problem = generate_problem(3, 6, kind, seed);
                    GlpkSolver solver;
                    check_optimal(problem, solver.solve(model_of(problem), {}, {}));
                  }
                });
}

TEST_CASE("demands and costs that are no whole numbers are kept to as well") {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    PlacementProblem problem = generate_problem(3, 6, {.resources = 2}, seed);
    aura::Random random(seed);
    for (auto& task : problem.tasks) {
      for (double& demand : task.demand) demand *= 1e6 * random.uniform();
      for (double& price : task.price_on) price *= random.uniform() - 0.5;
    }
    for (auto& node : problem.nodes) {
      for (double& capacity : node.capacity) capacity *= 0.55e6;
      for (auto& price : node.load_prices)
        for (auto& piece : price.pieces) piece.from *= 0.55e6, piece.per_unit *= 1e-6;
    }
    GlpkSolver solver;
    check_optimal(problem, solver.solve(model_of(problem), {}, {}));
  }
}

TEST_CASE("what cannot be placed is proven infeasible, with the reason") {
  PlacementProblem problem;
  problem.resources = {"memory"};
  problem.nodes = {{.capacity = {10}}, {.capacity = {10}}};
  GlpkSolver solver;
  SECTION("a task fits on no node") {
    problem.tasks = {{.name = "big", .demand = {11}}};
    CHECK(solver.solve(model_of(problem), {}, {}).reason == "task 0 (big) fits on no node that it is allowed on");
  }
  SECTION("there is too little of a resource") {
    problem.tasks.assign(3, {.demand = {7}});
    const auto answer = solver.solve(model_of(problem), {}, {});
    CHECK(answer.reason == "what must be placed demands at least 21 of resource 0, and all nodes together have 20");
  }
  SECTION("only parts of tasks would fit") {
    problem.tasks.assign(3, {.demand = {6}});
    const auto answer = solver.solve(model_of(problem), {}, {});
    CHECK(answer.reason == "no placement keeps within all capacities and groups");
  }
  SECTION("a group leaves no place") {
    problem.tasks.assign(3, {.demand = {1}});
    problem.groups = {{.tasks = {0, 1, 2}, .per_node_max = 1}};
    const auto answer = solver.solve(model_of(problem), {}, {});
    CHECK(answer.reason == "no placement keeps within all capacities and groups");
  }
  CHECK(solver.solve(model_of(problem), {}, {}).status == SolveStatus::infeasible);
}

TEST_CASE("problems with nothing in them are solved") {
  PlacementProblem problem;
  GlpkSolver solver;
  CHECK(solver.solve(model_of(problem), {}, {}).status == SolveStatus::optimal);
  problem.tasks = {{.reject_price = 4}};
  const auto rejected = solver.solve(model_of(problem), {}, {});
  CHECK(rejected.status == SolveStatus::optimal);
  CHECK(rejected.placement == Placement{aura::not_placed});
  CHECK(rejected.cost == 4);
  problem.resources = {"none"};
  problem.nodes = {{.capacity = {0}}};
  problem.tasks = {{.demand = {0}, .reject_price = 4}, {.demand = {1}, .reject_price = 2}};
  const auto placed = solver.solve(model_of(problem), {}, {});
  CHECK(placed.status == SolveStatus::optimal);
  CHECK(placed.placement == Placement{0, aura::not_placed});
}

TEST_CASE("a warm solve finds what a cold one finds, with less work") {
  PlacementProblem problem = problem_of(generate_gap('c', 5, 40, 3));
  GlpkSolver warm;
  aura::Random random(5);
  std::uint64_t warm_work = 0, cold_work = 0;
  warm.solve(model_of(problem), {}, {});
  for (int change = 0; change < 6; ++change) {
    auto& task = problem.tasks[random.below(problem.tasks.size())];
    for (double& price : task.price_on) price = static_cast<double>(10 + random.below(40));
    for (double& demand : task.demand_on) demand = static_cast<double>(5 + random.below(20));
    const PlacementModel model = model_of(problem);
    const auto again = warm.solve(model, {}, {.gap = 0.05});
    const auto anew = GlpkSolver().solve(model, {}, {.gap = 0.05});
    warm_work += again.work;
    cold_work += anew.work;
    const auto exactly = warm.solve(model, {}, {});
    const auto exactly_anew = GlpkSolver().solve(model, {}, {});
    REQUIRE(exactly.status == SolveStatus::optimal);
    CHECK(exactly.cost == exactly_anew.cost);
    CHECK(again.lower_bound <= exactly.cost);
  }
  CHECK(warm_work < cold_work / 2);
  // Another shape: nothing of the former one is taken for it.
  const PlacementProblem other = generate_problem(3, 6, {}, 9);
  check_optimal(other, warm.solve(model_of(other), {}, {}));
}

TEST_CASE("the same limits of work give the same answer") {
  const PlacementModel model = model_of(problem_of(generate_gap('d', 5, 60, 2)));
  GlpkSolver one, two;
  const auto first = one.solve(model, {}, {.work_max = 3000});
  const auto second = two.solve(model, {}, {.work_max = 3000});
  CHECK(first.status == SolveStatus::feasible);
  CHECK(first.reason == "the limits were reached");
  CHECK(first.work == second.work);
  CHECK(first.placement == second.placement);
  CHECK(first.lower_bound == second.lower_bound);
}

TEST_CASE("a deadline ends it in the relaxation and in the tree, with the best placement so far") {
  const PlacementProblem problem = problem_of(generate_gap('d', 10, 100, 1));
  const PlacementModel model = model_of(problem);
  for (const auto budget : {0ms, 1ms, 2ms, 40ms}) {
    const Ticking clock;
    SolveProgress progress;
    GlpkSolver solver;
    const auto answer =
        solver.solve(model, {}, {.deadline = SteadyTime(budget), .clock = clock, .progress = &progress});
    CHECK(answer.status == SolveStatus::feasible);
    CHECK(clock.looks == budget / 1ms + 1);
    CHECK(PlacementVerifier(problem).verify(answer).has_value());
    CHECK(progress.so_far().placement == answer.placement);
    CHECK(progress.so_far().lower_bound == answer.lower_bound);
    CHECK(std::isfinite(answer.lower_bound) == (budget == 40ms));
  }
}

TEST_CASE("cancellation ends it") {
  const PlacementModel model = model_of(problem_of(generate_gap('d', 10, 100, 1)));
  std::atomic<bool> cancelled{true};
  GlpkSolver solver;
  CHECK(solver.solve(model, {}, {.cancelled = &cancelled}).work == 0);
  // In the tree, from where only a callback looks.
  cancelled = false;
  struct Events {
    std::atomic<bool>* flag;
    int count = 0;
  } events{&cancelled};
  GlpkSolver watched({.watcher = {[](glp_tree*, void* info) {
                                    auto& seen = *static_cast<Events*>(info);
                                    if (++seen.count == 20) seen.flag->store(true);
                                  },
                                  &events}});
  const auto answer = watched.solve(model, {}, {.cancelled = &cancelled});
  CHECK(events.count >= 20);
  CHECK(events.count <= 22);
  CHECK(answer.status == SolveStatus::feasible);
}

TEST_CASE("a gap that was asked for ends it as soon as it is proven") {
  const PlacementModel model = model_of(problem_of(generate_gap('c', 5, 60, 4)));
  const auto rough = GlpkSolver().solve(model, {}, {.gap = 0.05});
  const auto exact = GlpkSolver().solve(model, {}, {});
  CHECK(rough.status == SolveStatus::optimal);
  CHECK(rough.gap() <= 0.05);
  CHECK(rough.lower_bound <= exact.cost);
  CHECK(exact.gap() == 0);
  CHECK(rough.work < exact.work);
}

TEST_CASE("an incumbent is kept where it holds, repaired where it does not, and never made worse") {
  const PlacementProblem problem = problem_of(generate_gap('d', 5, 40, 7));
  const PlacementModel model = model_of(problem);
  GlpkSolver solver;
  const auto best = solver.solve(model, {}, {.gap = 0.001});
  REQUIRE(best.status == SolveStatus::optimal);
  const std::atomic<bool> at_once{true};

  CHECK(solver.solve(model, best.placement, {.cancelled = &at_once}).cost <= best.cost);
  const auto injected = solver.solve(model, best.placement, {.work_max = 400});
  CHECK(injected.cost <= best.cost);

  Placement wrong = best.placement;
  for (NodeIndex& node : wrong) node = 0;  // far over its capacity
  wrong[3] = 4711;
  wrong[4] = aura::not_placed;
  for (const Placement& start : {wrong, Placement{}, Placement{1, 2}, Placement(100, 3)}) {
    const auto repaired = solver.solve(model, start, {.cancelled = &at_once});
    REQUIRE(repaired.status == SolveStatus::feasible);
    CHECK(PlacementVerifier(problem).verify(repaired).has_value());
  }
}

TEST_CASE("nothing that breaks a constraint is ever reported") {
  struct Reports {
    const PlacementProblem* problem;
    SolveProgress progress;
    int bad = 0, seen = 0;
  };
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    const PlacementProblem problem = generate_problem(5, 25, {.tightness = 0.95}, seed);
    Reports reports{&problem, {}};
    GlpkSolver solver({.watcher = {[](glp_tree*, void* info) {
                                     auto& seen = *static_cast<Reports*>(info);
                                     const auto so_far = seen.progress.so_far();
                                     if (!so_far.has_placement()) return;
                                     ++seen.seen;
                                     if (!PlacementVerifier(*seen.problem).verify(so_far)) ++seen.bad;
                                   },
                                   &reports}});
    const auto answer = solver.solve(model_of(problem), {}, {.work_max = 5000, .progress = &reports.progress});
    CHECK(reports.bad == 0);
    if (answer.has_placement()) CHECK(PlacementVerifier(problem).verify(answer).has_value());
  }
}

TEST_CASE("what fits only within GLPK's tolerances is not taken, and its cost is no bound on what fits") {
  PlacementProblem problem;
  problem.resources = {"memory"};
  problem.nodes = {{.capacity = {1}}};
  problem.tasks.assign(2, {.demand = {0.5 + 1e-8}, .reject_price = 100});
  const auto answer = GlpkSolver().solve(model_of(problem), {}, {});
  CHECK(answer.status == SolveStatus::feasible);
  CHECK(answer.cost == 100);
  CHECK(answer.lower_bound <= 100);
  CHECK(answer.reason == "what GLPK finds cheapest keeps the constraints only within its tolerances");
  CHECK(PlacementVerifier(problem).verify(answer).has_value());
}

TEST_CASE("an error within GLPK ends the call and not the process") {
  const PlacementProblem problem = problem_of(generate_gap('d', 5, 40, 7));
  const PlacementModel model = model_of(problem);
  int calls = 0;
  GlpkSolver solver({.watcher = {[](glp_tree* tree, void* info) {
                                   if (++*static_cast<int*>(info) == 5)
                                     glp_set_row_bnds(glp_ios_get_prob(tree), 1'000'000, GLP_FX, 0, 0);
                                 },
                                 &calls}});
  const auto answer = solver.solve(model, {}, {.work_max = 20000});
  CHECK(answer.status == SolveStatus::feasible);
  CHECK(PlacementVerifier(problem).verify(answer).has_value());
  CHECK(answer.reason.find("GLPK stopped with an error: glp_set_row_bnds: i = 1000000; row number out of range") ==
        0);
  CHECK(std::isfinite(answer.lower_bound));
  // It serves again afterwards.
  const auto again = solver.solve(model, {}, {.gap = 0.02});
  CHECK(again.status == SolveStatus::optimal);
  CHECK(calls > 5);
}

TEST_CASE("an environment that somebody else has opened is left alone") {
  const PlacementProblem problem = generate_problem(3, 6, {}, 2);
  const PlacementModel model = model_of(problem);
  glp_prob* const theirs = glp_create_prob();
  glp_add_rows(theirs, 3);
  GlpkSolver solver;
  const auto answer = solver.solve(model, {}, {});
  CHECK(answer.status == SolveStatus::feasible);
  CHECK(answer.reason == "this thread has a GLPK environment already");
  CHECK(glp_get_num_rows(theirs) == 3);
  glp_delete_prob(theirs);
  CHECK(glp_free_env() == 0);
  check_optimal(problem, solver.solve(model, {}, {}));
  CHECK(glp_free_env() == 1);  // the solver left none behind
}

TEST_CASE("one solver is called from many threads in turn, and keeps its basis") {
  const PlacementModel model = model_of(problem_of(generate_gap('c', 5, 60, 4)));
  GlpkSolver solver;
  std::vector<SolveAnswer> answers;
  for (int k = 0; k < 4; ++k) std::thread([&] { answers.push_back(solver.solve(model, {}, {.gap = 0.02})); }).join();
  for (const auto& answer : answers) {
    CHECK(answer.status == SolveStatus::optimal);
    CHECK(answer.work <= answers[0].work);
  }
  CHECK(answers[1].work < answers[0].work);
}

TEST_CASE("threads solve beside each other, each with its own solver, and errors stay where they are", "[threads]") {
  std::vector<std::thread> threads;
  std::atomic<int> sound{0};
  for (std::uint64_t t = 0; t < 4; ++t)
    threads.emplace_back([t, &sound] {
      int calls = 0;
      GlpkSolver solver({.watcher = {[](glp_tree* tree, void* info) {
                                       if (++*static_cast<int*>(info) % 7 == 0)
                                         glp_get_col_prim(glp_ios_get_prob(tree), 0);
                                     },
                                     t == 0 ? &calls : nullptr}});
      if (t != 0) solver = GlpkSolver();
      for (std::uint64_t k = 0; k < 5; ++k) {
        const PlacementProblem problem = problem_of(generate_gap('c', 4, 24, 10 * t + k));
        const auto answer = solver.solve(model_of(problem), {}, {.work_max = 2000});
        if (PlacementVerifier(problem).verify(answer)) sound.fetch_add(1);
      }
    });
  for (auto& thread : threads) thread.join();
  CHECK(sound == 20);
}
