// Whether a placement problem is one: what a host got wrong, in one line that names it.
#pragma once

#include <aura/core/result.hpp>
#include <aura/operational/placement/error.hpp>
#include <aura/operational/placement/problem.hpp>

#include <fmt/format.h>

#include <cmath>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace aura::detail {

/// "task 3 (resize)".
inline std::string name_of(std::string_view kind, std::size_t index, std::string_view name) {
  return name.empty() ? fmt::format("{} {}", kind, index) : fmt::format("{} {} ({})", kind, index, name);
}

class ProblemCheck {
 public:
  explicit ProblemCheck(const PlacementProblem& problem) : problem_(problem) {}

  Result<void> run() {
    for (std::size_t i = 0; i < problem_.nodes.size(); ++i)
      if (auto ok = check(i, problem_.nodes[i]); !ok) return ok;
    for (std::size_t j = 0; j < problem_.tasks.size(); ++j)
      if (auto ok = check(j, problem_.tasks[j]); !ok) return ok;
    for (std::size_t g = 0; g < problem_.groups.size(); ++g)
      if (auto ok = check(g, problem_.groups[g]); !ok) return ok;
    return {};
  }

 private:
  static Error bad(std::string message) {
    return Error(placement_errc::bad_problem, ErrorClass::permanent, std::move(message));
  }
  std::string resource(std::size_t r) const { return name_of("resource", r, problem_.resources[r]); }

  static bool is_amount(double value) noexcept { return std::isfinite(value) && value >= 0; }

  Result<void> check(std::size_t index, const PlacementNode& node) const {
    const auto culprit = [&] { return name_of("node", index, node.name); };
    if (node.capacity.size() != problem_.resources.size())
      return bad(fmt::format("{} has {} capacities, and there are {} resources", culprit(), node.capacity.size(),
                             problem_.resources.size()));
    for (std::size_t r = 0; r < node.capacity.size(); ++r)
      if (!is_amount(node.capacity[r]))
        return bad(fmt::format("{}: its capacity of {} is {}", culprit(), resource(r), node.capacity[r]));
    if (!std::isfinite(node.speed) || node.speed <= 0)
      return bad(fmt::format("{}: its speed is {}", culprit(), node.speed));
    if (node.queue < Duration::zero())
      return bad(fmt::format("{}: its queue is {} ns", culprit(), node.queue.count()));
    std::vector<bool> priced(problem_.resources.size(), false);
    for (const LoadPrice& price : node.load_prices) {
      if (price.resource >= priced.size())
        return bad(fmt::format("{}: a load price is for resource {}, and there are {}", culprit(), price.resource,
                               priced.size()));
      if (priced[price.resource])
        return bad(fmt::format("{} has two load prices for {}", culprit(), resource(price.resource)));
      priced[price.resource] = true;
      if (!is_convex(price.pieces))
        return bad(fmt::format("{}: the load price of {} is not convex: pieces must rise", culprit(),
                               resource(price.resource)));
    }
    return {};
  }

  static bool is_convex(const std::vector<LoadPrice::Piece>& pieces) noexcept {
    for (std::size_t k = 0; k < pieces.size(); ++k) {
      if (!is_amount(pieces[k].from) || !is_amount(pieces[k].per_unit)) return false;
      if (k > 0 && (pieces[k].from <= pieces[k - 1].from || pieces[k].per_unit < pieces[k - 1].per_unit))
        return false;
    }
    return true;
  }

  Result<void> check(std::size_t index, const PlacementTask& task) const {
    const auto culprit = [&] { return name_of("task", index, task.name); };
    const std::size_t m = problem_.nodes.size();
    const auto fits_nodes = [m](const auto& list) { return list.empty() || list.size() == m; };
    if (!fits_nodes(task.latency_on) || !fits_nodes(task.price_on))
      return bad(fmt::format("{}: a list by node has another length than the {} nodes", culprit(), m));
    if (auto ok = check_demand(task, culprit); !ok) return ok;
    if (auto ok = check_prices(task, culprit); !ok) return ok;
    if (auto ok = check_times(task, culprit); !ok) return ok;
    for (const auto* list : {&task.allowed, &task.preferred})
      for (const NodeIndex node : *list)
        if (node >= m) return bad(fmt::format("{} names the unknown node {}", culprit(), node));
    if (task.current && *task.current >= m)
      return bad(fmt::format("{} is at the unknown node {}", culprit(), *task.current));
    if (task.pinned && !task.current) return bad(fmt::format("{} is pinned and is nowhere", culprit()));
    return {};
  }

  template <class Culprit>
  Result<void> check_demand(const PlacementTask& task, const Culprit& culprit) const {
    const std::size_t resources = problem_.resources.size();
    const auto& given = task.demand_on.empty() ? task.demand : task.demand_on;
    const std::size_t wanted = task.demand_on.empty() ? resources : resources * problem_.nodes.size();
    if (given.size() != wanted)
      return bad(fmt::format("{} has {} demands, and needs {}", culprit(), given.size(), wanted));
    for (std::size_t k = 0; k < given.size(); ++k)
      if (!is_amount(given[k]))
        return bad(fmt::format("{}: its demand of {} is {}", culprit(), resource(k % resources), given[k]));
    return {};
  }

  template <class Culprit>
  Result<void> check_prices(const PlacementTask& task, const Culprit& culprit) const {
    struct {
      std::string_view what;
      double value;
    } const prices[] = {{"penalty_per_ms", task.sla.penalty_per_ms},
                        {"penalty_broken", task.sla.penalty_broken},
                        {"move_price", task.move_price},
                        {"reject_price", task.reject_price.value_or(0)},
                        {"elsewhere_price", task.elsewhere_price}};
    for (const auto& price : prices)
      if (!is_amount(price.value)) return bad(fmt::format("{}: its {} is {}", culprit(), price.what, price.value));
    for (const double price : task.price_on)
      if (!std::isfinite(price)) return bad(fmt::format("{}: a price_on is {}", culprit(), price));
    return {};
  }

  template <class Culprit>
  Result<void> check_times(const PlacementTask& task, const Culprit& culprit) const {
    if (task.work < Duration::zero()) return bad(fmt::format("{}: its work is {} ns", culprit(), task.work.count()));
    for (const Duration latency : task.latency_on)
      if (latency < Duration::zero())
        return bad(fmt::format("{}: a latency_on is {} ns", culprit(), latency.count()));
    if (!(task.sla.percentile > 0 && task.sla.percentile < 1))
      return bad(fmt::format("{}: its percentile is {}, not between 0 and 1", culprit(), task.sla.percentile));
    if (task.sla.target < Duration::zero() || task.sla.maximum < task.sla.target)
      return bad(fmt::format("{}: its latency maximum is below its target, or the target below zero", culprit()));
    return {};
  }

  Result<void> check(std::size_t index, const PlacementGroup& group) const {
    const auto culprit = [&] { return name_of("group", index, group.name); };
    if (!is_amount(group.crowding_price))
      return bad(fmt::format("{}: its crowding_price is {}", culprit(), group.crowding_price));
    std::vector<bool> seen(problem_.tasks.size(), false);
    for (const std::size_t task : group.tasks) {
      if (task >= seen.size()) return bad(fmt::format("{} names the unknown task {}", culprit(), task));
      if (seen[task]) return bad(fmt::format("{} names task {} twice", culprit(), task));
      seen[task] = true;
    }
    return {};
  }

  const PlacementProblem& problem_;
};

}  // namespace aura::detail
