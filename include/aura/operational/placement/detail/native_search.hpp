// One solve of NativeSolver: bounds, a start, local search, then exact search of larger and larger parts.
#pragma once

#include <aura/core/random.hpp>
#include <aura/operational/placement/detail/branch_and_bound.hpp>
#include <aura/operational/placement/detail/choice_lists.hpp>
#include <aura/operational/placement/detail/dual_bound.hpp>
#include <aura/operational/placement/detail/greedy_start.hpp>
#include <aura/operational/placement/detail/knapsack_bound.hpp>
#include <aura/operational/placement/detail/load_rows.hpp>
#include <aura/operational/placement/detail/local_search.hpp>
#include <aura/operational/placement/detail/part_search.hpp>
#include <aura/operational/placement/detail/placement_start.hpp>
#include <aura/operational/placement/detail/search_state.hpp>
#include <aura/operational/placement/detail/solve_budget.hpp>
#include <aura/operational/placement/detail/solve_memory.hpp>
#include <aura/operational/placement/detail/solve_record.hpp>
#include <aura/operational/placement/solver.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <utility>
#include <vector>

namespace aura::detail {

class NativeSearch {
 public:
  /// `memory` is where bounds start, and where the best multipliers and prices are left for the next call.
  NativeSearch(const PlacementModel& model, const SolveLimits& limits, SolveMemory& memory, std::uint64_t seed)
      : model_(model),
        rows_(model),
        budget_(limits),
        random_(seed),
        all_(model),
        dual_(model, rows_),
        knapsacks_(model, rows_, budget_),
        tree_(model, rows_, budget_),
        state_(model, rows_),
        local_(state_, budget_, random_),
        start_(state_, random_),
        parts_(state_, local_, tree_, random_, all_),
        record_(model, budget_),
        memory_(memory),
        no_load_(rows_.size(), 0.0) {}

  SolveAnswer run(std::span<const NodeIndex> incumbent) {
    const bool warm = begin(incumbent);
    if (!record_.is_done() && warm) repair();
    for (int round = 0; round < (warm ? 1 : 3) && !record_.is_done(); ++round) {
      tighten(round == 0 ? 200 : 100);
      if (!record_.is_done()) round_average();
    }
    if (!record_.is_done()) pack(1);
    if (!record_.is_done()) pack(20);
    if (!record_.is_done()) improve();
    memory_.multipliers = ascent_.best_multipliers;
    if (knapsacks_.is_prepared()) memory_.prices.assign(knapsacks_.prices().begin(), knapsacks_.prices().end());
    memory_.remember(model_);
    return record_.answer();
  }

 private:
  static constexpr std::size_t near_max = 8;
  static constexpr double infinity = std::numeric_limits<double>::infinity();

  // Bounds.

  /// What the bound is driven towards: the cost of the best placement, or a guess.
  double target() const noexcept {
    return record_.has_best() ? record_.best_cost()
                              : std::max(guess_, ascent_.bound + 0.01 * std::abs(ascent_.bound));
  }

  void ascend(int steps, RoundedDual* average = nullptr) {
    const std::size_t work = all_.choices() + rows_.size();
    for (int step = 0; step < steps && !ascent_.is_slow(); ++step) {
      ascent_.step(dual_, all_, no_load_, target());
      if (average != nullptr) average->add(dual_);
      if (budget_.spend(work)) break;
    }
    record_.prove(ascent_.bound);
  }

  void guide() {
    local_.guide(dual_, ascent_.best_multipliers, all_, near_max);
    start_.set_weights(ascent_.best_multipliers);
    (void)budget_.spend(all_.choices() * 4);
  }

  void pack(int steps) {
    if (!knapsacks_.is_prepared()) {
      dual_.evaluate(all_, ascent_.best_multipliers, no_load_);
      std::vector<double> least(model_.tasks());
      for (std::size_t j = 0; j < least.size(); ++j) least[j] = dual_.least(j);
      knapsacks_.prepare(all_, ascent_.best_multipliers, memory_.with_prices(least, changed_));
    }
    record_.prove(knapsacks_.ascend(all_, target(), steps));
  }

  // A start.

  bool begin(std::span<const NodeIndex> incumbent) {
    const bool warm = memory_.multipliers.size() == rows_.size();
    if (!warm) memory_.multipliers.assign(rows_.size(), 0.0);
    changed_ = memory_.changed_tasks(model_);
    start_.set_weights(memory_.multipliers, warm ? 0.2 : 2);
    start_.from(incumbent);
    guess_ = state_.cost() + state_.penalty();
    record_.keep(state_);
    if (!record_.has_best()) begin_greedily();
    ascent_.start(memory_.multipliers, warm ? 0.3 : 1.0);
    ascend(warm ? 15 : 80);
    guide();
    return warm && !incumbent.empty();
  }

