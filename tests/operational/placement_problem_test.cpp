// A placement problem: what is refused on entry, what each constraint and price does, and what the verifier catches.
#include "../../benchmarks/support/placement_instances.hpp"
#include "support/catch.hpp"

#include <aura/operational/placement/convex_price.hpp>
#include <aura/operational/placement/model.hpp>
#include <aura/operational/placement/verifier.hpp>

#include <chrono>
#include <functional>
#include <limits>
#include <string>

using namespace std::chrono_literals;
using aura::PlacementModel;
using aura::PlacementProblem;
using aura::PlacementVerifier;

namespace {

/// Two nodes, two tasks, one resource: everything fits.
PlacementProblem plain() {
  PlacementProblem problem;
  problem.resources = {"memory"};
  problem.nodes = {{.name = "a", .capacity = {10}}, {.name = "b", .capacity = {10}, .speed = 2}};
  problem.tasks = {{.name = "x", .demand = {4}, .work = 10ms}, {.name = "y", .demand = {5}, .work = 20ms}};
  return problem;
}

std::string refusal(const std::function<void(PlacementProblem&)>& spoil) {
  PlacementProblem problem = plain();
  spoil(problem);
  const auto model = PlacementModel::make(problem);
  REQUIRE_FALSE(model.has_value());
  REQUIRE(model.error().is(aura::placement_errc::bad_problem));
  return std::string(model.error().message());
}

std::string verdict(const PlacementProblem& problem, const aura::Placement& placement) {
  const auto cost = PlacementVerifier(problem).verify(placement);
  return cost ? std::string() : std::string(cost.error().message());
}
bool says(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("a problem that contradicts itself is refused, and the culprit is named") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  REQUIRE(refusal([&](auto& p) { p.tasks[1].demand = {nan}; }) ==
          "task 1 (y): its demand of resource 0 (memory) is nan");
  REQUIRE(refusal([](auto& p) { p.tasks[0].demand = {-1}; }) ==
          "task 0 (x): its demand of resource 0 (memory) is -1");
  REQUIRE(refusal([](auto& p) { p.tasks[0].demand = {}; }) == "task 0 (x) has 0 demands, and needs 1");
  REQUIRE(refusal([](auto& p) { p.tasks[0].allowed = {0, 7}; }) == "task 0 (x) names the unknown node 7");
  REQUIRE(refusal([](auto& p) { p.tasks[0].current = 2; }) == "task 0 (x) is at the unknown node 2");
  REQUIRE(refusal([](auto& p) { p.tasks[0].pinned = true; }) == "task 0 (x) is pinned and is nowhere");
  REQUIRE(says(refusal([](auto& p) { p.tasks[0].latency_on = {1ms}; }), "task 0 (x): a list by node"));
  REQUIRE(says(refusal([](auto& p) { p.tasks[0].sla.percentile = 1; }), "percentile"));
  REQUIRE(says(refusal([](auto& p) { p.tasks[0].sla = {.target = 2ms, .maximum = 1ms}; }), "maximum is below"));
  REQUIRE(says(refusal([&](auto& p) { p.tasks[0].price_on = {0, nan}; }), "price_on"));
  REQUIRE(says(refusal([](auto& p) { p.nodes[0].capacity = {}; }), "node 0 (a) has 0 capacities"));
  REQUIRE(says(refusal([&](auto& p) { p.nodes[1].capacity = {nan}; }), "node 1 (b): its capacity"));
  REQUIRE(says(refusal([](auto& p) { p.nodes[1].speed = 0; }), "its speed is 0"));
  REQUIRE(says(refusal([](auto& p) { p.nodes[1].load_prices = {{0, {{5, 2}, {6, 1}}}}; }), "not convex"));
  REQUIRE(says(refusal([](auto& p) {
                 p.groups = {{.name = "g", .tasks = {0, 0}}};
               }),
               "group 0 (g) names task 0 twice"));
  REQUIRE(says(refusal([](auto& p) { p.groups = {{.tasks = {3}}}; }), "group 0 names the unknown task 3"));
}

TEST_CASE("the model's table says what a choice costs, as the SLA has it") {
  PlacementProblem problem = plain();
  problem.nodes[0].queue = 5ms;
  problem.tasks[0].sla = {.target = 12ms, .maximum = 14ms, .penalty_per_ms = 2, .penalty_broken = 100};
  problem.tasks[0].current = 1;
  problem.tasks[0].move_price = 7;
  problem.tasks[0].reject_price = 50;
  problem.tasks[0].preferred = {1};
  problem.tasks[0].elsewhere_price = 0.5;
  const auto model = PlacementModel::make(problem);
  REQUIRE(model.has_value());
  REQUIRE(model->cost(0, 0) == Approx(2 * 3 + 100 + 7 + 0.5));  // 15 ms on a, which is 3 late and breaks the maximum
  REQUIRE(model->cost(0, 1) == 0);
  REQUIRE(model->cost(0, model->rejection()) == 50);
  REQUIRE_FALSE(model->allowed(1, model->rejection()));
}

TEST_CASE("what drains keeps what it has and gets nothing new; a pinned task stays") {
  PlacementProblem problem = plain();
  problem.nodes[0].accepting = false;
  problem.tasks[0].current = 0;
  problem.tasks[1].current = 1;
  problem.tasks[1].pinned = true;
  const auto model = PlacementModel::make(problem);
  REQUIRE(model->allowed(0, 0));
  REQUIRE(model->allowed(0, 1));
  REQUIRE_FALSE(model->allowed(1, 0));
  REQUIRE(says(verdict(problem, {0, 0}), "pinned"));
  problem.tasks[1].pinned = false;
  REQUIRE(says(verdict(problem, {0, 0}), "task 1 (y) is placed on node 0 (a), which drains"));
}

TEST_CASE("a task that fits nowhere makes the problem infeasible, and is named") {
  PlacementProblem problem = plain();
  problem.tasks[1].demand = {11};
  const auto model = PlacementModel::make(problem);
  REQUIRE(model.has_value());
  REQUIRE(model->infeasible() == "task 1 (y) fits on no node that it is allowed on");
}

TEST_CASE("the verifier refuses what breaks a constraint, and says which") {
  PlacementProblem problem = plain();
  REQUIRE(verdict(problem, {0, 0}).empty());
  REQUIRE(says(verdict(problem, {0}), "1 entries for 2 tasks"));
  REQUIRE(says(verdict(problem, {0, 5}), "task 1 (y) is on the unknown node 5"));
  REQUIRE(says(verdict(problem, {0, aura::not_placed}), "task 1 (y) must be placed"));
  problem.tasks[1].demand = {7};
  REQUIRE(says(verdict(problem, {0, 0}), "node 0 (a) bears 11 of resource 0 (memory), and its capacity is 10"));
  problem.tasks[1].allowed = {0};
  REQUIRE(says(verdict(problem, {0, 1}), "task 1 (y) is not allowed on node 1 (b)"));
  problem = plain();
  problem.groups = {{.name = "replicas", .tasks = {0, 1}, .per_node_max = 1}};
  REQUIRE(says(verdict(problem, {0, 0}), "group 0 (replicas) has 2 tasks on node 0 (a), and may have 1"));
  REQUIRE(verdict(problem, {0, 1}).empty());
}

TEST_CASE("the verifier refuses an answer that lies about its cost or its bound") {
  const PlacementProblem problem = plain();
  aura::SolveAnswer answer{.status = aura::SolveStatus::feasible, .placement = {0, 1}, .cost = 0, .lower_bound = 0};
  REQUIRE(PlacementVerifier(problem).verify(answer).has_value());
  answer.cost = 1;
  REQUIRE_FALSE(PlacementVerifier(problem).verify(answer).has_value());
  answer.cost = 0;
  answer.lower_bound = 0.5;
  REQUIRE_FALSE(PlacementVerifier(problem).verify(answer).has_value());
}

TEST_CASE("load prices and crowding are in the cost, each under its name") {
  PlacementProblem problem = plain();
  problem.nodes[0].load_prices = {{.resource = 0, .pieces = {{2, 1}, {6, 3}}}};
  problem.groups = {{.tasks = {0, 1}, .crowding_price = 4}};
  const auto cost = PlacementVerifier(problem).verify(aura::Placement{0, 0});
  REQUIRE(cost->load == Approx(4 * 1 + 3 * 3));  // 9 units: free to 2, then 4 at 1, then 3 at 3
  REQUIRE(cost->crowding == 4);
  REQUIRE(cost->total() == Approx(17));
}

TEST_CASE("a convex price and its conjugate: what no load can be worth more than") {
  const aura::ConvexPrice price(10, {{2, 1}, {6, 3}});
  for (const double value : {0.0, 0.5, 1.0, 2.0, 3.0, 9.0}) {
    double most = 0, where = -1;
    for (double load = 0; load <= 10; load += 0.25) most = std::max(most, value * load - price.at(load));
    REQUIRE(price.conjugate(value, 100, where) == Approx(most));
    REQUIRE(value * where - price.at(where) == Approx(most));
  }
}
