// The native solver against GLPK: the same optimum on many small instances. AURA_SEEDS=n runs n of them.
#include "../../benchmarks/support/placement_instances.hpp"
#include "support/catch.hpp"

#include <aura/glpk/solver.hpp>
#include <aura/operational/placement/native_solver.hpp>
#include <aura/operational/placement/verifier.hpp>

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <limits>

namespace {

std::uint64_t seeds() {
  const char* const more = std::getenv("AURA_SEEDS");
#if defined(__SANITIZE_ADDRESS__) || defined(__clang__)
  const std::uint64_t few = 40;  // sanitized and unoptimised: many times slower
#else
  const std::uint64_t few = 2000;
#endif
  return more == nullptr ? few : std::strtoull(more, nullptr, 10);
}

/// To 6 × 30. Type d grows out of proportion for branch and bound with its size: it stays at 5 × 15.
aura::PlacementProblem small(std::uint64_t seed) {
  aura::Random random = aura::Random::stream(seed, "small placement");
  const std::size_t nodes = 2 + random.below(5), tasks = 4 + random.below(27);
  switch (seed % 5) {
    case 0: return aura::bench::problem_of(aura::bench::generate_gap('c', nodes, tasks, seed));
    case 1:
      return aura::bench::problem_of(
          aura::bench::generate_gap('d', std::min<std::size_t>(nodes, 5), std::min<std::size_t>(tasks, 15), seed));
    case 2: return aura::bench::problem_of(aura::bench::generate_gap('e', nodes, tasks, seed));
    default: {
      aura::bench::ProblemKinds kinds{.resources = 1 + random.below(3)};
      kinds.groups = random.chance(0.5);
      kinds.load_prices = random.chance(0.5);
      kinds.tightness = 0.7 + 0.2 * random.uniform();
      return aura::bench::generate_problem(nodes, tasks, kinds, seed);
    }
  }
}

}  // namespace

TEST_CASE("native proves the optimum that GLPK proves") {
  std::uint64_t compared = 0, infeasible = 0;
  for (std::uint64_t seed = 0; seed < seeds(); ++seed) {
    const auto problem = small(seed);
    const auto model = aura::PlacementModel::make(problem).value();
    const auto native = aura::NativeSolver().solve(model, {}, {.work_max = 400'000'000});
    const auto exact = aura::glpk::GlpkSolver().solve(model, {}, {});
    INFO("AURA_SEEDS=" << seed + 1 << ", the last: " << native.cost << " and " << exact.cost << ", bound "
                       << native.lower_bound << " and " << exact.lower_bound << " " << exact.reason);
    REQUIRE(native.status == exact.status);
    if (exact.status == aura::SolveStatus::infeasible) {
      ++infeasible;
      continue;
    }
    REQUIRE(native.status == aura::SolveStatus::optimal);
    REQUIRE(aura::PlacementVerifier(problem).verify(native).has_value());
    REQUIRE(std::abs(native.cost - exact.cost) <= 1e-5 * (1 + std::abs(exact.cost)));
    ++compared;
  }
  INFO(compared << " compared, " << infeasible << " infeasible");
  REQUIRE(compared > seeds() / 2);
}
