// A large neighbourhood: some nodes with all tasks on them, placed anew as well as can be.
#pragma once

#include <aura/core/random.hpp>
#include <aura/operational/placement/detail/branch_and_bound.hpp>
#include <aura/operational/placement/detail/choice_lists.hpp>
#include <aura/operational/placement/detail/load_rows.hpp>
#include <aura/operational/placement/detail/local_search.hpp>
#include <aura/operational/placement/detail/search_state.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <unordered_set>
#include <vector>

namespace aura::detail {

/// Draws some choices, half of the time such that tasks of the first like the others too, and searches that part with
/// branch and bound. Parts of which nothing better is left are remembered, up to a number.
class PartSearch {
 public:
  PartSearch(SearchState& state, LocalSearch& local, BranchAndBound& tree, Random& random, const ChoiceLists& all)
      : state_(state), local_(local), tree_(tree), random_(random), no_load_(state.rows().size(), 0.0) {
    std::vector<char> used(state.model().choices(), 0);
    for (std::size_t at = 0; at < all.size(); ++at)
      for (const std::uint32_t i : all.of(at)) used[i] = 1;
    for (std::uint32_t i = 0; i < used.size(); ++i)
      if (used[i]) usable_.push_back(i);
  }

  /// How many choices there are to draw from.
  std::size_t usable() const noexcept { return usable_.size(); }

  /// Improves the state, which is feasible, where it can within so many nodes of the tree. At most `usable()` choices.
  void run(std::size_t choices, std::uint64_t nodes_max, std::span<const double> multipliers) {
    chosen_.clear();
    choose(choices);
    search(nodes_max, multipliers);
  }
  /// The same with a part in which the task stands.
  void run_around(std::size_t task, std::size_t choices, std::uint64_t nodes_max,
                  std::span<const double> multipliers) {
    chosen_.assign(1, state_.choice(task));
    choose(std::min(choices, usable_.size()));
    search(nodes_max, multipliers);
  }

 private:
  static constexpr std::size_t searched_max = 20'000;
  static constexpr int root_steps = 12;

  void search(std::uint64_t nodes_max, std::span<const double> multipliers) {
    const double cutoff = list();
    const std::uint64_t print = fingerprint();
    if (searched_.contains(print)) return;
    multipliers_.assign(multipliers.begin(), multipliers.end());
    const auto end = tree_.search(part_, no_load_, cutoff, multipliers_, nodes_max, root_steps);
    if (tree_.found()) {
      for (std::size_t at = 0; at < part_.size(); ++at) {
        const std::size_t task = part_.task(at);
        if (state_.choice(task) != tree_.choice(task)) state_.move(task, tree_.choice(task));
      }
    } else if (end == BranchAndBound::End::exhausted) {
      if (searched_.size() >= searched_max) searched_.clear();
      searched_.insert(print);
    }
  }

  void choose(std::size_t wanted) {
    while (chosen_.size() < wanted) {
      std::uint32_t next = usable_[random_.below(usable_.size())];
      if (chosen_.empty())
        if (const std::uint32_t other = usable_[random_.below(usable_.size())]; excess(other) > excess(next))
          next = other;
      if (!chosen_.empty() && random_.chance(0.5)) next = neighbour(chosen_.front(), next);
      if (std::ranges::find(chosen_, next) == chosen_.end()) chosen_.push_back(next);
    }
    std::ranges::sort(chosen_);
  }
  /// By how much what stands there costs more than the bound's tasks and rows do.
  double excess(std::uint32_t choice) const noexcept {
    double excess = local_.relief_of(choice);
    for (const std::uint32_t task : state_.members(choice))
      excess += local_.reduced(task, choice) - local_.reduced(task, local_.near[task].front());
    return excess;
  }
  /// A choice that some task there might like as well.
  std::uint32_t neighbour(std::uint32_t choice, std::uint32_t otherwise) {
    const auto members = state_.members(choice);
    if (members.empty()) return otherwise;
    const auto& near = local_.near[members[random_.below(members.size())]];
    return near[random_.below(near.size())];
  }

  /// Lists the tasks of the chosen choices with these as what they may choose; returns what they cost now.
  double list() {
    const PlacementModel& model = state_.model();
    const LoadRows& rows = state_.rows();
    double cost = 0;
    part_.clear();
    for (const std::uint32_t i : chosen_)
      for (const std::uint32_t task : state_.members(i)) {
        part_.begin_task(task);
        for (const std::uint32_t to : chosen_)
          if (model.allowed(task, to)) part_.add(to);
        cost += model.cost(task, i);
      }
    const auto price = [&](std::size_t row) { return rows.price_at(row, state_.load(row)); };
    for (const std::uint32_t i : chosen_) {
      for (std::size_t r = 0; r < rows.resources(); ++r) cost += price(rows.of(i, r));
      for (std::size_t g = 0; g < model.groups(); ++g) cost += price(rows.of_group(g, i));
    }
    return cost;
  }

  /// Of the chosen choices and who is there.
  std::uint64_t fingerprint() const noexcept {
    std::uint64_t print = 0;
    for (const std::uint32_t i : chosen_) {
      print = mix64(print ^ i);
      std::uint64_t members = 0;  // in any order
      for (const std::uint32_t task : state_.members(i)) members += mix64(task);
      print = mix64(print ^ members);
    }
    return print;
  }

  SearchState& state_;
  LocalSearch& local_;
  BranchAndBound& tree_;
  Random& random_;
  const std::vector<double> no_load_;
  std::vector<std::uint32_t> usable_, chosen_;
  ChoiceLists part_;
  std::vector<double> multipliers_;
  std::unordered_set<std::uint64_t> searched_;
};

}  // namespace aura::detail
