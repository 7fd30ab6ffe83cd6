// NativeSolver and GreedySolver: against every placement of tiny problems, and for what they promise on larger ones.
#include "../../benchmarks/support/placement_instances.hpp"
#include "support/catch.hpp"

#include <aura/operational/placement/greedy_solver.hpp>
#include <aura/operational/placement/native_solver.hpp>
#include <aura/operational/placement/verifier.hpp>

#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

using aura::NativeSolver;
using aura::Placement;
using aura::PlacementModel;
using aura::PlacementProblem;
using aura::PlacementVerifier;
using aura::SolveLimits;
using aura::SolveStatus;
using aura::bench::generate_gap;
using aura::bench::generate_problem;
using aura::bench::problem_of;
using aura::bench::ProblemKinds;

namespace {

/// Every placement there is, one by one; infinity where none holds.
double cheapest(const PlacementProblem& problem) {
  const PlacementVerifier verifier(problem);
  const auto nodes = static_cast<aura::NodeIndex>(problem.nodes.size());
  Placement placement(problem.tasks.size(), 0);
  double least = std::numeric_limits<double>::infinity();
  for (;;) {
    if (const auto cost = verifier.verify(placement)) least = std::min(least, cost->total());
    std::size_t j = 0;
    for (; j < placement.size(); ++j) {
      if (placement[j] == aura::not_placed) {
        placement[j] = 0;
        continue;
      }
      placement[j] = placement[j] + 1 < nodes ? placement[j] + 1 : aura::not_placed;
      break;
    }
    if (j == placement.size()) return least;
  }
}

void require_optimal(const PlacementProblem& problem, std::uint64_t seed) {
  const auto model = PlacementModel::make(problem);
  REQUIRE(model.has_value());
  const double least = cheapest(problem);
  const auto answer = NativeSolver().solve(*model, {}, {.work_max = 50'000'000});
  INFO("seed " << seed << ": " << answer.reason);
  if (least == std::numeric_limits<double>::infinity()) {
    REQUIRE(answer.status == SolveStatus::infeasible);
    REQUIRE_FALSE(answer.reason.empty());
    return;
  }
  REQUIRE(answer.status == SolveStatus::optimal);
  const auto verified = PlacementVerifier(problem).verify(answer);
  INFO((verified ? "holds" : std::string(verified.error().message())));
  REQUIRE(verified.has_value());
  REQUIRE(answer.cost == Approx(least));
  REQUIRE(answer.lower_bound <= least + 1e-6 * (1 + std::abs(least)));
  const auto greedy = aura::GreedySolver().solve(*model, {}, {});
  if (greedy.has_placement()) REQUIRE(PlacementVerifier(problem).verify(greedy).has_value());
  REQUIRE(greedy.lower_bound <= least);
}

PlacementModel model_of(const PlacementProblem& problem) { return PlacementModel::make(problem).value(); }

}  // namespace

TEST_CASE("native: the optimum of tiny problems with every kind of constraint, as trying everything finds it") {
  for (std::uint64_t seed = 0; seed < 150; ++seed) require_optimal(generate_problem(3, 6, {}, seed), seed);
}

TEST_CASE("native: the optimum where each kind stands alone, and where capacities bind") {
  ProblemKinds none{.resources = 1,
                    .groups = false,
                    .load_prices = false,
                    .allow_lists = false,
                    .rejection = false,
                    .movement = false,
                    .sla = false,
                    .tightness = 0.95};
  for (std::uint64_t seed = 0; seed < 30; ++seed) {
    for (auto set : {+[](ProblemKinds&) {}, +[](ProblemKinds& k) { k.groups = true; },
                     +[](ProblemKinds& k) { k.load_prices = true; }, +[](ProblemKinds& k) { k.allow_lists = true; },
                     +[](ProblemKinds& k) { k.rejection = true; }, +[](ProblemKinds& k) { k.movement = true; },
                     +[](ProblemKinds& k) { k.sla = true; }, +[](ProblemKinds& k) { k.resources = 3; }}) {
      ProblemKinds kinds = none;
      set(kinds);
      require_optimal(generate_problem(3, 6, kinds, seed), seed);
    }
  }
}

TEST_CASE("native: more demand than room is proven infeasible") {
  ProblemKinds kinds{.rejection = false, .tightness = 1.3};
  int infeasible = 0;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const auto problem = generate_problem(3, 6, kinds, seed);
    require_optimal(problem, seed);
    infeasible += cheapest(problem) == std::numeric_limits<double>::infinity();
  }
  REQUIRE(infeasible > 10);
}

