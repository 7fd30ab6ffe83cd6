// Solvers for the tests of what uses them: one that improves step by step, and some that cannot be trusted.
#pragma once

#include <aura/operational/placement/model.hpp>
#include <aura/operational/placement/solver.hpp>

#include <algorithm>
#include <cstddef>
#include <functional>
#include <span>
#include <utility>
#include <vector>

/// Moves one task at a time to where it costs least, until nothing helps. The incumbent must keep every constraint.
struct TinySolver {
  aura::SolveAnswer solve(const aura::PlacementModel& model, std::span<const aura::NodeIndex> incumbent,
                          const aura::SolveLimits& limits) {
    aura::SolveAnswer answer{.placement = {incumbent.begin(), incumbent.end()}, .lower_bound = -1e18};
    if (answer.placement.size() != model.tasks()) return answer;
    double cost = cost_of(model, answer.placement);
    if (cost == aura::PlacementModel::forbidden) return answer;
    for (bool better = true; better && !limits.is_over();) {
      better = false;
      for (std::size_t j = 0; j < model.tasks(); ++j) {
        for (std::size_t choice = 0; choice < model.choices(); ++choice) {
          const aura::NodeIndex was = std::exchange(answer.placement[j], model.node_of(choice));
          const double now = cost_of(model, answer.placement);
          ++answer.work;
          if (now < cost - 1e-9) {
            cost = now;
            better = true;
          } else {
            answer.placement[j] = was;
          }
        }
      }
    }
    answer.cost = cost;
    answer.status = aura::SolveStatus::feasible;
    if (limits.progress != nullptr) limits.progress->found(answer.placement, cost);
    return answer;
  }

  static double cost_of(const aura::PlacementModel& model, const aura::Placement& placement) {
    double cost = 0;
    for (std::size_t j = 0; j < placement.size(); ++j) cost += model.cost(j, model.choice_of(placement[j]));
    for (std::size_t i = 0; i < model.nodes(); ++i)
      for (std::size_t r = 0; r < model.resources(); ++r) {
        double load = 0;
        for (std::size_t j = 0; j < placement.size(); ++j)
          if (placement[j] == i) load += model.demand(j, i, r);
        if (!model.price(i, r).fits(load)) return aura::PlacementModel::forbidden;
        cost += model.price(i, r).at(load);
      }
    for (std::size_t g = 0; g < model.groups(); ++g)
      for (std::size_t i = 0; i < model.nodes(); ++i) {
        const auto members = static_cast<std::size_t>(
            std::ranges::count_if(model.group(g).tasks, [&](std::uint32_t j) { return placement[j] == i; }));
        if (members > model.group(g).per_node_max) return aura::PlacementModel::forbidden;
        if (members > 1) cost += model.group(g).crowding_price * static_cast<double>(members - 1);
      }
    return cost;
  }
};

/// Answers what it is told to.
struct ScriptedSolver {
  std::function<aura::SolveAnswer(const aura::PlacementModel&, std::span<const aura::NodeIndex>)> script;

  aura::SolveAnswer solve(const aura::PlacementModel& model, std::span<const aura::NodeIndex> incumbent,
                          const aura::SolveLimits&) {
    return script(model, incumbent);
  }
};

static_assert(aura::solver<TinySolver> && aura::solver<ScriptedSolver>);
