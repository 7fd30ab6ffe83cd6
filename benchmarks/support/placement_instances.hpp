// Placement problems to test and to measure on: generalised assignment of the types C, D and E, and random problems
// with every kind of constraint.
#pragma once

#include <aura/core/random.hpp>
#include <aura/operational/placement/problem.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <fstream>
#include <numeric>
#include <optional>
#include <string>
#include <vector>

namespace aura::bench {

/// m agents, n tasks; cost and resource use by agent, then by task; capacities.
struct Gap {
  std::size_t agents = 0, tasks = 0;
  std::vector<double> cost{}, use{}, capacity{};
};

/// As a problem: one resource, one node for each agent.
inline PlacementProblem problem_of(const Gap& gap) {
  PlacementProblem problem;
  problem.resources = {"use"};
  for (std::size_t i = 0; i < gap.agents; ++i) problem.nodes.push_back({.capacity = {gap.capacity[i]}});
  for (std::size_t j = 0; j < gap.tasks; ++j) {
    PlacementTask task;
    for (std::size_t i = 0; i < gap.agents; ++i) {
      task.price_on.push_back(gap.cost[i * gap.tasks + j]);
      task.demand_on.push_back(gap.use[i * gap.tasks + j]);
    }
    problem.tasks.push_back(std::move(task));
  }
  return problem;
}

/// The text format of the published instances: m n, costs, uses, capacities.
inline std::optional<Gap> read_gap(const std::string& file) {
  std::ifstream in(file);
  Gap gap;
  if (!(in >> gap.agents >> gap.tasks)) return std::nullopt;
  gap.cost.resize(gap.agents * gap.tasks);
  gap.use.resize(gap.agents * gap.tasks);
  gap.capacity.resize(gap.agents);
  for (auto* part : {&gap.cost, &gap.use, &gap.capacity})
    for (double& value : *part)
      if (!(in >> value)) return std::nullopt;
  return gap;
}

/// Type 'c', 'd' or 'e' (Chu and Beasley 1997; Laguna et al. 1995): capacities are 0.8 of an even share.
inline Gap generate_gap(char type, std::size_t agents, std::size_t tasks, std::uint64_t seed) {
  Random random(seed);
  const auto within = [&](int least, int most) {
    return static_cast<double>(least) +
           static_cast<double>(random.below(static_cast<std::uint64_t>(most - least + 1)));
  };
  Gap gap{.agents = agents, .tasks = tasks};
  for (std::size_t k = 0; k < agents * tasks; ++k) {
    double use = 0, cost = 0;
    switch (type) {
      case 'c': use = within(5, 25), cost = within(10, 50); break;
      case 'd': use = within(1, 100), cost = 111 - use + within(-10, 10); break;
      default:
        use = std::floor(1 - 10 * std::log(1 - random.uniform()));
        cost = std::floor(1000 / use - 10 * random.uniform());
    }
    gap.use.push_back(use);
    gap.cost.push_back(cost);
  }
  for (std::size_t i = 0; i < agents; ++i) {
    const auto row = gap.use.begin() + static_cast<std::ptrdiff_t>(i * tasks);
    const double sum = std::accumulate(row, row + static_cast<std::ptrdiff_t>(tasks), 0.0);
    gap.capacity.push_back(std::floor(0.8 * sum / static_cast<double>(agents)));
  }
  return gap;
}

/// Which kinds of constraint and price a random problem has.
struct ProblemKinds {
  std::size_t resources = 2;
  bool groups = true, load_prices = true, allow_lists = true, rejection = true, movement = true, sla = true;
  double tightness = 0.8;  ///< total demand over total capacity, about
};

inline PlacementProblem generate_problem(std::size_t nodes, std::size_t tasks, const ProblemKinds& kinds,
                                         std::uint64_t seed) {
  using namespace std::chrono_literals;
  Random random(seed);
  const auto some = [&](double least, double most) { return std::round(least + (most - least) * random.uniform()); };
  const auto milliseconds = [](double value) { return std::chrono::duration_cast<Duration>(value * 1ms); };
  PlacementProblem problem;
  for (std::size_t r = 0; r < kinds.resources; ++r) problem.resources.push_back("resource");
  std::vector<double> total(kinds.resources, 0.0);
  for (std::size_t j = 0; j < tasks; ++j) {
    PlacementTask task;
    for (double& sum : total) {
      task.demand.push_back(some(1, 20));
      sum += task.demand.back();
    }
    for (std::size_t i = 0; i < nodes; ++i) task.price_on.push_back(some(0, 50));
    if (kinds.sla) {
      task.work = milliseconds(some(10, 100));
      task.sla = {.target = milliseconds(some(20, 80)),
                  .maximum = milliseconds(some(90, 200)),
                  .penalty_per_ms = some(0, 3),
                  .penalty_broken = some(0, 100)};
    }
    if (kinds.movement && random.chance(0.5)) {
      task.current = static_cast<NodeIndex>(random.below(nodes));
      task.move_price = some(0, 20);
    }
    if (kinds.rejection && random.chance(0.3)) task.reject_price = some(100, 300);
    if (kinds.allow_lists && random.chance(0.3))
      for (NodeIndex i = 0; i < nodes; ++i)
        if (random.chance(0.6) || (i + 1 == nodes && task.allowed.empty())) task.allowed.push_back(i);
    if (kinds.allow_lists && random.chance(0.3)) {
      task.preferred.push_back(static_cast<NodeIndex>(random.below(nodes)));
      task.elsewhere_price = some(0, 10);
    }
    problem.tasks.push_back(std::move(task));
  }
  for (std::size_t i = 0; i < nodes; ++i) {
    PlacementNode node;
    for (const double sum : total)
      node.capacity.push_back(
          std::ceil(sum / kinds.tightness / static_cast<double>(nodes) * (0.8 + 0.4 * random.uniform())));
    if (kinds.sla) node.speed = 0.5 + random.uniform(), node.queue = milliseconds(some(0, 60));
    if (kinds.load_prices && kinds.resources > 0 && random.chance(0.6)) {
      const double half = std::floor(node.capacity[0] / 2);
      node.load_prices = {{.resource = 0, .pieces = {{half, 1}, {half * 1.5, 4}}}};
    }
    problem.nodes.push_back(std::move(node));
  }
  if (kinds.groups)
    for (std::size_t begin = 0; begin + 3 <= tasks && begin < 9; begin += 3) {
      PlacementGroup group{.tasks = {begin, begin + 1, begin + 2}};
      if (begin == 0)
        group.per_node_max = 1;
      else
        group.crowding_price = 15;
      problem.groups.push_back(std::move(group));
    }
  return problem;
}

}  // namespace aura::bench