TEST_CASE("native: an anti-affinity of as many replicas as nodes puts one on each") {
  PlacementProblem problem;
  problem.resources = {"slots"};
  for (int i = 0; i < 4; ++i) problem.nodes.push_back({.capacity = {10}});
  for (int j = 0; j < 4; ++j) problem.tasks.push_back({.demand = {1}, .price_on = {0, 5, 6, 7}});
  problem.groups = {{.tasks = {0, 1, 2, 3}, .per_node_max = 1}};
  const auto answer = NativeSolver().solve(model_of(problem), {}, {});
  REQUIRE(answer.status == SolveStatus::optimal);
  REQUIRE(answer.cost == 18);
}

TEST_CASE("native: each kind of constraint and price binds, and costs what it costs by trying everything") {
  using namespace std::chrono_literals;
  // Both tasks like node 0, where everything fits: nothing, unless something speaks against it.
  PlacementProblem free;
  free.resources = {"memory", "cores"};
  free.nodes = {{.capacity = {10, 10}}, {.capacity = {10, 10}}};
  free.tasks = {{.demand = {4, 1}, .work = 10ms, .price_on = {0, 1}},
                {.demand = {5, 1}, .work = 10ms, .price_on = {0, 1}}};
  REQUIRE(NativeSolver().solve(model_of(free), {}, {}).cost == 0);
  struct {
    const char* kind;
    double cost;
    void (*spoil)(PlacementProblem&);
  } const kinds[] = {
      {"capacity", 1, [](auto& p) { p.nodes[0].capacity[0] = 8; }},
      {"capacity of the second resource", 1, [](auto& p) { p.nodes[0].capacity[1] = 1; }},
      {"allowed nodes", 1, [](auto& p) { p.tasks[0].allowed = {1}; }},
      {"preferred nodes", 1, [](auto& p) { p.tasks[0].preferred = {1}, p.tasks[0].elsewhere_price = 3; }},
      {"pin", 1, [](auto& p) { p.tasks[0].current = 1, p.tasks[0].pinned = true; }},
      {"movement", 1, [](auto& p) { p.tasks[0].current = 1, p.tasks[0].move_price = 3; }},
      {"draining", 2, [](auto& p) { p.nodes[0].accepting = false; }},
      {"anti-affinity", 1,
       [](auto& p) {
         p.groups = {{.tasks = {0, 1}, .per_node_max = 1}};
       }},
      {"spread", 1,
       [](auto& p) {
         p.groups = {{.tasks = {0, 1}, .crowding_price = 5}};
       }},
      {"load price", 1,
       [](auto& p) {
         p.nodes[0].load_prices = {{.resource = 0, .pieces = {{5, 2}}}};
       }},
      {"rejection", 0.5, [](auto& p) { p.nodes[0].capacity[0] = 8, p.tasks[1].reject_price = 0.5; }},
      {"tardiness", 2,
       [](auto& p) {
         p.nodes[0].queue = 50ms;
         for (auto& task : p.tasks) task.sla = {.target = 20ms, .penalty_per_ms = 1};
       }},
      {"broken promise", 2,
       [](auto& p) {
         p.nodes[0].queue = 50ms;
         for (auto& task : p.tasks) task.sla = {.maximum = 30ms, .penalty_broken = 7}, task.sla.target = 30ms;
       }},
  };
  for (const auto& [kind, cost, spoil] : kinds) {
    INFO(kind);
    PlacementProblem problem = free;
    spoil(problem);
    const auto answer = NativeSolver().solve(model_of(problem), {}, {});
    REQUIRE(answer.status == SolveStatus::optimal);
    REQUIRE(answer.cost == Approx(cost));
    REQUIRE(cheapest(problem) == Approx(cost));
    REQUIRE(PlacementVerifier(problem).verify(answer).has_value());
  }
}

TEST_CASE("native: placements hold at every size, and no bound is above any placement's cost") {
  for (const char type : {'c', 'd', 'e'})
    for (const auto& [nodes, tasks] : {std::pair{5, 40}, {10, 100}, {20, 100}}) {
      const auto problem =
          problem_of(generate_gap(type, static_cast<std::size_t>(nodes), static_cast<std::size_t>(tasks), 7));
      const auto model = model_of(problem);
      double bound = -std::numeric_limits<double>::infinity(), cost = std::numeric_limits<double>::infinity();
      for (const std::uint64_t work : {1'000ULL, 100'000ULL, 2'000'000ULL, 8'000'000ULL}) {
        const auto answer = NativeSolver().solve(model, {}, {.work_max = work});
        bound = std::max(bound, answer.lower_bound);
        if (!answer.has_placement()) continue;
        REQUIRE(PlacementVerifier(problem).verify(answer).has_value());
        cost = std::min(cost, answer.cost);
        REQUIRE(bound <= cost);
      }
      INFO(type << " " << nodes << "x" << tasks << ": " << bound << " to " << cost);
      REQUIRE((cost - bound) / cost < 0.02);
    }
}