  /// Something feasible at once, where that is easy; the search goes on from where it was.
  void begin_greedily() {
    const std::vector<std::uint32_t> begun(state_.choices().begin(), state_.choices().end());
    if (place_greedily(state_)) record_.keep(state_);
    state_.assign(begun);
    (void)budget_.spend(2 * all_.choices());
  }

  /// Where little has changed: down again, and then exactly, around the tasks that changed.
  void repair() {
    if (changed_.size() > model_.tasks() / 10) {
      settle();
      take_best();
      return;
    }
    touched_.clear();
    for (const std::uint32_t task : changed_) {
      const auto members = state_.members(state_.choice(task));
      touched_.insert(touched_.end(), members.begin(), members.end());
    }
    local_.descend(touched_);
    restore();
    take_best();
    if (!record_.is_done()) pack(1);
    if (!record_.has_best()) return;
    for (int round = 0; round < 12 && !record_.is_done(); ++round) {
      for (std::size_t k = 0; k < changed_.size() && !record_.is_done(); ++k) {
        parts_.run_around(changed_[k], round < 6 ? 3 : 4, 200, ascent_.best_multipliers);
        record_.keep(state_);
      }
      if (round % 3 == 2) pack(4);
    }
  }

  /// Descends, and raises the price of what is overloaded until nothing is.
  bool settle() {
    local_.descend();
    return restore();
  }
  bool restore() {
    bool feasible = state_.is_feasible();
    for (int round = 0; !feasible && round < 40 && !budget_.is_over(); ++round) {
      start_.raise_weights(touched_);
      local_.descend(touched_);
      feasible = state_.is_feasible();
    }
    start_.set_weights(ascent_.best_multipliers);
    if (feasible) record_.keep(state_);
    return feasible;
  }

  void tighten(int steps) {
    average_.clear(model_);
    ascent_.set_step(1);
    ascent_.multipliers = ascent_.best_multipliers;
    ascend(steps, &average_);
    narrow();
    guide();
  }

  /// Takes away choices that lead to nothing better than the best.
  void narrow() {
    if (!record_.has_best() || record_.is_done()) return;
    const double bound = dual_.evaluate(all_, ascent_.best_multipliers, no_load_);
    (void)budget_.spend(2 * all_.choices());
    narrowed_.clear();
    for (std::size_t at = 0; at < all_.size(); ++at) {
      const std::size_t task = all_.task(at);
      const std::size_t before = narrowed_.choices();
      narrowed_.begin_task(task);
      for (const std::uint32_t i : all_.of(at)) {
        const double above = dual_.reduced_cost(task, i, ascent_.best_multipliers) - dual_.least(task);
        if (bound + above < record_.best_cost() + 1e-9 * (1 + std::abs(bound))) narrowed_.add(i);
      }
      if (narrowed_.choices() == before) return record_.prove_best();
    }
    std::swap(all_, narrowed_);
  }

  void round_average(bool drawn = false) {
    start_.by_average(average_, local_, drawn);
    local_.refresh();
    settle();
    remember();
  }

  // Improvement.

  void improve() {
    take_best();
    std::uint64_t next_pack = budget_.work() * 2;
    while (!record_.is_done()) {
      if (!record_.has_best()) {
        search_all();
        if (!record_.is_done() && !record_.has_best()) shake();
        take_best();
        continue;
      }
      if (budget_.work() > next_pack) {
        next_pack = budget_.work() * 2;
        pack(40);
      }
      if (record_.is_done()) return;
      if (is_small())
        search_all();
      else
        try_one();
    }
  }

  /// One way to get further, and what it brought.
  struct Way {
    enum Kind : std::uint8_t { part, all, rounding, relinking } kind;
    std::size_t choices;  ///< so many at least
    std::uint64_t nodes_max;  ///< of a search tree
    double work = 0, gain = 0;  ///< in millions; relative to the cost

    double rate() const noexcept { return (gain + 2e-4) / (work + 0.1); }
  };

  /// Ways to get further, the most profitable one so far first: gain for work, with some credit for what was not tried.
  void try_one() {
    const Way* best = nullptr;
    for (Way& way : ways_)
      if (way.choices <= parts_.usable() && (best == nullptr || way.rate() > best->rate())) best = &way;
    Way& way = ways_[static_cast<std::size_t>(best - ways_)];
    const std::uint64_t work = budget_.work();
    const double cost = record_.best_cost();
    switch (way.kind) {
      case Way::part: parts_.run(way.choices, way.nodes_max, ascent_.best_multipliers); break;
      case Way::all: search_all(); break;
      case Way::rounding: round_average(random_.chance(0.5)); break;
      case Way::relinking: relink(); break;
    }
    record_.keep(state_);
    if (state_.cost() > record_.best_cost()) take_best();
    (void)budget_.spend(20);
    way.work += 1e-6 * static_cast<double>(budget_.work() - work);
    way.gain += (cost - record_.best_cost()) / (1e-9 + std::abs(cost));
  }

