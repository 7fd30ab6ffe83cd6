// A solver of one's own: COIN-OR CBC behind the solver concept, through its C interface. docs/placement_solvers.md tells
// how it is made.
#pragma once

#include <aura/operational/placement/integer_program.hpp>
#include <aura/operational/placement/model.hpp>
#include <aura/operational/placement/solver.hpp>

#include <coin/Cbc_C_Interface.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace aura::bench {

/// Cold at each call. Looks at the deadline by itself, and neither at cancellation nor at `work_max`: a `SolveSession`
/// lets it drain behind. CBC keeps state for the whole process, so one solve at a time.
class CbcSolver {
 public:
  SolveAnswer solve(const PlacementModel& model, std::span<const NodeIndex> incumbent, const SolveLimits& limits) {
    if (model.infeasible()) return {.status = SolveStatus::infeasible, .reason = *model.infeasible()};
    if (limits.is_over()) return {.reason = "the limits were reached"};
    const IntegerProgram program(model);
    const std::unique_ptr<Cbc_Model, void (*)(Cbc_Model*)> cbc(Cbc_newModel(), &Cbc_deleteModel);
    load(cbc.get(), program);
    start_from(cbc.get(), program, incumbent);
    set_limits(cbc.get(), limits);
    Cbc_solve(cbc.get());
    return answer(cbc.get(), program);
  }

 private:
  static void load(Cbc_Model* cbc, const IntegerProgram& program) {
    Cbc_setLogLevel(cbc, 0);
    for (std::size_t k = 0; k < program.columns().size(); ++k) {
      const auto& column = program.columns()[k];
      const char is_integer = k < program.binaries().size() ? 1 : 0;
      Cbc_addCol(cbc, name('x', k).c_str(), 0, column.upper, column.cost, is_integer, 0, nullptr, nullptr);
    }
    for (std::size_t i = 0; i < program.rows().size(); ++i) {
      const auto& row = program.rows()[i];
      const auto columns = program.columns_of(i);
      Cbc_addRow(cbc, name('r', i).c_str(), static_cast<int>(columns.size()), columns.data(),
                 program.values_of(i).data(), row.lower == row.upper ? 'E' : 'L', row.upper);
    }
  }

  static std::string name(char kind, std::size_t number) { return kind + std::to_string(number); }

  /// CBC works out the continuous columns by itself, and drops a start that does not hold.
  static void start_from(Cbc_Model* cbc, const IntegerProgram& program, std::span<const NodeIndex> incumbent) {
    const PlacementModel& model = program.model();
    if (incumbent.size() != model.tasks()) return;
    std::vector<int> columns;
    for (std::size_t k = 0; k < program.binaries().size(); ++k)
      if (const auto& binary = program.binaries()[k]; model.choice_of(incumbent[binary.task]) == binary.choice)
        columns.push_back(static_cast<int>(k));
    const std::vector<double> ones(columns.size(), 1.0);
    if (columns.size() == model.tasks())
      Cbc_setMIPStartI(cbc, static_cast<int>(columns.size()), columns.data(), ones.data());
  }

  static void set_limits(Cbc_Model* cbc, const SolveLimits& limits) {
    Cbc_setAllowableFractionGap(cbc, limits.gap);
    if (limits.deadline == SteadyTime::max()) return;
    Cbc_setParameter(cbc, "timeMode", "elapsed");
    Cbc_setMaximumSeconds(cbc, std::chrono::duration<double>(limits.deadline - limits.clock()).count());
  }

  static SolveAnswer answer(Cbc_Model* cbc, const IntegerProgram& program) {
    if (Cbc_isProvenInfeasible(cbc)) return {.status = SolveStatus::infeasible, .reason = "CBC proves it"};
    SolveAnswer answer{.work = static_cast<std::uint64_t>(Cbc_getIterationCount(cbc))};
    const double bound = Cbc_getBestPossibleObjValue(cbc);
    if (std::abs(bound) < 1e40) answer.lower_bound = bound - 1e-6 * std::max(1.0, std::abs(bound));
    const double* const solution = Cbc_bestSolution(cbc);
    if (solution == nullptr) {
      answer.reason = "CBC found nothing in time";
      return answer;
    }
    answer.status = Cbc_isProvenOptimal(cbc) ? SolveStatus::optimal : SolveStatus::feasible;
    answer.placement = program.placement_of({solution, program.columns().size()});
    answer.cost = Cbc_getObjValue(cbc);
    return answer;
  }
};

static_assert(solver<CbcSolver>);

}  // namespace aura::bench