TEST_CASE("native: several resources, groups and load prices at a hundred tasks: within two percent of proven") {
  for (std::uint64_t seed = 0; seed < 5; ++seed) {
    const auto problem = generate_problem(8, 100, {.resources = 3}, seed);
    const auto answer = NativeSolver().solve(model_of(problem), {}, {.gap = 0.02, .work_max = 100'000'000});
    INFO("seed " << seed << ": " << answer.cost << ", bound " << answer.lower_bound);
    REQUIRE(answer.status == SolveStatus::optimal);
    REQUIRE(PlacementVerifier(problem).verify(answer).has_value());
  }
}

TEST_CASE("native: the same calls give the same answers, by work and not by time") {
  const auto problem = problem_of(generate_gap('d', 10, 60, 3));
  const auto model = model_of(problem);
  const SolveLimits limits{.work_max = 3'000'000};
  NativeSolver a, b, c({.seed = 2});
  const auto first = a.solve(model, {}, limits);
  REQUIRE(b.solve(model, {}, limits).placement == first.placement);
  REQUIRE(c.solve(model, {}, limits).placement != first.placement);
  REQUIRE(first.work < 3'500'000);
}

TEST_CASE("native: it never answers worse than a feasible incumbent, and takes one that is partly wrong") {
  const auto problem = problem_of(generate_gap('c', 10, 60, 5));
  const auto model = model_of(problem);
  const auto good = NativeSolver().solve(model, {}, {.work_max = 20'000'000});
  const auto again = NativeSolver().solve(model, good.placement, {.work_max = 1'000});
  REQUIRE(again.has_placement());
  REQUIRE(again.cost <= good.cost);
  Placement wrong = good.placement;
  wrong[3] = 99;
  wrong[4] = aura::not_placed;
  wrong.resize(50);
  const auto repaired = NativeSolver().solve(model, wrong, {.work_max = 5'000'000});
  REQUIRE(PlacementVerifier(problem).verify(repaired).has_value());
}

TEST_CASE("native: cancelled or out of time, it answers at once with what it has") {
  const auto model = model_of(problem_of(generate_gap('d', 20, 200, 1)));
  std::atomic<bool> cancelled{true};
  const auto none = NativeSolver().solve(model, {}, {.cancelled = &cancelled});
  REQUIRE(none.work < 200'000);
  REQUIRE((none.has_placement() || !none.reason.empty()));

  // A clock that moves on with each look: the answer comes after few of them.
  std::int64_t looks = 0;
  const auto now = [&looks] { return aura::SteadyTime(aura::Duration(++looks)); };
  const auto late =
      NativeSolver().solve(model, {}, {.deadline = aura::SteadyTime(aura::Duration(100)), .clock = now});
  REQUIRE(looks <= 101);
  REQUIRE(late.work < 102 * 40'000);
}

TEST_CASE("native: warm, it starts with the bound that it left") {
  auto problem = problem_of(generate_gap('e', 10, 100, 9));
  NativeSolver solver;
  const auto cold = solver.solve(model_of(problem), {}, {.work_max = 10'000'000});
  problem.tasks[17].price_on[3] += 1;
  const auto model = model_of(problem);
  const auto warm = solver.solve(model, cold.placement, {.gap = cold.gap() + 0.002, .work_max = 300'000});
  REQUIRE(warm.status == SolveStatus::optimal);
  const auto fresh = NativeSolver().solve(model, cold.placement, {.gap = cold.gap() + 0.002, .work_max = 10'000'000});
  REQUIRE(warm.work < fresh.work);
}

TEST_CASE("native: progress is told as it is made, and ends where the answer does") {
  const auto problem = problem_of(generate_gap('c', 10, 60, 5));
  aura::SolveProgress progress;
  const auto answer = NativeSolver().solve(model_of(problem), {}, {.work_max = 2'000'000, .progress = &progress});
  const auto so_far = progress.so_far();
  REQUIRE(so_far.status == SolveStatus::feasible);
  REQUIRE(so_far.placement == answer.placement);
  REQUIRE(so_far.cost == Approx(answer.cost));
  REQUIRE(so_far.lower_bound == Approx(answer.lower_bound));
}

TEST_CASE("native: no task at all costs nothing, and prices below zero are only prices") {
  PlacementProblem problem;
  problem.resources = {"memory"};
  problem.nodes = {{.capacity = {1}}, {.capacity = {1}}};
  REQUIRE(NativeSolver().solve(model_of(problem), {}, {}).status == SolveStatus::optimal);
  problem.tasks = {{.demand = {1}, .price_on = {-5, -4}}, {.demand = {1}, .price_on = {-9, -1}}};
  const auto answer = NativeSolver().solve(model_of(problem), {}, {});
  REQUIRE(answer.status == SolveStatus::optimal);
  REQUIRE(answer.cost == -13);
}
