// Depth-first branch and bound on the Lagrangian bound: for a whole problem, or for a part of one.
#pragma once

#include <aura/operational/placement/detail/choice_lists.hpp>
#include <aura/operational/placement/detail/dual_bound.hpp>
#include <aura/operational/placement/detail/load_rows.hpp>
#include <aura/operational/placement/detail/solve_budget.hpp>
#include <aura/operational/placement/model.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <utility>
#include <vector>

namespace aura::detail {

/// Branches on a task: one child for each choice that its reduced cost does not rule out, the cheapest first. Each node
/// tightens the multipliers that it inherited by a few steps, and takes away choices that cannot lead below the
/// cutoff (Ross, Soland, Math. Programming 8, 1975, with the multipliers kept from node to node).
class BranchAndBound {
 public:
  enum class End : std::uint8_t {
    exhausted,  ///< nothing below the cutoff is left: what was found, if anything, is optimal
    cut_short,  ///< by the limit of nodes or by the budget
  };

  BranchAndBound(const PlacementModel& model, const LoadRows& rows, SolveBudget& budget)
      : model_(model), rows_(rows), budget_(budget), dual_(model, rows), base_(rows.size()), choice_(model.tasks()) {}

  /// Searches for placements of the tasks of `lists` that cost less than `cutoff`, with everything else where `base`
  /// has it. The cost counts the choices of these tasks and the whole price of the rows that they can touch.
  /// `multipliers` is where it starts, and is improved. Each find lowers the cutoff by itself.
  End search(const ChoiceLists& lists, std::span<const double> base, double cutoff, std::vector<double>& multipliers,
             std::uint64_t nodes_max, int root_steps = 30) {
    base_.assign(base.begin(), base.end());
    cutoff_ = cutoff;
    found_ = false;
    nodes_left_ = nodes_max;
    settled_ = 0;
    if (frames_.size() < lists.size() + 1) frames_.resize(lists.size() + 1);
    activate(lists);
    frames_[0].lists = lists;
    frames_[0].multipliers = multipliers;
    const End end = visit(0, root_steps);
    multipliers = frames_[0].multipliers;
    return end;
  }

  bool found() const noexcept { return found_; }
  double cost() const noexcept { return cutoff_; }  ///< of what was found
  std::uint32_t choice(std::size_t task) const noexcept { return choice_[task]; }  ///< of a task of the lists

 private:
  struct Child {
    std::uint32_t choice;
    double bound;
  };
  struct Frame {
    ChoiceLists lists;
    std::vector<double> multipliers;
    std::vector<Child> children;
    std::vector<double> above;  ///< by choice of the lists: its reduced cost above its task's least
  };
  static constexpr int steps_below = 2;

  /// What a bound must reach to leave nothing below it worth finding.
  bool is_hopeless(double bound) const noexcept {
    if (model_.is_integral()) return bound > cutoff_ - 1 + 1e-6;
    return bound >= cutoff_ - 1e-9 * (1 + std::abs(cutoff_));
  }

  void activate(const ChoiceLists& lists) {
    marks_.assign(rows_.size(), 0);
    for (std::size_t at = 0; at < lists.size(); ++at)
      for (const std::uint32_t i : lists.of(at)) {
        for (std::size_t r = 0; r < rows_.resources(); ++r) marks_[rows_.of(i, r)] = 1;
        for (const std::uint32_t g : model_.groups_of(lists.task(at))) marks_[rows_.of_group(g, i)] = 1;
      }
    active_.clear();
    for (std::size_t row = 0; row < marks_.size(); ++row)
      if (marks_[row]) active_.push_back(static_cast<std::uint32_t>(row));
    dual_.set_active(active_);
  }

  End visit(std::size_t depth, int steps) {
    if (nodes_left_ == 0) return End::cut_short;
    --nodes_left_;
    Frame& frame = frames_[depth];
    const double bound = tighten(frame, steps);
    if (budget_.spend(1)) return End::cut_short;
    if (is_hopeless(bound)) return End::exhausted;
    take_relaxed(frame);
    if (frame.lists.size() == 0 || is_hopeless(bound)) return End::exhausted;
    const std::size_t at = pick(frame);
    list_children(frame, at, bound);
    const std::size_t task = frame.lists.task(at);
    for (std::size_t k = 0; k < frame.children.size(); ++k) {
      const Child child = frame.children[k];
      if (is_hopeless(child.bound)) break;  // the others are no better
      if (descend(depth, at, task, child) == End::cut_short) return End::cut_short;
    }
    return End::exhausted;
  }

  End descend(std::size_t depth, std::size_t at, std::size_t task, const Child& child) {
    settle(task, child.choice, 1);
    End end = End::exhausted;
    if (narrow(frames_[depth], frames_[depth + 1], at, child)) end = visit(depth + 1, steps_below);
    settle(task, child.choice, -1);
    return end;
  }

  /// Some steps of ascent from what was inherited; the frame keeps the best multipliers, and the dual speaks of them.
  double tighten(Frame& frame, int steps) {
    if (frame.lists.size() == 0) return settled_ + dual_.evaluate(frame.lists, frame.multipliers, base_);
    ascent_.start(frame.multipliers);
    (void)budget_.spend((frame.lists.choices() + active_.size()) * static_cast<std::size_t>(steps + 1));
    for (int step = 0; step < steps; ++step) {
      ascent_.step(dual_, frame.lists, base_, cutoff_ - settled_);
      if (is_hopeless(settled_ + ascent_.bound)) return settled_ + ascent_.bound;
    }
    std::swap(frame.multipliers, ascent_.best_multipliers);
    return settled_ + dual_.evaluate(frame.lists, frame.multipliers, base_);
  }