  bool is_small() const noexcept { return all_.choices() <= 240; }

  /// Everything at once, for a number of nodes that doubles from time to time. To its end, it is the proof.
  void search_all() {
    const double cutoff = record_.has_best() ? record_.best_cost() : cost_limit();
    std::vector<double> multipliers = ascent_.best_multipliers;
    const auto end = tree_.search(all_, no_load_, cutoff, multipliers, all_max_, 60);
    all_max_ = std::min<std::uint64_t>(all_max_ * 2, std::uint64_t{1} << 40);
    if (tree_.found()) {
      std::vector<std::uint32_t> choices(model_.tasks());
      for (std::size_t j = 0; j < choices.size(); ++j) choices[j] = tree_.choice(j);
      state_.assign(choices);
      local_.refresh();
      record_.keep(state_);
    }
    if (end == BranchAndBound::End::cut_short) return;
    record_.prove_best();
  }

  /// More than any placement can cost.
  double cost_limit() const {
    double limit = 1;
    for (std::size_t j = 0; j < model_.tasks(); ++j) {
      double most = -infinity;
      for (const double cost : model_.costs(j))
        if (cost < infinity) most = std::max(most, cost);
      limit += most;
    }
    for (std::size_t row = 0; row < rows_.size(); ++row)
      limit += rows_.price_at(row, std::min(rows_.capacity(row), rows_.load_max(row)));
    return limit + 1e-6 * std::abs(limit);
  }

  // Path relinking (Yagiura, Ibaraki, Glover, EJOR 169, 2006): a few good placements, and ways between them.

  void remember() {
    if (!state_.is_feasible()) return;
    std::vector<std::uint32_t> choices(state_.choices().begin(), state_.choices().end());
    if (std::ranges::find(elite_, choices) != elite_.end()) return;
    if (elite_.size() < elite_max)
      elite_.push_back(std::move(choices));
    else
      elite_[random_.below(elite_max)] = std::move(choices);
  }

  /// Goes half of the way from the best to another good one, always by the cheapest step, and descends from there.
  void relink() {
    if (elite_.size() < 2) return shake();
    const auto guide = elite_[random_.below(elite_.size())];
    std::vector<std::uint32_t> differing;
    for (std::uint32_t j = 0; j < guide.size(); ++j)
      if (guide[j] != record_.best()[j]) differing.push_back(j);
    if (differing.size() < 4) return shake();
    for (std::size_t left = differing.size() / 2; left > 0; --left) {
      std::size_t cheapest = 0;
      double least = infinity;
      for (std::size_t k = 0; k < differing.size(); ++k) {
        const double change = state_.leave(differing[k]) + state_.enter(differing[k], guide[differing[k]]);
        if (change < least) least = change, cheapest = k;
      }
      state_.move(differing[cheapest], guide[differing[cheapest]]);
      differing[cheapest] = differing.back();
      differing.pop_back();
      if (budget_.spend(differing.size() * 2)) return;
    }
    local_.refresh();
    if (!settle()) take_best();
    remember();
  }

  /// Somewhere else, and down again.
  void shake() {
    for (std::size_t k = 0; k < 3 + model_.tasks() / 10; ++k) {
      const std::size_t task = random_.below(model_.tasks());
      const auto& near = local_.near[task];
      state_.move(task, near[random_.below(near.size())]);
    }
    local_.refresh();
    if (!settle()) take_best();
  }

  void take_best() {
    if (!record_.has_best()) return;
    state_.assign(record_.best());
    local_.refresh();
  }

  static constexpr std::size_t elite_max = 6;

  const PlacementModel& model_;
  LoadRows rows_;
  SolveBudget budget_;
  Random random_;
  ChoiceLists all_, narrowed_;  ///< what may still lead to something better
  DualBound dual_;
  DualAscent ascent_;
  KnapsackBound knapsacks_;
  BranchAndBound tree_;
  SearchState state_;
  LocalSearch local_;
  PlacementStart start_;
  PartSearch parts_;
  SolveRecord record_;
  RoundedDual average_;
  SolveMemory& memory_;
  const std::vector<double> no_load_;
  std::vector<std::uint32_t> touched_, changed_;
  std::vector<std::vector<std::uint32_t>> elite_;
  double guess_ = 0;  ///< what a placement may cost, before there is one
  std::uint64_t all_max_ = 500;
  Way ways_[8] = {{Way::rounding, 1, 0}, {Way::part, 3, 200},  {Way::part, 4, 200},    {Way::part, 4, 2000},
                  {Way::part, 5, 1000},  {Way::part, 6, 5000}, {Way::relinking, 1, 0}, {Way::all, 1, 0}};
};

}  // namespace aura::detail
