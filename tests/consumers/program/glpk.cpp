// A host that links aura::glpk: places one task on the cheaper of two nodes.
#include <aura/core/version.hpp>
#include <aura/glpk/solver.hpp>

#include <fmt/core.h>

int main() {
  aura::PlacementProblem problem;
  problem.resources = {"memory"};
  problem.nodes = {{.capacity = {10}}, {.capacity = {10}}};
  problem.tasks = {{.demand = {6}, .price_on = {3, 2}}};
  const auto model = aura::PlacementModel::make(problem);
  if (!model) return 1;
  const auto answer = aura::glpk::GlpkSolver().solve(*model, {}, {});
  if (answer.status != aura::SolveStatus::optimal) return 2;
  fmt::print("AURA {} with GLPK: node {}\n", aura::library_version, answer.placement[0]);
}
