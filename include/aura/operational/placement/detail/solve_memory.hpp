// What one solve leaves for the next: where its bounds were best, and what each task looked like.
#pragma once

#include <aura/core/random.hpp>
#include <aura/operational/placement/model.hpp>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <vector>

namespace aura::detail {

struct SolveMemory {
  std::vector<double> multipliers;  ///< by row
  std::vector<double> prices;  ///< by task, of the knapsack bound; empty where it was not computed
  std::vector<std::uint64_t> prints;  ///< by task

  /// Those that look different from what is remembered; all, where the problem has another size.
  std::vector<std::uint32_t> changed_tasks(const PlacementModel& model) const {
    std::vector<std::uint32_t> changed;
    if (prints.size() != model.tasks()) {
      changed.resize(model.tasks());
      std::iota(changed.begin(), changed.end(), 0U);
      return changed;
    }
    for (std::uint32_t j = 0; j < prints.size(); ++j)
      if (prints[j] != print(model, j)) changed.push_back(j);
    return changed;
  }
  void remember(const PlacementModel& model) {
    prints.resize(model.tasks());
    for (std::size_t j = 0; j < prints.size(); ++j) prints[j] = print(model, j);
  }
  /// The prices of old, for those that did not change; for the others, what they cost at least.
  std::vector<double> with_prices(const std::vector<double>& least, const std::vector<std::uint32_t>& changed) const {
    if (prices.size() != least.size()) return least;
    std::vector<double> mixed = prices;
    for (const std::uint32_t j : changed) mixed[j] = least[j];
    return mixed;
  }

 private:
  static std::uint64_t print(const PlacementModel& model, std::size_t task) noexcept {
    std::uint64_t print = 0;
    const auto add = [&print](double value) {
      print = (std::rotl(print, 5) ^ std::bit_cast<std::uint64_t>(value)) * 0x9E3779B97F4A7C15u;
    };
    for (const double cost : model.costs(task)) add(cost);
    const double* const uses = model.uses(task, 0);
    for (std::size_t k = 0; k < model.nodes() * model.resources(); ++k) add(uses[k]);
    return mix64(print);
  }
};

}  // namespace aura::detail
