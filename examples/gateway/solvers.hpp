// Which solver looks for better placements: --solver.
#pragma once

#include <aura/core/result.hpp>
#include <aura/operational/placement/greedy_solver.hpp>
#include <aura/operational/placement/native_solver.hpp>
#include <aura/operational/placement/solver.hpp>

// The build names the header where aura::glpk is on. A program that links it is under the GPLv3.
#ifdef AURA_GATEWAY_GLPK
#include AURA_GATEWAY_GLPK
#endif

#include <fmt/format.h>

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace gateway {

/// Any solver, chosen at run time.
class ChosenSolver {
 public:
  template <aura::solver Solver>
  explicit ChosenSolver(Solver held)
      : solve_([solver = std::make_shared<Solver>(std::move(held))](
                   const aura::PlacementModel& model, std::span<const aura::NodeIndex> incumbent,
                   const aura::SolveLimits& limits) { return solver->solve(model, incumbent, limits); }) {}

  aura::SolveAnswer solve(const aura::PlacementModel& model, std::span<const aura::NodeIndex> incumbent,
                          const aura::SolveLimits& limits) {
    return solve_(model, incumbent, limits);
  }

 private:
  std::function<aura::SolveAnswer(const aura::PlacementModel&, std::span<const aura::NodeIndex>,
                                  const aura::SolveLimits&)>
      solve_;
};

struct SolverChoice {
  std::string name = "native";

  static aura::Result<SolverChoice> parse(std::string_view text) {
    if (text == "native" || text == "greedy") return SolverChoice{std::string(text)};
#ifdef AURA_GATEWAY_GLPK
    if (text == "glpk") return SolverChoice{std::string(text)};
#else
    if (text == "glpk")
      return refused("--solver glpk: this gateway was built without GLPK (install libglpk-dev and configure anew)");
#endif
    return refused(fmt::format("--solver takes native, glpk or greedy, not \"{}\"", text));
  }

  ChosenSolver make() const {
#ifdef AURA_GATEWAY_GLPK
    if (name == "glpk") return ChosenSolver(aura::glpk::GlpkSolver());
#endif
    if (name == "greedy") return ChosenSolver(aura::GreedySolver());
    return ChosenSolver(aura::NativeSolver());
  }

 private:
  static aura::Error refused(std::string message) {
    return {"gateway", 2, aura::ErrorClass::permanent, std::move(message)};
  }
};

}  // namespace gateway