  /// The relaxed choices as a placement, where they keep every capacity.
  void take_relaxed(const Frame& frame) {
    double cost = settled_;
    for (const std::uint32_t row : active_) {
      if (!rows_.price(row).fits(dual_.load(row))) return;
      cost += rows_.price_at(row, dual_.load(row));
    }
    for (std::size_t at = 0; at < frame.lists.size(); ++at) {
      const std::size_t task = frame.lists.task(at);
      cost += model_.cost(task, dual_.best(task));
    }
    if (cost >= cutoff_ - 1e-9 * (1 + std::abs(cutoff_))) return;
    for (std::size_t at = 0; at < frame.lists.size(); ++at) {
      const std::size_t task = frame.lists.task(at);
      choice_[task] = static_cast<std::uint32_t>(dual_.best(task));
    }
    for (const auto& [task, choice] : path_) choice_[task] = choice;
    cutoff_ = cost;
    found_ = true;
  }

  /// The task to branch on: the largest of those that overload what they chose; else the one it costs most to move.
  std::size_t pick(const Frame& frame) const {
    std::size_t best = 0;
    double most = -1;
    for (std::size_t at = 0; at < frame.lists.size(); ++at) {
      const std::size_t task = frame.lists.task(at);
      const std::size_t choice = dual_.best(task);
      double weight = 0;
      const double* const uses = model_.uses(task, choice);
      for (std::size_t r = 0; r < rows_.resources(); ++r) {
        const std::size_t row = rows_.of(choice, r);
        if (dual_.slope(row) > 0) weight += uses[r] / (1 + dual_.slope(row));
      }
      for (const std::uint32_t g : model_.groups_of(task))
        if (dual_.slope(rows_.of_group(g, choice)) > 0) weight += 1;
      if (frame.lists.of(at).size() == 1) weight = std::numeric_limits<double>::infinity();
      if (weight > most) most = weight, best = at;
    }
    return best;
  }

  /// The children of a task, and what every choice of the others is above its task's least at these multipliers.
  void list_children(Frame& frame, std::size_t at, double bound) const {
    frame.children.clear();
    frame.above.clear();
    for (std::size_t other = 0; other < frame.lists.size(); ++other) {
      const std::size_t task = frame.lists.task(other);
      for (const std::uint32_t i : frame.lists.of(other)) {
        const double above = dual_.reduced_cost(task, i, frame.multipliers) - dual_.least(task);
        frame.above.push_back(above);
        if (other == at && !is_hopeless(bound + above)) frame.children.push_back({i, bound + above});
      }
    }
    std::ranges::sort(frame.children, {}, &Child::bound);
  }

  /// The child's lists: without the task, and without what it leaves no room for or what its bound rules out.
  /// False where a task has no choice left.
  bool narrow(const Frame& from, Frame& to, std::size_t without, const Child& child) {
    to.lists.clear();
    to.multipliers = from.multipliers;
    for (std::size_t at = 0; at < from.lists.size(); ++at) {
      if (at == without) continue;
      const std::size_t task = from.lists.task(at);
      to.lists.begin_task(task);
      std::size_t kept = 0;
      const auto choices = from.lists.of(at);
      const double* const above = &from.above[from.lists.offset(at)];
      for (std::size_t k = 0; k < choices.size(); ++k) {
        if (is_hopeless(child.bound + above[k]) || !has_room(task, choices[k])) continue;
        to.lists.add(choices[k]);
        ++kept;
      }
      if (kept == 0) return false;
    }
    return true;
  }

  bool has_room(std::size_t task, std::size_t choice) const noexcept {
    const double* const uses = model_.uses(task, choice);
    for (std::size_t r = 0; r < rows_.resources(); ++r) {
      const std::size_t row = rows_.of(choice, r);
      if (!rows_.price(row).fits(base_[row] + uses[r])) return false;
    }
    for (const std::uint32_t g : model_.groups_of(task)) {
      const std::size_t row = rows_.of_group(g, choice);
      if (base_[row] + 1 > rows_.capacity(row)) return false;
    }
    return true;
  }

  void settle(std::size_t task, std::uint32_t choice, double sign) {
    const double* const uses = model_.uses(task, choice);
    for (std::size_t r = 0; r < rows_.resources(); ++r) base_[rows_.of(choice, r)] += sign * uses[r];
    for (const std::uint32_t g : model_.groups_of(task)) base_[rows_.of_group(g, choice)] += sign;
    settled_ += sign * model_.cost(task, choice);
    if (sign > 0)
      path_.push_back({task, choice});
    else
      path_.pop_back();
  }

  const PlacementModel& model_;
  const LoadRows& rows_;
  SolveBudget& budget_;
  DualBound dual_;
  DualAscent ascent_;
  std::vector<Frame> frames_;
  std::vector<std::uint32_t> active_;
  std::vector<char> marks_;
  std::vector<double> base_;
  std::vector<std::pair<std::size_t, std::uint32_t>> path_;
  std::vector<std::uint32_t> choice_;
  double cutoff_ = 0, settled_ = 0;
  std::uint64_t nodes_left_ = 0;
  bool found_ = false;
};

}  // namespace aura::detail
